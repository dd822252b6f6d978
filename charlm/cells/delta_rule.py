"""The generalised delta rule of RWKV-7 over a whole context, with a gradient by hand.

    S_t = S_{t−1} diag(w_t) + (S_{t−1} α_t) β_tᵀ + v_t k_tᵀ;  y_t = S_t r_t

It goes by chunks of L steps. With W_t the product of a chunk's decays up to step t, S the memory
before the chunk and u_t = S_{t−1} α_t,

    S_t = (S + Σ_{s≤t} u_s (β_s / W_s)ᵀ + v_s (k_s / W_s)ᵀ) diag(W_t)

so that the u of a chunk solve a triangular system. Queries are α_t W_{t−1} over r_t W_t, keys are
β_t / W_t over k_t / W_t, values are u over v, each (chunks, B, H, 2L, N); scores are, as in
attention, queries times keys. All that does not need S is made for all chunks at once. Autograd of
the same takes almost twice as long.

Source: Peng et al. 2025 (arXiv:2503.14456), sec. 4; chunks: Yang et al. 2024 (arXiv:2406.06484).
"""

from functools import cache
from typing import Any

from charlm.ops import Array

CHUNK = 32  # as fast as 16 and 64 on a CPU. NOTE: 1 / W reaches e^(0.607 L), which must be finite


def delta_rule(torch: Any, memory: Array, *inputs: Array) -> tuple[Array, Array]:
    """y (B, T, H, N) and the last memory, from the memory S (B, H, N, N), whose rows are values.

    `inputs` are r, log w, k, v, α, β, each (B, T, H, N), with log w between -0.607 and 0.
    """
    T = inputs[0].shape[1]
    L = min(CHUNK, T)
    if T % L:  # steps with nothing in them change nothing
        inputs = tuple(torch.nn.functional.pad(x, (0, 0, 0, 0, 0, -T % L)) for x in inputs)
    y, memory = _function(torch).apply(L, memory, *inputs)
    return y[:, :T], memory


@cache
def _function(torch: Any) -> Any:
    class DeltaRule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, L: int, memory: Array, *inputs: Array) -> tuple[Array, Array]:
            r, log_w, k, v, alpha, beta = (_chunks(x, L) for x in inputs)
            total = log_w.cumsum(-2)
            end = total[..., -1:, :].exp()
            fall = torch.cat((total - log_w, total), -2).exp_()
            rise = total.neg().exp_().repeat(1, 1, 1, 2, 1)
            queries = torch.cat((alpha, r), -2).mul_(fall)
            keys = torch.cat((beta, k), -2).mul_(rise)
            scores = (queries @ keys.mT).mul_(_mask(torch, L, r))
            sides = torch.cat((queries[..., :L, :], scores[..., :L, L:] @ v), -1)
            P, Q = _solve(torch, scores, sides, upper=False)
            last = keys * end
            values, memories = torch.cat((v, v), -2), memory.new_empty(len(keys), *memory.shape)
            for i in range(len(keys)):
                memories[i] = memory
                values[i, ..., :L, :] = Q[i] + P[i] @ memory.mT
                memory = memory * end[i] + values[i].mT @ last[i]
            y = queries[..., L:, :] @ memories.mT + scores[..., L:, :] @ values
            ctx.save_for_backward(fall, rise, end, queries, keys, values, scores, memories)
            return _steps(y), memory

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gy: Array, g_memory: Array) -> tuple[Array | None, ...]:
            fall, rise, end, queries, keys, values, scores, memories = ctx.saved_tensors
            L = scores.shape[-1] // 2
            gy = _chunks(gy, L)
            last = keys * end
            sides = torch.cat((last[..., :L, :], scores[..., L:, :L].mT @ gy), -1)
            P, Q = _solve(torch, scores.mT, sides, upper=True)
            # The gradients of the system's right sides, over those of y.
            g, g_memories = torch.cat((gy, gy), -2), torch.empty_like(memories)
            for i in reversed(range(len(keys))):
                g_memories[i] = g_memory
                g[i, ..., :L, :] = Q[i] + P[i] @ g_memory.mT
                g_memory = g_memory * end[i] + g[i].mT @ queries[i]
            g_scores = (g @ values.mT).mul_(_mask(torch, L, g))
            g_queries = g @ memories + g_scores @ keys
            g_last = values @ g_memories
            g_keys = g_last * end + g_scores.mT @ queries
            g_v = scores[..., L:].mT @ g + last[..., L:, :] @ g_memories.mT
            g_end = (g_memories * memories).sum(-2) + (g_last * keys).sum(-2)
            g_fall, g_rise = g_queries * queries, g_keys * keys
            g_total = g_fall[..., :L, :] + g_fall[..., L:, :] - g_rise[..., :L, :]
            g_total -= g_rise[..., L:, :]
            g_total[..., -1, :] += g_end * end[..., 0, :]
            g_w = g_total.flip(-2).cumsum(-2).flip(-2) - g_fall[..., :L, :]
            g_alpha, g_r = g_queries.mul_(fall).split(L, -2)
            g_beta, g_k = g_keys.mul_(rise).split(L, -2)
            return None, g_memory, *map(_steps, (g_r, g_w, g_k, g_v, g_alpha, g_beta))

    return DeltaRule


def _chunks(x: Array, L: int) -> Array:
    """`x` (B, T, H, N) as (chunks, B, H, L, N)."""
    return x.unflatten(1, (-1, L)).permute(1, 0, 3, 2, 4)


def _steps(x: Array) -> Array:
    """The reverse of `_chunks`."""
    return x.permute(1, 0, 3, 2, 4).flatten(1, 2)


def _mask(torch: Any, L: int, like: Array) -> Array:
    """Which scores (2L, 2L) count: u sees what was before its step, y its own step too."""
    seen = torch.ones(L, L, dtype=like.dtype, device=like.device).tril_()
    return torch.cat((seen.tril(-1).repeat(1, 2), seen.repeat(1, 2)))


def _solve(torch: Any, scores: Array, sides: Array, upper: bool) -> tuple[Array, Array]:
    """The two halves of X in (I − A) X = sides, where A are the scores of u and u.

    NOTE: a series in powers of A is no way: of one symbol over and over they explode.
    """
    L = scores.shape[-1] // 2
    A = scores[..., :L, :L]
    return torch.linalg.solve_triangular(-A, sides, upper=upper, unitriangular=True).chunk(2, -1)
