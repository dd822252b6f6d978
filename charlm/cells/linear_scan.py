"""The linear recurrence h_t = a_t h_{t−1} + b_t, unit by unit, solved for all T steps at once.

The papers that made it parallel (Heinsen 2023, arXiv:2311.06281; Feng et al. 2024,
arXiv:2410.01201, app. B) do so by sums of logarithms. The numbers are the same, but a sum of
logarithms over thousands of steps loses digits, and h_0 = 0 has no logarithm. Products of gates in
[0, 1] need neither: the worst they do is to vanish, which is what the recurrence does, too.

So the steps are cut into chunks. Each chunk makes some product · h + end of the h before it; both
are found for all chunks at once, a position at a time. Then the chunks' first h are found one after
the other, and then all else, again for all chunks at once. That takes some 5 √T small operations in
place of T: few launches on a GPU, and on a CPU two threads' worth of work in each.
"""

import math
from collections.abc import Sequence
from typing import Any

from charlm.ops import Array


def linear_scan(
    torch: Any, a: Array, b: Array, h: Array, *, out: Array | None = None, reverse: bool = False
) -> Array:
    """All h (B, T, D), from a in [0, 1] and b (B, T, D) and the h before them (B, D).

    `reverse` runs from the last step to the first. `out` may be b itself. Without a gradient: it
    is the inner loop of functions whose gradient is one more of it, the other way.
    """
    out = torch.empty_like(b) if out is None else out
    T = a.shape[1]
    length = math.isqrt(T)
    chunks, rest = divmod(T, length)
    # What fills no chunk comes first.
    single, chunked = slice(None, rest), slice(rest, None)
    if reverse:
        single, chunked = slice(T - rest, None), slice(None, T - rest)

    def in_order(x: Array, dim: int) -> Sequence[Array]:
        parts = x.unbind(dim)
        return parts[::-1] if reverse else parts

    def run(a: Sequence[Array], b: Sequence[Array], h: Array, out: Sequence[Array]) -> Array:
        for a_t, b_t, out_t in zip(a, b, out, strict=True):
            h = torch.addcmul(b_t, a_t, h, out=out_t)
        return h

    a_single, b_single, out_single = (in_order(x[:, single], 1) for x in (a, b, out))
    h = run(a_single, b_single, h, out_single)
    a, b, out_parts = (
        in_order(x[:, chunked].unflatten(1, (chunks, length)), 2) for x in (a, b, out)
    )  # `length` parts (B, chunks, D)
    product, end = a[0].clone(), b[0].clone()
    for a_t, b_t in zip(a[1:], b[1:], strict=True):
        product.mul_(a_t)
        torch.addcmul(b_t, a_t, end, out=end)
    before = torch.empty_like(end)  # the h before each chunk
    first, *others = in_order(before, 1)
    first.copy_(h)
    run(in_order(product, 1)[:-1], in_order(end, 1)[:-1], h, others)
    run(a, b, before, out_parts)
    return out
