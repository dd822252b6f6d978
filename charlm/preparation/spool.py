"""Numbers, and text, kept in a file until it is known what they become.

Each spool is written once: `keep` gives the file its name when it is whole. What `about` says of it
is what is needed to read it again.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

READ_AT_ONCE = 1 << 20
NO_SUM = 1  # Adler's checksum of nothing; it is several times faster than a CRC
RECORD_END = b"\xff"  # between two pieces of text; no UTF-8 has this byte


def id_type(size: int) -> np.dtype:
    """The smallest of uint8, uint16 and uint32 (little-endian) that holds 0 to `size` - 1."""
    return np.dtype("u1" if size <= 1 << 8 else "<u2" if size <= 1 << 16 else "<u4")


def growing(path: Path) -> Path:
    """What a file is called until it is whole; a process that was left over has its own."""
    return path.with_name(f"{path.name}.{os.getpid()}.growing")


class _Spool:
    """A file that is there whole or not at all, with a checksum of what it holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._growing = growing(path)
        self._checksum = NO_SUM

    def __enter__(self) -> Any:
        self._file: BinaryIO = self._growing.open("wb")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._growing.unlink(missing_ok=True)

    def keep(self) -> dict[str, Any]:
        """Gives the file its name; what `about` says of it, as JSON can hold it."""
        self._file.flush()
        self._growing.replace(self._path)
        return {"file": self._path.name, "checksum": self._checksum}

    def _write(self, data: bytes) -> None:
        self._checksum = zlib.adler32(data, self._checksum)
        self._file.write(data)


class Spool(_Spool):
    """Numbers in the order in which they were added, in as few bytes as they need."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._parts: list[tuple[str, int]] = []

    def add(self, numbers: np.ndarray, size: int) -> None:
        """Adds numbers, all of them below `size`, which never shrinks."""
        kind = id_type(size)
        before = 0
        if self._parts and self._parts[-1][0] == kind.str:
            before = self._parts.pop()[1]
        self._parts.append((kind.str, before + len(numbers)))
        self._write(np.ascontiguousarray(numbers, dtype=kind).data)

    def keep(self) -> dict[str, Any]:
        """Gives the file its name; `about` has its parts, a type and how many numbers of it."""
        return {**super().keep(), "parts": self._parts}


class TextSpool(_Spool):
    """Text, to be read again: chunks of pieces in, the same chunks out."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._sizes: list[int] = []

    def add(self, pieces: list[str]) -> None:
        """Adds a chunk of text."""
        if data := RECORD_END.join([piece.encode("utf-8") for piece in pieces]):
            self._sizes.append(len(data))
            self._write(data)

    def keep(self) -> dict[str, Any]:
        """Gives the file its name; `about` has the size of each chunk."""
        return {**super().keep(), "sizes": self._sizes}


def whole(folder: Path, about: dict[str, Any]) -> bool:
    """Whether the file of a spool is there and holds what was written."""
    checksum = NO_SUM
    try:
        with (folder / about["file"]).open("rb") as file:
            while data := file.read(READ_AT_ONCE):
                checksum = zlib.adler32(data, checksum)
    except FileNotFoundError:
        return False
    return checksum == about["checksum"]


def numbers_in(folder: Path, about: dict[str, Any]) -> Iterator[np.ndarray]:
    """All the numbers of a Spool, a chunk at a time."""
    with (folder / about["file"]).open("rb") as file:
        for kind, count in about["parts"]:
            for begin in range(0, count, READ_AT_ONCE):
                numbers = np.empty(min(READ_AT_ONCE, count - begin), dtype=kind)
                file.readinto(numbers.data)
                yield numbers


class StoredText:
    """What several TextSpools hold, one after another."""

    def __init__(self, folder: Path, abouts: Sequence[dict[str, Any]]) -> None:
        self._folder = folder
        self._abouts = abouts

    @property
    def size_bytes(self) -> int:
        """How much there is."""
        return sum(sum(about["sizes"]) for about in self._abouts)

    def chunks(self, every: int = 1) -> Iterator[list[str]]:
        """The chunks, each the pieces it was made of, or every so many-th of them."""
        number = 0
        for about in self._abouts:
            with (self._folder / about["file"]).open("rb") as file:
                begin = 0
                for size in about["sizes"]:
                    if number % every == 0:
                        file.seek(begin)
                        pieces = file.read(size).split(RECORD_END)
                        yield [piece.decode("utf-8") for piece in pieces]
                    begin += size
                    number += 1
