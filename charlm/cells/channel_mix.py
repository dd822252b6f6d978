"""Channel mixing, the feed-forward part of RWKV: it sees the step before and forgets the rest.

    k = relu(W_k x̃_k)²;  y = W_v k;  in RWKV-4 y = σ(W_r x̃_r) ⊙ (W_v k)        (x̃: token_shift.py)

Source: Peng et al. 2023 (arXiv:2305.13048), eq. 18 and the lines before it; without the gate: Peng
et al. 2025 (arXiv:2503.14456), sec. 4. How they begin: the authors' RWKV-v4/src/model.py and
RWKV-v7/train_temp/src/model.py.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Uniform, Values
from charlm.cells.token_shift import shares, shifted, shifted_rows
from charlm.ops import Array

HIDDEN = 4  # hidden units for each unit of the width


class ChannelMix(Cell):
    """The channel mixing of RWKV-4 (gated) or RWKV-7. State: the x before (B, inputs)."""

    def __init__(self, gated: bool) -> None:
        self.gated = gated

    def shapes(self, place: Place) -> dict[str, Shape]:
        D, E = place.width, place.inputs
        found: dict[str, Shape] = {
            "mix": ((1 + self.gated) * E,),
            "weight_k": (HIDDEN * D, E),
            "weight_v": (D, HIDDEN * D),
        }
        return found | ({"weight_r": (D, E)} if self.gated else {})

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        D, E = place.width, place.inputs
        rest = 1.0 - place.layer / place.layers  # 1 to nearly 0
        zero = Constant(0.0)
        if not self.gated:
            mix, key = Values(shares(E, rest**4)), Uniform(0.5 * E**-0.5)
            return {"mix": mix, "weight_k": key, "weight_v": zero}
        mix, key = Values(2 * shares(E, rest)), Orthogonal(max(1.0, HIDDEN * D / E) ** 0.5)
        return {"mix": mix, "weight_k": key, "weight_v": zero, "weight_r": zero}

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"x": (place.inputs,)}

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        x_k, *x_r = shifted(u, state[0], w["mix"])
        k = ops.relu(xp, x_k @ w["weight_k"].T)
        y = (k * k) @ w["weight_v"].T
        return ops.sigmoid(xp, x_r[0] @ w["weight_r"].T) * y if self.gated else y, (u,)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        x_k, *x_r = shifted_rows(torch, x, state[0], w["mix"])
        y = torch.relu_(x_k @ w["weight_k"].T).square() @ w["weight_v"].T
        y = torch.sigmoid(x_r[0] @ w["weight_r"].T) * y if self.gated else y
        return y.unflatten(0, x.shape[:2]), (x[:, -1],)
