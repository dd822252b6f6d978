"""Whether the lines of a text are sorted, by what they begin with."""

from typing import Any

import numpy as np

HEAD = 8  # bytes of a line that are looked at
SORTED_FROM = 0.95  # of the neighbors that differ; by chance it is half of them
NEIGHBORS = 30  # fewer say nothing


class Order:
    """How often a line comes after, or before, the line above it, in ASCII's lower case.

    Empty lines do not count. Law: the orders of the parts of a text, absorbed one after another,
    are that of the whole.
    """

    def __init__(self) -> None:
        self._rising = self._falling = 0
        self._first: int | None = None
        self._last: int | None = None

    @property
    def sorted(self) -> bool:
        """Whether the lines are sorted, up or down."""
        neighbors = self._rising + self._falling
        most = max(self._rising, self._falling)
        return neighbors >= NEIGHBORS and most >= SORTED_FROM * neighbors

    def add(self, block: bytes) -> None:
        """Takes a block of whole lines."""
        self._go_on(_heads(block))

    def state(self) -> list[Any]:
        """What `absorb` takes, as JSON can hold it."""
        return [self._rising, self._falling, self._first, self._last]

    def absorb(self, state: list[Any]) -> None:
        """Takes the order of the next part of the text."""
        rising, falling, first, last = state
        if first is None:
            return
        self._go_on(np.array([first], dtype=np.uint64))
        self._rising += rising
        self._falling += falling
        self._last = last

    def _go_on(self, heads: np.ndarray) -> None:
        if not len(heads):
            return
        if self._last is None:
            self._first = int(heads[0])
        else:
            heads = np.append(np.uint64(self._last), heads)
        self._rising += int(np.count_nonzero(heads[1:] > heads[:-1]))
        self._falling += int(np.count_nonzero(heads[1:] < heads[:-1]))
        self._last = int(heads[-1])


def _heads(block: bytes) -> np.ndarray:
    """The first bytes of each line that is not empty, as a number (uint64) each."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    data = np.frombuffer(block + bytes(HEAD), dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    ends = np.minimum(ends - starts, HEAD) + starts
    starts, ends = starts[ends > starts], ends[ends > starts]
    letters = data[starts[:, None] + np.arange(HEAD)]
    letters[np.arange(HEAD) >= (ends - starts)[:, None]] = 0
    letters += 32 * ((letters >= ord("A")) & (letters <= ord("Z"))).astype(np.uint8)
    return letters.view(">u8")[:, 0].astype(np.uint64)
