"""The exponentially weighted average of RWKV-4 over a whole context, with a gradient by hand.

    p_t = max(p_{t−1} + w, k_t)
    a_t = e^{p_{t−1} + w − p_t} a_{t−1} + e^{k_t − p_t} v_t;  b_t likewise with v = 1
    y_t = (e^{p_{t−1} − q} a_{t−1} + e^{u + k_t − q} v_t) / (the same of b_{t−1} and 1)

The exponents p and q only keep the numbers small: y, and a e^p, do not depend on them. So nothing
flows back through p except from the last one, whose path is that of the maximum which won.
"""

from functools import cache
from typing import Any

from charlm.ops import Array


def weighted_average(
    torch: Any, w: Array, u: Array, k: Array, v: Array, a: Array, b: Array, p: Array
) -> tuple[Array, Array, Array, Array]:
    """y (B, T, D) and the last a, b, p (B, D), from w, u (D,), k, v (B, T, D) and a, b, p.

    w is at most 0, u is what the present gets on top of k.
    """
    return _function(torch).apply(w, u, k, v, a, b, p)


@cache
def _function(torch: Any) -> Any:
    class WeightedAverage(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, w: Array, u: Array, k: Array, v: Array, a: Array, b: Array, p: Array
        ) -> tuple[Array, ...]:
            B, T, D = k.shape
            exponents = k.new_empty(B, T + 1, D)
            exponents[:, 0] = p
            steps = exponents.unbind(1)
            for t, k_t in enumerate(k.unbind(1)):
                torch.add(steps[t], w, out=steps[t + 1])
                torch.maximum(steps[t + 1], k_t, out=steps[t + 1])
            earlier, later = exponents[:, :-1], exponents[:, 1:]
            kept, added = (earlier + w).sub_(later).exp_(), (k - later).exp_()
            sums = k.new_empty(2, B, T + 1, D)
            sums[0, :, 0], sums[1, :, 0] = a, b
            torch.mul(added, v, out=sums[0, :, 1:])
            sums[1, :, 1:] = added
            steps = sums.unbind(2)
            for t, kept_t in enumerate(kept.unbind(1)):
                steps[t + 1].addcmul_(kept_t, steps[t])
            past, present = _now(torch, u, k, earlier)
            top = torch.addcmul(present * v, past, sums[0, :, :-1])
            bottom = torch.addcmul(present, past, sums[1, :, :-1])
            y = top.div_(bottom)
            ctx.save_for_backward(u, k, v, exponents, kept, added, sums, bottom, y)
            return y, *(last[:, -1].clone() for last in (sums[0], sums[1], exponents))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gy: Array, ga: Array, gb: Array, gp: Array) -> tuple[Array, ...]:
            u, k, v, exponents, kept, added, sums, bottom, y = ctx.saved_tensors
            T = k.shape[1]
            past, present = _now(torch, u, k, exponents[:, :-1])
            # The adjoints of a and b, as wide as `sums`: what each y gives, then what flows back.
            g = torch.empty_like(sums)
            g_top = gy / bottom
            g_bottom = (g_top * y).neg_()
            torch.mul(past, g_top, out=g[0, :, :-1])
            torch.mul(past, g_bottom, out=g[1, :, :-1])
            g[0, :, -1], g[1, :, -1] = ga, gb
            steps = g.unbind(2)
            for t, kept_t in reversed(list(enumerate(kept.unbind(1)))):
                steps[t].addcmul_(kept_t, steps[t + 1])
            g_a, g_b = g[0, :, 1:], g[1, :, 1:]
            g_v = (present * g_top).addcmul_(added, g_a)
            g_u = g_top.mul_(v).add_(g_bottom).mul_(present)
            g_k = torch.addcmul(g_u, torch.addcmul(g_b, g_a, v), added)
            g_kept = (g_a * sums[0, :, :-1]).addcmul_(g_b, sums[1, :, :-1]).mul_(kept)
            g_w = g_kept.sum((0, 1))
            g_p = (g[:, :, 0] * sums[:, :, 0]).sum(0)
            # The last exponent is k_s + (T - s) w for the step s that won last, or p + T w.
            g_last = gp - ga * sums[0, :, -1] - gb * sums[1, :, -1]
            order = torch.arange(1, T + 1, dtype=torch.int32, device=k.device)[:, None]
            won = torch.where(exponents[:, 1:] == k, order, 0).amax(1)
            step = (won.long() - 1).clamp_(min=0)[:, None]
            g_k.scatter_add_(1, step, (g_last * (won > 0))[:, None])
            g_w += (g_last * (T - won)).sum(0)
            g_p += g_last * (won == 0)
            return g_w, g_u.sum((0, 1)), g_k, g_v, g[0, :, 0], g[1, :, 0], g_p

    return WeightedAverage


def _now(torch: Any, u: Array, k: Array, p: Array) -> tuple[Array, Array]:
    """How much the past and the present count, the greater of them being 1."""
    k = k + u
    q = torch.maximum(p, k)
    return (p - q).exp_(), k.sub_(q).exp_()
