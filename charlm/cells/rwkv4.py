"""RWKV-4: an exponentially weighted average of values, each weighed by its key and its age.

    k, v, r = W_k x̃_k, W_v x̃_v, W_r x̃_r        (x̃: token_shift.py)
    wkv_t = (Σ_{s<t} e^{(t−1−s) w + k_s} v_s + e^{u + k_t} v_t) / (the same with v = 1)
    y = W_o (σ(r) ⊙ wkv),  w = −e^decay

Source: Peng et al. 2023 (arXiv:2305.13048), eq. 11-17; the step with its exponent p, which cannot
overflow: its appendix on time mixing as a recurrent cell; how it begins: the authors'
RWKV-v4/src/model.py. The channel mixing is the feed-forward part.
"""

import math
from collections.abc import Iterable
from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.channel_mix import ChannelMix
from charlm.cells.exponential_average import weighted_average
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Stacked, Values
from charlm.cells.token_shift import shares, shifted, shifted_rows
from charlm.ops import Array

NEVER = -1e30  # the exponent of an empty sum: finite, and e to it is 0 beside any key


class RWKV4(Cell):
    """The time mixing of RWKV-4. State: the x before (B, inputs), a, b, p (B, D).

    The sums of the past are a e^p and b e^p.
    """

    habits = Habits(layers=2, norm="layer", residual=True, feed_forward=True)
    fused = True
    feed_forward = ChannelMix(gated=True)

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {
            "mix": (3 * inputs,),
            "weight_k": (width, inputs),
            "weight_v": (width, inputs),
            "weight_r": (width, inputs),
            "decay": (width,),
            "bonus": (width,),
            "weight_o": (width, width),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        D, E = place.width, place.inputs
        height = place.layer / max(place.layers - 1, 1)  # 0 to 1
        rest = 1.0 - place.layer / place.layers  # 1 to nearly 0
        power = 0.7 + 1.3 * height
        # Nothing is known of the past and nothing is said at first; the values alone begin.
        zero = Constant(0.0)
        return {
            "mix": Stacked(
                (
                    Values(shares(E, rest)),
                    Values(tuple(m - 0.3 * height for m in shares(E, rest))),
                    Values(shares(E, 0.5 * rest)),
                )
            ),
            "weight_k": zero,
            "weight_v": Orthogonal(max(1.0, D / E) ** 0.5),
            "weight_r": zero,
            "decay": Values(tuple(-5 + 8 * (i / max(D - 1, 1)) ** power for i in range(D))),
            "bonus": Values(tuple(math.log(0.3) + 0.5 * ((i + 1) % 3 - 1) for i in range(D))),
            "weight_o": zero,
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        D = place.width
        return {"x": (place.inputs,), "a": (D,), "b": (D,), "p": (D,)}

    def initial_state(self, xp: Any, place: Place, batch: int, like: Array) -> State:
        x, a, b, p = super().initial_state(xp, place, batch, like)
        return x, a, b, p + NEVER

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        x, a, b, p = state
        k, v, r = self._kvr(w, shifted(u, x, w["mix"]))
        now = k + w["bonus"]
        q = xp.maximum(p, now)
        past, present = xp.exp(p - q), xp.exp(now - q)
        y = (past * a + present * v) / (past * b + present)
        p = p - xp.exp(w["decay"])
        q = xp.maximum(p, k)
        past, present = xp.exp(p - q), xp.exp(k - q)
        a, b = past * a + present * v, past * b + present
        return (ops.sigmoid(xp, r) * y) @ w["weight_o"].T, (u, a, b, q)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        mixed = shifted_rows(torch, x, state[0], w["mix"])
        k, v, r = (z.unflatten(0, x.shape[:2]) for z in self._kvr(w, mixed))
        decay = -torch.exp(w["decay"])
        average = torch, decay, w["bonus"], k, v, *state[1:]
        y, *last = ops.in_full(torch, weighted_average, *average)
        return (torch.sigmoid(r) * y) @ w["weight_o"].T, (x[:, -1], *last)

    def _kvr(self, w: Weights, mixed: Iterable[Array]) -> tuple[Array, ...]:
        """The keys, values and receptances (R, D) of rows."""
        x_k, x_v, x_r = mixed
        return x_k @ w["weight_k"].T, x_v @ w["weight_v"].T, x_r @ w["weight_r"].T
