"""The sLSTM's recurrence over T steps as one function with a hand-made gradient.

Autograd of the stepped loop makes some hundred small operations a step; here they are a product
and a dozen others forward, a product and five others backward, and what is not recurrent is done
for all steps at once.

Inside, the gates are (T, H, B, 4, N) and all else is (T, H, B, N): heads before rows, for the
batched products. A step of the backward pass, where dh, dc and dn hold what comes from later:

    dc += dh o/n;  dn −= dh h/n;  do~ = dh h (1 − o);  dz~ = dc i (1 − z²)
    di~ = (dc z + dn) i + p δ;  df~ = ((dc c + dn n) f + (1 − p) δ) (1 − σ(f~))

with the c and n before the step in df~, and p = 1 where i~ made the maximum m', 1/2 where both
did, else 0. δ is the gradient by m' with c exp(m) and n exp(m) held fixed. As h depends on these
alone, δ is only passed on from the last state: there dm − c dc − n dn, then (1 − p) δ a step.
"""

from functools import cache
from typing import Any

Tensor = Any  # a torch.Tensor


@cache
def slstm_function(torch: Any) -> Any:
    """The torch.autograd.Function from (u, R, h, c, n, m) to (every h, last c, last n, last m).

    u is (B, T, 4D), R (H, 4N, N), a state (B, D), every h (B, T, D).
    """

    class SLSTMFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, u: Tensor, R: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            (B, T, _), (H, _, N) = u.shape, R.shape
            # A clone, as contiguous() may give u itself and what follows is in place.
            gates = u.reshape(B, T, 4, H, N).permute(1, 3, 0, 2, 4).clone(memory_format=DENSE)
            h, c, n = (u.new_empty(T + 1, H, B, N) for _ in range(3))
            log_f = torch.empty_like(h[1:])
            h[0], c[0], n[0], m = (part.reshape(B, H, N).transpose(0, 1) for part in state)
            m = m.clone(memory_format=DENSE)
            i, f, z, o = (gate.unbind() for gate in gates.unbind(3))
            products, i_f = gates.flatten(3).unbind(), gates[:, :, :, :2].unbind()
            hs, cs, ns, logs = (part.unbind() for part in (h, c, n, log_f))
            for t in range(T):
                products[t].baddbmm_(hs[t], R.mT)
                logs[t].copy_(torch.nn.functional.logsigmoid(f[t]))
                torch.maximum(torch.add(logs[t], m, out=f[t]), i[t], out=m)
                i_f[t].sub_(m.unsqueeze(2)).exp_()
                z[t].tanh_()
                o[t].sigmoid_()
                torch.mul(f[t], cs[t], out=cs[t + 1]).addcmul_(i[t], z[t])
                torch.addcmul(i[t], f[t], ns[t], out=ns[t + 1])
                torch.mul(o[t], cs[t + 1], out=hs[t + 1]).div_(ns[t + 1])
            ctx.save_for_backward(gates, log_f, h, c, n, R)
            y = h[1:].permute(2, 0, 1, 3).reshape(B, T, H * N)
            return y, *(part.transpose(0, 1).reshape(B, H * N) for part in (c[T], n[T], m))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, dy: Tensor, *dlast: Tensor) -> tuple[Tensor, ...]:
            gates, log_f, h, c, n, R = ctx.saved_tensors
            T, H, B, _, N = gates.shape
            i, f, z, o = gates.unbind(3)
            dh = dy.reshape(B, T, H, N).permute(1, 2, 0, 3).clone(memory_format=DENSE)
            dc, dn, dm = (part.reshape(B, H, N).transpose(0, 1) for part in dlast)
            shut = -torch.expm1(log_f)  # 1 - σ(f~)
            # One of i and f is exp(0) = 1, and that tells which of the two made the maximum.
            kept = (1 + torch.sign(f - i)) / 2  # 1 - p
            delta = torch.empty_like(h)  # by the m before each step, and at last the one after
            delta[T] = dm - c[T] * dc - n[T] * dn
            for t in reversed(range(T)):
                torch.mul(delta[t + 1], kept[t], out=delta[t])
            d = torch.empty_like(gates)
            d[:, :, :, 0], d[:, :, :, 1] = (1 - kept) * delta[1:], delta[:T] * shut
            d[:, :, :, 2] = 0
            from_c = torch.stack([z * i, c[:T] * f * shut, i * (1 - z * z)], 3).unbind()
            from_n = torch.stack([i, n[:T] * f * shut], 3).unbind()
            from_h = torch.stack([o / n[1:], -h[1:] / n[1:]], 1).unbind()
            o_from_h = (h[1:] * (1 - o)).unbind()
            d_i_f_z, d_i_f, d_o = d[:, :, :, :3].unbind(), d[:, :, :, :2].unbind(), d[:, :, :, 3]
            d_o, dhs, fs, products = d_o.unbind(), dh.unbind(), f.unbind(), d.flatten(3).unbind()
            dcn = torch.stack([dc, dn])
            by_gate = dcn.unsqueeze(3)
            for t in reversed(range(T)):
                if t < T - 1:
                    dhs[t].baddbmm_(products[t + 1], R)
                dcn.addcmul_(from_h[t], dhs[t])
                d_i_f_z[t].addcmul_(from_c[t], by_gate[0])
                d_i_f[t].addcmul_(from_n[t], by_gate[1])
                torch.mul(dhs[t], o_from_h[t], out=d_o[t])
                dcn.mul_(fs[t])
            rows = (part.transpose(0, 1).reshape(H, T * B, -1) for part in (d, h[:T]))
            dR = torch.bmm(next(rows).mT, next(rows))
            dm = (dcn[0] * c[0] + dcn[1] * n[0]) + delta[0]
            dfirst = (torch.bmm(products[0], R), dcn[0], dcn[1], dm)
            du = d.permute(2, 0, 3, 1, 4).reshape(B, T, 4 * H * N)
            return du, dR, *(part.transpose(0, 1).reshape(B, H * N) for part in dfirst)

    DENSE = torch.contiguous_format
    return SLSTMFunction
