"""The gated feed-forward part of a block: y = W_o (silu(W_g x) ⊙ (W_v x)).

Source: Shazeer 2020 (arXiv:2002.05202), eq. 6 (SwiGLU).
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Place, Shape, State, Weights
from charlm.cells.initial import Initialiser, Normal, Uniform
from charlm.ops import Array


class FeedForward(Cell):
    """A part without a state: 4/3 D hidden units or a few more, about 4 D² weights."""

    def shapes(self, place: Place) -> dict[str, Shape]:
        hidden = self._hidden(place)
        return {"weight_x": (2 * hidden, place.inputs), "weight_out": (place.width, hidden)}

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        return {
            "weight_x": Uniform(place.inputs**-0.5),
            # Of a normed x it makes 0.09, so that a block begins near the identity.
            "weight_out": Normal(0.5 * self._hidden(place) ** -0.5),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {}

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        z = u @ w["weight_x"].T
        half = z.shape[-1] // 2
        return (ops.silu(xp, z[..., :half]) * z[..., half:]) @ w["weight_out"].T, state

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        return self.recur(torch, w, x, state)

    def _hidden(self, place: Place) -> int:
        return -(-4 * place.width // 24) * 8
