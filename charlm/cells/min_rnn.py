"""What minGRU and minLSTM share: h' = (1 − z) ⊙ h + z ⊙ g(c), with z and c from x alone.

    g(x) = x + 1/2 where x ≥ 0, else σ(x)

So h is always positive. The step is linear in h: all of a context is found at once
(linear_scan.py), and for sampling each symbol's 1 − z and z ⊙ g(c) can be looked up in a table.

Source: Feng et al. 2024 (arXiv:2410.01201), app. B.
"""

from abc import abstractmethod
from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.initial import Values, memories
from charlm.cells.min_rnn_function import min_rnn_function
from charlm.ops import Array


class MinRNN(Cell):
    """A cell whose update gate z comes from `gates` products of x. State: h (B, D)."""

    habits = Habits(layers=2, norm="rms", residual=True, feed_forward=True, lr_share=0.5)
    fused = True
    spans = True
    gates = 1

    def shapes(self, place: Place) -> dict[str, Shape]:
        rows = (self.gates + 1) * place.width
        return {"weight_x": (rows, place.inputs), "bias": (rows,)}

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"h": (place.width,)}

    @abstractmethod
    def update(self, xp: Any, gates: Array) -> Array:
        """The update gate z (..., D) from its pre-activations (..., gates * D)."""

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        u = self._product(xp, w, x)
        D = u.shape[-1] // (self.gates + 1)
        z, c = self.update(xp, u[..., :-D]), u[..., -D:]
        # The greater of the two is the one meant: they cross at 0 alone.
        g = xp.maximum(c + 0.5, ops.sigmoid(xp, c))
        return xp.concat((1 - z, z * g), -1)

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        (h,) = state
        D = h.shape[-1]
        h = u[..., :D] * h + u[..., D:]
        return h, (h,)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        y = ops.in_full(torch, min_rnn_function(torch).apply, self._product(torch, w, x), state[0])
        return y, (y[:, -1],)

    def _product(self, xp: Any, w: Weights, x: Array) -> Array:
        return ops.affine(xp, x, w["weight_x"], w["bias"])


def spread(place: Place, sign: float = 1.0) -> Values:
    """Biases of an update gate: unless told, from 1 to -2, for memories of 1.4 to 8 steps.

    A spread is what Tallec and Ollivier 2018 (arXiv:1804.11188) advise for gates. On tiny
    Shakespeare one up to 55 steps learned less in the same time, and none at all about as much.
    """
    width = place.width
    if place.span is not None:
        return memories(width, place.span, -sign)
    return Values(tuple(sign * (1.0 - 3.0 * k / max(width - 1, 1)) for k in range(width)))
