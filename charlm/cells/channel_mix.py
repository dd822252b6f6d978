"""Channel mixing, the feed-forward part of RWKV: it sees the step before and forgets the rest.

    k = relu(W_k x̃_k)²;  y = W_v k;  in RWKV-4 y = σ(W_r x̃_r) ⊙ (W_v k)        (x̃: token_shift.py)

Source: Peng et al. 2023 (arXiv:2305.13048), eq. 18 and the lines before it; without the gate: Peng
et al. 2025 (arXiv:2503.14456), sec. 4.2. How they begin: the authors' RWKV-v4/src/model.py and
RWKV-v7/train_temp/src/model.py.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Place, Shape, State, Weights
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Uniform, Values
from charlm.cells.token_shift import before, shares
from charlm.ops import Array

HIDDEN = 4  # hidden units for each unit of the width


class ChannelMix(Cell):
    """The channel mixing of RWKV-4 (gated) or RWKV-7. State: the x before (B, inputs)."""

    def __init__(self, gated: bool) -> None:
        self.gated = gated

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        found = {
            "mix_k": (inputs,),
            "weight_k": (HIDDEN * width, inputs),
            "weight_v": (width, HIDDEN * width),
        }
        if self.gated:
            found |= {"mix_r": (inputs,), "weight_r": (width, inputs)}
        return found

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        D, E = place.width, place.inputs
        rest = 1.0 - place.layer / place.layers  # 1 to nearly 0
        if not self.gated:
            return {
                "mix_k": Values(shares(E, rest**4)),
                "weight_k": Uniform(0.5 * E**-0.5),
                "weight_v": Constant(0.0),
            }
        return {
            "mix_k": Values(shares(E, rest)),
            "weight_k": Orthogonal(max(1.0, HIDDEN * D / E) ** 0.5),
            "weight_v": Constant(0.0),
            "mix_r": Values(shares(E, rest)),
            "weight_r": Constant(0.0),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return {"x": (place.inputs,)}

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        return self._mixed(xp, w, u, state[0]), (u,)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        return self._mixed(torch, w, x, before(torch, x, state[0])), (x[:, -1],)

    def _mixed(self, xp: Any, w: Weights, x: Array, x_before: Array) -> Array:
        change = x_before - x
        k = ops.relu(xp, (x + w["mix_k"] * change) @ w["weight_k"].T)
        y = (k * k) @ w["weight_v"].T
        if not self.gated:
            return y
        return ops.sigmoid(xp, (x + w["mix_r"] * change) @ w["weight_r"].T) * y
