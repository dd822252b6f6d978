"""The recurrence of minGRU and minLSTM over T steps as one function with a gradient by hand.

    a = 1 − z = σ(−k);  h_t = a_t h_{t−1} + (1 − a_t) g(c_t)

k is the update gate's pre-activation, in the minLSTM softplus(−k_f) − softplus(−k_i), so that z is
i / (f + i) also where both vanish. With e_t for what flows from h_t to h_{t−1}:

    e_t = a_t (dh_t + e_{t+1});  dk_t = e_t (h_t − h_{t−1});  dc_t = (dh_t + e_{t+1} − e_t) g'(c_t)

Autograd of the same took a quarter longer (16 rows, 256 steps, width 256, on a CPU).
"""

from functools import cache
from typing import Any

from charlm.cells.linear_scan import linear_scan
from charlm.ops import Array

# Where softplus(x) is taken to be x: torch's usual 20 is for float32 and loses digits in float64.
LINEAR = 40


@cache
def min_rnn_function(torch: Any) -> Any:
    """The torch.autograd.Function from (u, h) to every h (B, T, D); h is (B, D).

    u is (B, T, 2D) with k and c, or (B, T, 3D) with k_f, k_i and c.
    """

    class MinRNNFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, u: Array, h: Array) -> Array:
            D = h.shape[-1]
            gates, c = u[..., :-D], u[..., -D:]
            if gates.shape[-1] == D:
                a = -gates
            else:
                f, i = torch.nn.functional.softplus(-gates, threshold=LINEAR).split(D, -1)
                a = i - f
            a.sigmoid_()
            g = torch.sigmoid(c).clamp_(max=0.5).add_(torch.relu(c))
            every_h = torch.addcmul(g, a, g, value=-1)
            linear_scan(torch, a, every_h, h, out=every_h)
            ctx.save_for_backward(gates, a, g, every_h, h)
            return every_h

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, dh: Array) -> tuple[Array, Array]:
            gates, a, g, every_h, h = ctx.saved_tensors
            D = h.shape[-1]
            e = a * dh
            linear_scan(torch, a, e, torch.zeros_like(h), out=e, reverse=True)
            du = e.new_empty(*e.shape[:-1], gates.shape[-1] + D)
            dk, dc = du[..., -2 * D : -D], du[..., -D:]
            torch.sub(every_h[:, :1], h[:, None], out=dk[:, :1])
            torch.sub(every_h[:, 1:], every_h[:, :-1], out=dk[:, 1:])
            dk.mul_(e)
            if gates.shape[-1] > D:
                df, di = torch.neg(gates).sigmoid_().split(D, -1)
                torch.mul(df, dk, out=du[..., :D]).neg_()
                dk.mul_(di)
            # g' is g (1 − g) up to c = 0, where g = 1/2, and 1 from there on. Comparing to numbers
            # and not to bools, for which torch has slow loops on a CPU.
            low = g.clamp(max=0.5)
            slope = torch.addcmul(low, low, low, value=-1)
            slope.add_(torch.ge(g, 0.5, out=low), alpha=0.75)
            torch.sub(dh, e, out=dc)
            dc[:, :-1].add_(e[:, 1:])
            dc.mul_(slope)
            return du, e[:, 0].clone()

    return MinRNNFunction
