"""The mLSTM of xLSTM: a matrix memory of keys and values with exponential input gates.

    q, k, v = W x, in each head, k also by 1/√dk;  o = σ(W x);  i~ = w·x + b;  f~ = w·x + b
    m' = max(log σ(f~) + m, i~);  i = exp(i~ − m');  f = exp(log σ(f~) + m − m')
    C' = f C + i k vᵀ;  n' = f n + i k
    h = C'ᵀ q / (max(|n'ᵀ q|, exp(−m')) + 10⁻⁶);  y = W_out (o ⊙ scale ⊙ norm(h) in each head)

Source: Beck et al. 2024 (arXiv:2405.04517), eqs. 19-27, as the layer of xLSTM 7B (Beck et al.
2025, arXiv:2503.13427), without its soft caps. The rows of weight_x lie in the order q, k, v, o,
i~, f~; keys are half as wide as values.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.heads import heads, join, split
from charlm.cells.initial import Constant, Initialiser, Normal, Stacked, Uniform
from charlm.cells.mlstm_chunks import EPSILON, LEAST_M, scan_chunks
from charlm.ops import Array


class MLSTM(Cell):
    """The mLSTM cell. State: C (B, H, dk, dv), n (B, H, dk), m (B, H).

    m begins at 0 as in the authors' recurrent form, and a chunk takes it as it takes any other. It
    may be anything while C and n are 0: it scales them and the bound exp(−m), and h is a quotient
    of these, but for the 10⁻⁶.
    """

    habits = Habits(layers=2, norm="layer", residual=True, feed_forward=True, lr_share=0.5)

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        count, keys, values = _sizes(place)
        return {
            "weight_x": (count * (2 * keys + 2 * values + 2), inputs),
            "bias": (2 * count,),
            "scale": (width,),
            "weight_out": (width, width),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        _, keys, values = _sizes(place)
        uniform, zero = Uniform(place.width**-0.5), Constant(0.0)
        return {
            # Parts of as many rows as there are heads, the least that divides it all.
            "weight_x": Stacked((uniform,) * (2 * keys + 2 * values) + (zero, zero)),
            # Input gates as in the first paper's code: with the -10 of xLSTM 7B, tiny Shakespeare
            # (2x128, 400 updates) took 3.09 bits a character instead of 3.00.
            # The authors' forget gates begin at 3 to 6, for contexts of thousands; on those of 64
            # that learned less in the same time.
            "bias": Stacked((Normal(0.1), Constant(1.0))),
            "scale": Constant(1.0),
            "weight_out": uniform,
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        count, keys, values = _sizes(place)
        return {"C": (count, keys, values), "n": (count, keys), "m": (count,)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        u = x @ w["weight_x"].T
        gates = w["bias"].shape[0]
        return xp.concat([u[..., :-gates], *_gates(xp, w, u[..., -gates:])], -1)

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        C, n, m = state
        H, K = n.shape[1:]
        q_k = split(u[:, : 2 * H * K], 2 * H)
        v_o = split(u[:, 2 * H * K : -2 * H], 2 * H)
        i, f = u[:, -2 * H : -H], u[:, -H:] + m
        m = xp.maximum(f, i)
        i, f = xp.exp(i - m)[..., None], xp.exp(f - m)[..., None]
        q, k = q_k[:, :H], (i * K**-0.5) * q_k[:, H:]
        C = f[..., None] * C + k[..., None] * v_o[:, :H, None, :]
        n = f * n + k
        size = xp.maximum(xp.abs((q * n).sum(-1)), xp.exp(-m.clip(LEAST_M))) + EPSILON
        h = (q[..., None, :] @ C)[..., 0, :] / size[..., None]
        h = ops.layer_norm(xp, h, split(w["scale"], H), 0.0)
        y = join(ops.sigmoid(xp, v_o[:, H:]) * h) @ w["weight_out"].T
        return y, (C, n, m)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        _, H, K, V = state[0].shape
        u = x @ w["weight_x"].T
        sizes = (H * K, H * K, H * V, H * V, 2 * H)
        q, k, v, o, gates = torch.split(u, sizes, -1)
        q, k, v = split(q, H), split(k, H), split(v, H)
        i, f = _gates(torch, w, gates)
        chunks = torch, q, k * K**-0.5, v, i, f, state
        h, state = ops.in_full(torch, scan_chunks, *chunks)
        h = join(torch.nn.functional.layer_norm(h, (V,)))
        return (torch.sigmoid(o) * h) @ (w["weight_out"] * w["scale"]).T, state


def _gates(xp: Any, w: Weights, u: Array) -> tuple[Array, Array]:
    """i~ and log σ(f~), each (..., H), from their products (..., 2H)."""
    H = w["bias"].shape[0] // 2
    i_f = u + w["bias"]
    return i_f[..., :H], ops.log_sigmoid(xp, i_f[..., H:])


def _sizes(place: Place) -> tuple[int, int, int]:
    """How many heads there are, and the sizes of a head's keys and values."""
    count = heads(place.width)
    values = place.width // count
    return count, max(values // 2, 1), values
