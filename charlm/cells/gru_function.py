"""The recurrence of the GRU over T steps as one function with a gradient by hand.

Going back, all that does not depend on what flows back is made for all steps at once, so that a
step is a product and two small operations. With a dot for the gradient of what is before a gate's
function, and all at step t but for h before it,

    ṅ = dh ⊙ (1 − z) ⊙ (1 − n²);  ṙ = ṅ ⊙ v_n ⊙ r (1 − r);  ż = dh ⊙ (h − n) ⊙ z (1 − z)
    dh before = dh ⊙ z + R_r ᵀ ṙ + R_z ᵀ ż + R_n ᵀ (ṅ ⊙ r)

v_n being R_n h + d_n. Forward and backward on a CPU it takes a fifth less time than torch's own GRU
with 16 rows, a tenth less with 32, and as long with 64.
"""

from functools import cache
from typing import Any

from charlm.ops import Array


@cache
def gru_function(torch: Any) -> Any:
    """The torch.autograd.Function from (u, R, d, h) to every h (B, T, D).

    u = W x + b is (B, T, 3D), the weights R are (3D, D), d is (3D,), and h is (B, D).
    """

    class GRUFunction(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, u: Array, R: Array, d: Array, h: Array) -> Array:
            (B, T, _), D = u.shape, h.shape[1]
            # Rows last, as products of a large matrix and a narrow one are fastest. A clone, as
            # what follows is in place.
            gates = u.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)
            gates[:, : 2 * D] += d[: 2 * D, None]
            d_n = d[2 * D :, None].expand(-1, B).contiguous()
            v_n, every_h = u.new_empty(T, D, B), u.new_empty(T + 1, D, B)
            every_h[0] = h.t()
            R_r_z, R_n = R[: 2 * D], R[2 * D :]
            r_z, n = gates[:, : 2 * D], gates[:, 2 * D :]
            for r_z_t, n_t, v_t, h, after in zip(
                r_z, n, v_n, every_h[:-1], every_h[1:], strict=True
            ):
                r_z_t.addmm_(R_r_z, h).sigmoid_()
                torch.addmm(d_n, R_n, h, out=v_t)
                n_t.addcmul_(r_z_t[:D], v_t).tanh_()
                torch.lerp(n_t, h, r_z_t[D:], out=after)
            ctx.save_for_backward(R, v_n, gates, every_h)
            return every_h[1:].permute(2, 0, 1)

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, dy: Array) -> tuple[Array, ...]:
            R, v_n, gates, every_h = ctx.saved_tensors
            D = R.shape[1]
            before, every_dh = every_h[:-1], dy.permute(1, 2, 0).contiguous()
            r, z, n = gates.split(D, 1)
            # What dh is multiplied by: for ṙ, ż and ṅ ⊙ r.
            factors = torch.empty_like(gates)
            of_r, of_z, of_n = factors.split(D, 1)
            to_n = torch.addcmul(1 - z, n * n, 1 - z, value=-1)
            torch.mul(to_n, r, out=of_n)
            torch.mul(of_n, v_n, out=of_r).mul_(1 - r)
            torch.sub(before, n, out=of_z).mul_(z).mul_(1 - z)
            R_t, dh = R.t(), torch.zeros_like(before[0])
            steps = zip(every_dh, z, factors.unflatten(1, (3, D)), factors, strict=True)
            for dh_t, z_t, dv_by_gate, dv_t in reversed(list(steps)):
                dh_t += dh
                dv_by_gate *= dh_t
                dh = torch.addmm(dh_t * z_t, R_t, dv_t)
            dR = factors.transpose(0, 1).flatten(1) @ before.transpose(0, 1).flatten(1).t()
            dd = factors.sum((0, 2))
            torch.mul(every_dh, to_n, out=of_n)
            return factors.permute(2, 0, 1), dR, dd, dh.t()

    return GRUFunction
