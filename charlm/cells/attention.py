"""Attention of one head over the network's own past, the last M positions of it.

    m_t = LN(x_t);  q_t = LN(W LN(x_t)) ⊙ σ(q);  k_s = m_s ⊙ σ(k);  v_s = m_s ⊙ 2 σ(v)
    y_t = Σ_s softmax_s(q_t · k_s / √D) v_s,  s = t − M + 1, ..., t

Source: Merity 2019 (arXiv:1911.11423), SHA-RNN, sec. 4.2: one matrix for the query, mere scales for
keys and values; attention over past states is older: Bahdanau, Cho and Bengio 2015
(arXiv:1409.0473). Positions are told apart by what a recurrent cell below has made of them.

The memory is a part of the state and has a fixed size, so a text is read on for ever at one cost,
and what is attended to does not depend on how the text is cut.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Uniform
from charlm.ops import Array

PIECE = 128  # steps attended to at once in `scan`: bounds the matrix of scores


class Attention(Cell):
    """The attention of a block, for x of size D. State: memory (B, M, D), how much is filled (B,).

    The newest position is the last row of the memory; rows not filled yet are zero.
    """

    fused = True  # its masks depend on where a text began

    def __init__(self, memory: int) -> None:
        self.memory = memory

    def shapes(self, place: Place) -> dict[str, Shape]:
        D = place.width
        vectors = ("memory.scale", "memory.shift", "input.scale", "input.shift")
        vectors += ("query.scale", "query.shift", "query.gate", "key.gate", "value.gate")
        return {"weight_q": (D, D), **dict.fromkeys(vectors, (D,))}

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        begin = {name: Constant(float(name.endswith("scale"))) for name in self.shapes(place)}
        return {**begin, "weight_q": Uniform(place.width**-0.5)}

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"memory": (self.memory, place.width), "filled": ()}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        """The query, with all scales in it, and the new entry of the memory: (..., 2D)."""
        D = x.shape[-1]
        read = ops.layer_norm(xp, x, w["input.scale"], w["input.shift"]) @ w["weight_q"].T
        query = ops.layer_norm(xp, read, w["query.scale"], w["query.shift"])
        gates = ops.sigmoid(xp, w["query.gate"]) * ops.sigmoid(xp, w["key.gate"])
        entry = ops.layer_norm(xp, x, w["memory.scale"], w["memory.shift"])
        return xp.concat((query * (gates * D**-0.5), entry), -1)

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        y, state = self._attend(xp, w, u[:, None], state)
        return y[:, 0], state

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        outputs = []
        for u in self.project(torch, w, x).split(PIECE, 1):
            y, state = self._attend(torch, w, u, state)
            outputs.append(y)
        return torch.cat(outputs, 1), state

    def _attend(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        """The outputs (B, T, D) and the next state, from u = `project(x)` (B, T, 2D)."""
        memory, filled = state
        M, T, D = self.memory, u.shape[1], memory.shape[-1]
        memory = xp.concat((memory, u[..., D:]), 1)  # (B, M + T, D): t sees places t+1 to t+M
        empty = M - ops.most(filled, M)  # places that no row has filled yet: left out
        places = xp.arange(empty, M + T, device=u.device)
        turns = xp.arange(T, device=u.device)[:, None]
        seen = (places > turns) & (places <= turns + M)
        seen = seen & (places >= M - filled[:, None, None])
        values = 2.0 * ops.sigmoid(xp, w["value.gate"])
        y = ops.attend(xp, u[..., :D], memory[:, empty:], seen) * values
        return y, (memory[:, T:], xp.clip(filled + float(T), 0.0, float(M)))
