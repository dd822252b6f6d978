"""The mLSTM over T steps by chunks: matrix products within, a short loop from one to the next.

With F_t the sum of log f from a chunk's beginning to step t, and a = i~ − F, the stabiliser is
m_t = F_t + M_t with M_t = max(m before the chunk, a_1 .. a_t). Step s <= t enters step t with the
weight exp(a_s − M_t) and what came before the chunk with exp(m − M_t), so that nothing overflows.

    h_t = (Σ_s S_ts v_s + e_t C ᵀq_t) / (max(|Σ_s S_ts + e_t nᵀq_t|, exp(−m_t)) + 10⁻⁶)
    S_ts = exp(a_s − M_t) q_tᵀk_s for s <= t, else 0;  e_t = exp(m − M_t)

m is that of the recurrence, not another one, so the last state and the bound of the denominator
are too. Source: the chunkwise form of Beck et al. 2025 (arXiv:2503.13427), App. A.
"""

from typing import Any

Tensor = Any  # a torch.Tensor

# As fast as 32 and 128, or faster, at width 256 and contexts of 256.
CHUNK = 64
# Weights below exp(-60) are nothing beside the largest, 1, and exp is ten times slower where its
# result underflows, fifty times where it is a denormal number.
LEAST_LOG_WEIGHT = -60.0
# A bound above exp(60) would overflow in time, and leaves of h nothing that its norm would show.
LEAST_M = -60.0
EPSILON = 1e-6
NEVER = -1e30  # the input gate of a step that is not there


def scan_chunks(
    torch: Any, q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """h (B, T, H, dv) and the last C, n, m.

    From q, k (B, T, H, dk), v (B, T, H, dv), i~ and log f (B, T, H), k scaled, and C, n, m.
    """
    T = q.shape[1]
    L = min(CHUNK, T)
    q, k, v = (_chunks(torch, part, L) for part in (q, k, v))  # (B, H, NC, L, d)
    i = _chunks(torch, i[..., None], L, NEVER)[..., 0]  # (B, H, NC, L)
    F = _chunks(torch, f[..., None], L)[..., 0].cumsum(-1)
    a = i - F
    peak = a.cummax(-1).values
    C, n, m = state
    ms = [m]
    for total, highest in zip(F[..., -1].unbind(2), peak[..., -1].unbind(2), strict=True):
        ms.append(total + torch.maximum(ms[-1], highest))
    before = torch.stack(ms[:-1], 2)[..., None]
    M = torch.maximum(before, peak)
    e = torch.exp(before - M)[..., None]  # (B, H, NC, L, 1)

    gated = torch.exp(a - M[..., -1:])[..., None] * k
    Cs, ns = [C], [n]
    for kept, values, keys in zip(
        e[..., -1, :].unbind(2), (gated.mT @ v).unbind(2), gated.sum(-2).unbind(2), strict=True
    ):
        Cs.append(kept[..., None] * Cs[-1] + values)
        ns.append(kept * ns[-1] + keys)

    # Above the diagonal the exponent may be anything: no more than 0, then away with it.
    weights = (a[..., None, :] - M[..., None]).clamp(LEAST_LOG_WEIGHT, 0.0).exp()
    S = (q @ k.mT * weights).tril()
    q = e * q
    h = S @ v + q @ torch.stack(Cs[:-1], 2)
    size = S.sum(-1, keepdim=True) + q @ torch.stack(ns[:-1], 2)[..., None]
    bound = torch.exp(-(F + M).clamp(min=LEAST_M))[..., None]
    h = h * (torch.maximum(size.abs(), bound) + EPSILON).reciprocal()
    h = h.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :T]
    return h, (Cs[-1], ns[-1], ms[-1])


def _chunks(torch: Any, x: Tensor, length: int, missing: float = 0.0) -> Tensor:
    """`x` (B, T, H, d) as (B, H, NC, length, d), the last chunk filled up with `missing`."""
    short = -x.shape[1] % length
    if short:
        x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, short), value=missing)
    return x.unflatten(1, (-1, length)).permute(0, 3, 1, 2, 4).contiguous()
