"""The Elman network, the simple recurrent network: h' = f(W_x x + W_h h + b), y = h'.

Source: Elman 1990, "Finding structure in time"; rectified units: Le, Jaitly and Hinton 2015
(arXiv:1504.00941), who begin with an identity where this begins orthogonal.
"""

from typing import Any, Literal

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Uniform
from charlm.ops import Array


class Elman(Cell):
    """The Elman cell; f is tanh or the rectifier. State: h (B, D)."""

    # At the whole rate the gradient of 784 units exploded after some hundred updates.
    habits = Habits(muon=0.5)
    fused = True

    def __init__(self, activation: Literal["tanh", "relu"]) -> None:
        self.activation = activation

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {"weight_x": (width, inputs), "weight_h": (width, width), "bias": (width,)}

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        # Orthogonal keeps the norm of h over many steps; rectified units lose about half of it
        # at each step, and a gain above 1 explodes instead, so they start a little below.
        gain = 1.0 if self.activation == "tanh" else 0.9
        return {
            "weight_x": Uniform(place.width**-0.5),
            "weight_h": Orthogonal(gain),
            "bias": Constant(0.0),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"h": (place.width,)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        return ops.affine(xp, x, w["weight_x"], w["bias"])

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        (h,) = state
        z = u + h @ w["weight_h"].T
        h = xp.tanh(z) if self.activation == "tanh" else ops.relu(xp, z)
        return h, (h,)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        fused = torch.rnn_tanh if self.activation == "tanh" else torch.rnn_relu
        weights = (w["weight_x"], w["weight_h"], w["bias"], torch.zeros_like(w["bias"]))
        y, h = fused(x, state[0][None], weights, True, 1, 0.0, True, False, True)
        return y, (h[0],)
