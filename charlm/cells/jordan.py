"""The Jordan network: what goes back into the hidden units is the output before.

    h = tanh(W_x x + W_y y + b);  y' = tanh(W_o h + c)

Source: Jordan 1986, "Serial order: a parallel distributed processing approach", whose context
units also keep a share of what they held before; here they hold the last output alone.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Uniform
from charlm.ops import Array


class Jordan(Cell):
    """The Jordan cell. State: y (B, D)."""

    # At the whole rate the gradient of 560 units exploded after some hundred updates.
    habits = Habits(muon=0.5)
    recurrent = ("weight_y",)

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {
            "weight_x": (width, inputs),
            "weight_y": (width, width),
            "bias": (width,),
            "weight_out": (width, width),
            "bias_out": (width,),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        return {
            "weight_x": Uniform(place.width**-0.5),
            # What comes back passes through both, and orthogonal ones keep its norm.
            "weight_y": Orthogonal(),
            "bias": Constant(0.0),
            "weight_out": Orthogonal(),
            "bias_out": Constant(0.0),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"y": (place.width,)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        return ops.affine(xp, x, w["weight_x"], w["bias"])

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        (y,) = state
        h = xp.tanh(u + y @ w["weight_y"].T)
        y = xp.tanh(h @ w["weight_out"].T + w["bias_out"])
        return y, (y,)
