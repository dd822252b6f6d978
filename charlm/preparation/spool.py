"""Numbers kept in a temporary file until it is known what they become."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

READ_AT_ONCE = 1 << 20


def id_type(size: int) -> np.dtype:
    """The smallest of uint8, uint16 and uint32 (little-endian) that holds 0 to `size` - 1."""
    return np.dtype("u1" if size <= 1 << 8 else "<u2" if size <= 1 << 16 else "<u4")


class Spool:
    """Numbers in the order in which they were added, in as few bytes as they need.

    A context manager: the file is gone afterwards, unless it has been moved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: list[tuple[np.dtype, int]] = []

    def __enter__(self) -> "Spool":
        self._file = self.path.open("w+b")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def types(self) -> list[np.dtype]:
        """The types of the numbers in the file, one after another; each is wider."""
        return [kind for kind, _ in self._parts]

    def add(self, numbers: np.ndarray, size: int) -> None:
        """Adds numbers, all of them below `size`, which never shrinks."""
        kind = id_type(size)
        before = 0
        if self._parts and self._parts[-1][0] == kind:
            before = self._parts.pop()[1]
        self._parts.append((kind, before + len(numbers)))
        self._file.write(numbers.astype(kind, copy=False))

    def chunks(self) -> Iterator[np.ndarray]:
        """All the numbers, a chunk at a time."""
        self._file.seek(0)
        for kind, count in self._parts:
            for begin in range(0, count, READ_AT_ONCE):
                numbers = np.empty(min(READ_AT_ONCE, count - begin), dtype=kind)
                self._file.readinto(numbers)
                yield numbers
