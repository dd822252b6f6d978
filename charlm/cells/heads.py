"""How a width is divided into heads, each a part of the units with a memory of its own."""

from charlm.ops import Array

SIZE = 64  # units in a head, as in RWKV-7; a narrow cell has two smaller ones


def heads(width: int) -> int:
    """How many heads a cell of that width has: the fewest of at most 64 units, two where it can.

    A width that no such number divides has one.
    """
    least = max(2, -(-width // SIZE))
    return next((n for n in range(least, width // 4 + 1) if width % n == 0), 1)


def split(x: Array, count: int) -> Array:
    """`x` (..., D) as (..., count, D / count)."""
    return x.reshape(*x.shape[:-1], count, x.shape[-1] // count)


def join(x: Array) -> Array:
    """`x` (..., H, N) as (..., H * N)."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
