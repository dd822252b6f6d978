"""The gated recurrent unit, with the reset gate after the recurrent product, as in cuDNN.

    r, z = σ(W x + b + R h + d);  n = tanh(W x + b + r ⊙ (R h + d));  h' = n + z ⊙ (h − n);  y = h'

Source: Cho et al. 2014 (arXiv:1406.1078); this variant: arXiv:1412.3555, footnote, and torch. It
keeps two biases because the reset gate multiplies only the second. Gates: r, z, n, as in torch.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.gru_function import gru_function
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Stacked, Uniform, memories
from charlm.ops import Array


class GRU(Cell):
    """The GRU cell. State: h (B, D)."""

    # On the markov corpus (1x256) 3,000 updates at half the rate end where 6,000 at the whole do.
    habits = Habits(lr_share=0.5, muon=1.0)
    fused = True
    spans = True

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {
            "weight_x": (3 * width, inputs),
            "weight_h": (3 * width, width),
            "bias_x": (3 * width,),
            "bias_h": (3 * width,),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        zero = Constant(0.0)
        keep = zero if place.span is None else memories(place.width, place.span)
        return {
            "weight_x": Uniform(place.width**-0.5),
            "weight_h": Stacked((Orthogonal(),) * 3),
            "bias_x": Stacked((zero, keep, zero)),
            "bias_h": Constant(0.0),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"h": (place.width,)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        return ops.affine(xp, x, w["weight_x"], w["bias_x"])

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        (h,) = state
        D = h.shape[-1]
        v = h @ w["weight_h"].T + w["bias_h"]  # (B, 3D)
        r_z = ops.sigmoid(xp, u[..., : 2 * D] + v[..., : 2 * D])
        n = xp.tanh(u[..., 2 * D :] + r_z[..., :D] * v[..., 2 * D :])
        h = n + r_z[..., D:] * (h - n)
        return h, (h,)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        if x.device.type == "cpu":  # elsewhere torch has a fused kernel
            u = self.project(torch, w, x)
            y = gru_function(torch).apply(u, w["weight_h"], w["bias_h"], state[0])
            return y, (y[:, -1],)
        weights = (w["weight_x"], w["weight_h"], w["bias_x"], w["bias_h"])
        y, h = torch.gru(x, state[0][None], weights, True, 1, 0.0, True, False, True)
        return y, (h[0],)
