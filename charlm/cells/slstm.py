"""The sLSTM of xLSTM: exponential input gates, a normaliser, and a memory mixed within heads.

    i~, f~, z~, o~ = W x + R h + b;  z = tanh(z~);  o = σ(o~)
    m' = max(log σ(f~) + m, i~);  i = exp(i~ − m');  f = exp(log σ(f~) + m − m')
    c' = f ⊙ c + i ⊙ z;  n' = f ⊙ n + i;  h' = o ⊙ c' / n';  y = scale ⊙ norm(h') in each head

Source: Beck et al. 2024 (arXiv:2405.04517), eqs. 8-17, with the logistic forget gate and the norm
of the authors' code, and without its convolution. R is block-diagonal: a head sees itself alone.
The gates lie in the order i, f, z, o; the rows of weight_h lie head by head.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.heads import heads, join, split
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Stacked, Uniform, Values
from charlm.cells.slstm_function import slstm_function
from charlm.ops import Array

# The stabiliser before the first step: so low that the first step takes m' = i~, as the authors'
# special case for it does, and finite, so that differences of it are not NaN.
LOWEST = -1e30


class SLSTM(Cell):
    """The sLSTM cell. State: h, c, n, m, each (B, D)."""

    habits = Habits(layers=2, norm="layer", residual=True, feed_forward=True, lr_share=0.5)
    fused = True

    def shapes(self, place: Place) -> dict[str, Shape]:
        inputs, width = place.inputs, place.width
        return {
            "weight_x": (4 * width, inputs),
            "weight_h": (4 * width, width // heads(width)),
            "bias": (4 * width,),
            "scale": (width,),
        }

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        count = heads(place.width)
        zero = Constant(0.0)
        return {
            "weight_x": Uniform(place.width**-0.5),
            # The authors begin with zeros; on tiny Shakespeare (2x128, 400 updates, two seeds)
            # this learned the text better, and what is held out as well or better.
            "weight_h": Stacked((Orthogonal(),) * (4 * count)),
            "bias": Stacked((zero, Values(_forget_bias(place) * count), zero, zero)),
            "scale": Constant(1.0),
        }

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        return dict.fromkeys(("h", "c", "n", "m"), (place.width,))

    def initial_state(self, xp: Any, place: Place, batch: int, like: Array) -> State:
        h, c, n, m = super().initial_state(xp, place, batch, like)
        return h, c, n, m + LOWEST

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        # Not fused: equal symbols must have equal gates, however many are projected at once.
        return x @ w["weight_x"].T + w["bias"]

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        h, c, n, m = state
        size = w["weight_h"].shape[1]
        count = h.shape[-1] // size
        # Heads first, so that one product serves all rows.
        R = w["weight_h"].T.reshape(size, count, 4 * size).swapaxes(0, 1)  # (H, N, 4N)
        v = split(h, count).swapaxes(0, 1) @ R  # (H, B, 4N)
        v = split(v.swapaxes(0, 1), 4).swapaxes(1, 2)  # (B, 4, H, N)
        g = join(split(split(u, 4), count) + v)  # (B, 4, D)
        i, f = g[:, 0], ops.log_sigmoid(xp, g[:, 1]) + m
        m = xp.maximum(f, i)
        i, f = xp.exp(i - m), xp.exp(f - m)
        c = f * c + i * xp.tanh(g[:, 2])
        n = f * n + i
        h = ops.sigmoid(xp, g[:, 3]) * c / n
        y = join(ops.layer_norm(xp, split(h, count), split(w["scale"], count), 0.0))
        return y, (h, c, n, m)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        R, count = _by_head(w)
        apply = slstm_function(torch).apply
        h, *last = ops.in_full(torch, apply, self.project(torch, w, x), R, *state)
        y = torch.nn.functional.layer_norm(split(h, count), (R.shape[-1],))
        return join(y) * w["scale"], (h[:, -1], *last)


def _by_head(w: Weights) -> tuple[Array, int]:
    """The recurrent weights as (H, 4N, N), and H."""
    rows, size = w["weight_h"].shape
    count = rows // (4 * size)
    return w["weight_h"].reshape(count, 4 * size, size), count


def _forget_bias(place: Place) -> tuple[float, ...]:
    """A head's biases, from 5 down to -7: some units begin by keeping, others by forgetting.

    The higher the layer, the more of them keep. Source: "powerlaw_blockdependent" in the authors'
    code.
    """
    size = place.width // heads(place.width)
    power = 0.3 + 1.3 * place.layer / max(place.layers - 1, 1)
    return tuple(5.0 - 12.0 * (k / max(size - 1, 1)) ** power for k in range(size))
