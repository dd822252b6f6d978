"""The functions cells need that numpy and torch do not share under one name.

Every function takes `xp`, which is the module numpy or the module torch, and is written once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

Array = Any  # a numpy.ndarray or a torch.Tensor


def sigmoid(xp: Any, x: Array) -> Array:
    """The logistic function of `x`, as (1 + tanh(x/2)) / 2, which cannot overflow."""
    return xp.tanh(x * 0.5) * 0.5 + 0.5


def gates(xp: Any, x: Array, begin: int, end: int) -> tuple[Array, Array, Array]:
    """σ, tanh and σ of the columns of `x` (..., N) before `begin`, up to `end`, and after.

    On numpy, where of one row it is the number of operations that counts, all at once.
    """
    if _is_torch(xp):
        before, within, after = x[..., :begin], x[..., begin:end], x[..., end:]
        return sigmoid(xp, before), xp.tanh(within), sigmoid(xp, after)
    scale, shift = _sigmoid_as_tanh(xp, x.shape[-1], begin, end, x.dtype)
    y = xp.tanh(x * scale) * scale + shift
    return y[..., :begin], y[..., begin:end], y[..., end:]


@cache
def _sigmoid_as_tanh(xp: Any, size: int, begin: int, end: int, dtype: Any) -> tuple[Array, Array]:
    """What makes tanh(scale x) scale + shift the logistic function, but tanh in [begin, end)."""
    scale, shift = xp.full(size, 0.5, dtype=dtype), xp.full(size, 0.5, dtype=dtype)
    scale[begin:end], shift[begin:end] = 1.0, 0.0
    return scale, shift


def affine(xp: Any, x: Array, weight: Array, bias: Array) -> Array:
    """`x` (..., N) times the transposed `weight` (M, N), plus `bias` (M,)."""
    return xp.nn.functional.linear(x, weight, bias) if _is_torch(xp) else x @ weight.T + bias


def relu(xp: Any, x: Array) -> Array:
    """The positive part of `x`; NaN stays NaN and is not hidden as 0."""
    return xp.relu(x) if _is_torch(xp) else xp.maximum(x, 0.0)


def log_sigmoid(xp: Any, x: Array) -> Array:
    """The logarithm of the logistic function of `x`, without overflow or cancellation."""
    return -relu(xp, -x) - xp.log1p(xp.exp(-xp.abs(x)))


def silu(xp: Any, x: Array) -> Array:
    """x times the logistic function of `x`. Source: Elfwing et al. 2017 (arXiv:1702.03118)."""
    return x * sigmoid(xp, x)


def logsumexp(xp: Any, x: Array, axis: int) -> Array:
    """The logarithm of the sum of exp(x) over an axis, which stays, with size 1."""
    if _is_torch(xp):
        return xp.logsumexp(x, axis, keepdim=True)
    top = xp.amax(x, axis, keepdims=True)
    return xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top


def log_softmax(xp: Any, x: Array) -> Array:
    """The logarithms of the probabilities whose logits are `x`, over the last axis."""
    if _is_torch(xp):
        return xp.log_softmax(x.float() if x.dtype == xp.bfloat16 else x, -1)
    return x - logsumexp(xp, x, -1)


def attend(xp: Any, queries: Array, memory: Array, seen: Array) -> Array:
    """Σ_s softmax_s(q_t · m_s) m_s, s being where seen[..., t, s] is true: (B, T, D).

    Queries are (B, T, D), the memory is (B, S, D); every t sees something.
    """
    if _is_torch(xp):
        heads = queries[:, None], memory[:, None], memory[:, None]
        attention = xp.nn.functional.scaled_dot_product_attention
        return attention(*heads, attn_mask=seen[:, None], scale=1.0)[:, 0]
    scores = xp.where(seen, queries @ memory.swapaxes(1, 2), -xp.inf)
    e = xp.exp(scores - xp.amax(scores, -1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ memory


def most(x: Array, limit: int) -> int:
    """The greatest of whole numbers `x`, as an int.

    It is `limit`, which none of them exceeds, where they are not known yet: an array that stands
    for a value of a graph says so by `unknown`.
    """
    return limit if getattr(x, "unknown", False) else int(x.max())


def in_full(torch: Any, function: Callable[..., Any], *inputs: Any) -> Any:
    """`function(*inputs)` with no torch.autocast, what that has rounded to bfloat16 as float32."""

    def full(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(map(full, x))
        return x.float() if getattr(x, "dtype", None) == torch.bfloat16 else x

    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        return function(*map(full, inputs))


def lookup(xp: Any, table: Array, ids: Array) -> Array:
    """The rows (..., E) of `table` (V, E) at ids (...).

    With torch it is torch's own embedding: the gradient of plain indexing is summed by several
    threads in no certain order, and a run would not repeat bit for bit.
    """
    if _is_torch(xp):
        return xp.embedding(table, ids)
    # numpy does not ask indices that only stand for an array what is to be done.
    rows_of = getattr(ids, "rows_of", None)
    return table.take(ids, 0) if rows_of is None else rows_of(table)


def layer_norm(xp: Any, x: Array, scale: Array, shift: Array, eps: float = 1e-5) -> Array:
    """`x` with mean 0 and variance 1 over the last axis, scaled and shifted.

    Source: Ba, Kiros and Hinton 2016 (arXiv:1607.06450), eq. 4.
    """
    if _is_torch(xp) and scale.ndim == 1:
        # One kernel, which takes a quarter of the time of those below, forward and backward.
        return xp.nn.functional.layer_norm(x, scale.shape, scale, shift, eps)
    # Not `mean`, which takes numpy four times as long as `sum` on one row.
    share = 1.0 / x.shape[-1]
    centred = x - x.sum(axis=-1, keepdims=True) * share
    variance = (centred * centred).sum(axis=-1, keepdims=True) * share
    return centred / xp.sqrt(variance + eps) * scale + shift


def rms_norm(xp: Any, x: Array, scale: Array) -> Array:
    """`x` with root mean square 1 over the last axis, scaled.

    Source: Zhang and Sennrich 2019 (arXiv:1910.07467), eq. 4.
    """
    square = (x * x).sum(axis=-1, keepdims=True) * (1.0 / x.shape[-1])
    return x / xp.sqrt(square + 1e-5) * scale


def _is_torch(xp: Any) -> bool:
    # Not `hasattr` of what only torch has, which takes numpy longer than a product of 128 by 128.
    return xp.__name__ == "torch"
