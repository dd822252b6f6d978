"""Long short-term memory, with forget gates and without peepholes.

    i, f, o = σ(W x + R h + b);  g = tanh(W x + R h + b)
    c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c');  y = h'

Source: Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000. The
gates lie in the order i, f, g, o, as in torch.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Stacked, Uniform, memories
from charlm.ops import Array


class LSTM(Cell):
    """The LSTM cell. State: h (B, D), c (B, D)."""

    habits = Habits(muon=1.0)
    fused = True
    spans = True

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {
            "weight_x": (4 * width, inputs),
            "weight_h": (4 * width, width),
            "bias": (4 * width,),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        zero = Constant(0.0)
        # Forget gates begin open: Jozefowicz, Zaremba and Sutskever 2015, sec. 4.2.
        write, keep = zero, Constant(1.0)
        if place.span is not None:
            write, keep = (memories(place.width, place.span, sign) for sign in (-1.0, 1.0))
        return {
            "weight_x": Uniform(place.width**-0.5),
            "weight_h": Stacked((Orthogonal(),) * 4),
            "bias": Stacked((write, keep, zero, zero)),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"h": (place.width,), "c": (place.width,)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        return ops.affine(xp, x, w["weight_x"], w["bias"])

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        h, c = state
        D = h.shape[-1]
        z = u + h @ w["weight_h"].T  # (B, 4D)
        i_f, g, o = ops.gates(xp, z, 2 * D, 3 * D)
        c = i_f[..., D:] * c + i_f[..., :D] * g
        h = o * xp.tanh(c)
        return h, (h, c)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        weights = (w["weight_x"], w["weight_h"], w["bias"], torch.zeros_like(w["bias"]))
        before = (state[0][None], state[1][None])
        y, h, c = torch.lstm(x, before, weights, True, 1, 0.0, True, False, True)
        return y, (h[0], c[0])
