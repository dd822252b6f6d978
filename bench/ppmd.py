"""PPMd, variant I as in 7-Zip, after it has read a text: a count model that adapts."""

import pyppmd

ORDERS = range(4, 11)
MEMORY_BYTES = 1 << 28  # when they are full, PPMd forgets all


def size(text: bytes, order: int) -> int:
    """Size in bytes of the compressed text."""
    return len(pyppmd.compress(text, max_order=order, mem_size=MEMORY_BYTES, variant="I"))


def best_primed(before: bytes, text: bytes) -> tuple[int, int]:
    """The least number of bytes that `text` adds to the compressed text before it, and the order.

    The order is chosen on `text` itself, which flatters PPMd.
    """
    return min((size(before + text, order) - size(before, order), order) for order in ORDERS)
