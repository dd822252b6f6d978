"""RWKV-7 "Goose": in each head a memory matrix that decays, is corrected and is read.

    r, k, v = W_r x̃_r, W_k x̃_k, W_v x̃_v;  v ← v + (v_first − v) ⊙ σ(v0 + v2 v1 x̃_v)
    w = exp(−e^{−1/2} σ(w0 + w2 tanh(w1 x̃_w)));  a = σ(a0 + a2 a1 x̃_a);  g = g2 σ(g1 x̃_g)
    κ = k ⊙ k_k, of norm 1 in each head;  k ← k ⊙ (1 + (a − 1) ⊙ k_a)
    S_t = S_{t−1} diag(w) − (S_{t−1} κ)(κ ⊙ a)ᵀ + v kᵀ
    y = W_o (g ⊙ (norm of each head(S_t r) + (Σ over the head r ⊙ k ⊙ r_k) v))

x̃ is x after the token shift. v_first is the v of the lowest layer of the kind, which itself keeps
its v as it is. Source: Peng et al. 2025 (arXiv:2503.14456), sec. 4; how it begins and ranks: the
authors' RWKV-v7/train_temp/src/model.py. The channel mixing is the feed-forward part.
"""

from collections.abc import Iterable
from typing import Any

from charlm import ops
from charlm.cells import rwkv_weights
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.channel_mix import ChannelMix
from charlm.cells.delta_rule import delta_rule
from charlm.cells.heads import heads, join, split
from charlm.cells.initial import Initialiser
from charlm.cells.token_shift import before, shifted, shifted_rows
from charlm.ops import Array

SLOPE = -0.6065306597126334  # −e^{−1/2}: the decay w is never below 0.545
NORM_EPS = 64e-5


class RWKV(Cell):
    """The time mixing of RWKV-7. State: the x before (B, inputs), S (B, H, N, N), rows are values.

    Where v_first is lent, the x before is without it.
    """

    habits = Habits(layers=2, norm="layer", residual=True, feed_forward=True)
    fused = True
    feed_forward = ChannelMix(gated=False)

    def shapes(self, place: Place) -> dict[str, Shape]:
        return rwkv_weights.shapes(place)

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        return rwkv_weights.initialisers(place)

    def state_shapes(self, place: Place) -> dict[str, Shape]:
        H = heads(place.width)
        return {"x": (rwkv_weights.inputs(place),), "S": (H, place.width // H, place.width // H)}

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        x, first = _parted(w, u)
        S = state[1]
        mixed = shifted(x, state[0], w["mix"])
        r, log_w, k, v, kappa, beta, gate = self._read(xp, w, mixed, first, S.shape[1])
        written = xp.concat((S @ kappa[..., None], v[..., None]), -1)
        where = xp.concat((beta[..., None, :], k[..., None, :]), -2)
        S = S * xp.exp(log_w)[..., None, :] + written @ where
        return self._say(xp, w, (S @ r[..., None])[..., 0], r, k, v, gate), (x, S)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        shape = x.shape[:2]
        x, first = _parted(w, x)
        mixed = shifted_rows(torch, x, state[0], w["mix"])
        first = None if first is None else first.flatten(0, 1)
        *inputs, gate = self._read(torch, w, mixed, first, state[1].shape[1])
        r, _, k, v, *_ = inputs
        inputs = (z.unflatten(0, shape) for z in inputs)
        o, S = ops.in_full(torch, delta_rule, torch, state[1], *inputs)
        y = self._say(torch, w, o.flatten(0, 1), r, k, v, gate)
        return y.unflatten(0, shape), (x[:, -1], S)

    def lend(self, xp: Any, w: Weights, x: Array, state: State) -> Array:
        x_before = state[0] if x.ndim == 2 else before(xp, x, state[0])
        E = x.shape[-1]
        mixed = x + w["mix"][2 * E : 3 * E] * (x_before - x)
        return mixed @ w["weight_v"].T

    def _read(
        self, xp: Any, w: Weights, mixed: Iterable[Array], first: Array | None, H: int
    ) -> tuple[Array, ...]:
        """r, log w, k, v, κ and −κ ⊙ a (R, H, N), and g (R, D), from the six x̃ (R, inputs)."""
        x_r, x_k, x_v, x_w, x_a, x_g = mixed
        r, k, v = x_r @ w["weight_r"].T, x_k @ w["weight_k"].T, x_v @ w["weight_v"].T
        log_w = SLOPE * ops.sigmoid(xp, w["w0"] + xp.tanh(x_w @ w["w1"].T) @ w["w2"].T)
        a = split(ops.sigmoid(xp, w["a0"] + (x_a @ w["a1"].T) @ w["a2"].T), H)
        g = ops.sigmoid(xp, x_g @ w["g1"].T) @ w["g2"].T
        if first is not None:
            v = v + (first - v) * ops.sigmoid(xp, w["v0"] + (x_v @ w["v1"].T) @ w["v2"].T)
        kappa = split(k * w["k_k"], H)
        # What is added is too small for any norm but 0, which must not divide.
        kappa = kappa / xp.sqrt((kappa * kappa).sum(axis=-1, keepdims=True) + 1e-24)
        r, log_w, k, v = split(r, H), split(log_w, H), split(k, H), split(v, H)
        k = k + k * (a - 1) * w["k_a"].reshape(H, -1)
        return r, log_w, k, v, kappa, -kappa * a, g

    def _say(
        self, xp: Any, w: Weights, o: Array, r: Array, k: Array, v: Array, gate: Array
    ) -> Array:
        """y (R, D) from what was read from the memory, o (R, H, N)."""
        scale, shift, r_k = (
            w[name].reshape(o.shape[1:]) for name in ("norm_scale", "norm_shift", "r_k")
        )
        o = ops.layer_norm(xp, o, scale, shift, NORM_EPS)
        o = o + (r * k * r_k).sum(axis=-1, keepdims=True) * v
        return (join(o) * gate) @ w["weight_o"].T


def _parted(w: Weights, x: Array) -> tuple[Array, Array | None]:
    """x proper and v_first, which is there where something is lent."""
    inputs = w["weight_r"].shape[1]
    return x[..., :inputs], x[..., inputs:] if "v0" in w else None
