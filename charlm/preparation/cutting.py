"""The sources cut into pieces that can be prepared one by one, in any order, by any process.

A piece ends where a line does (where blank lines end records, with one of these), so that neither a
character nor a word, a normal form or a record reaches across. Where no line ends it goes on.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from charlm.preparation.sources import Source

PIECE_BYTES = 1 << 24  # large enough to be worth a hand-over, small enough to do again

_BLANK_LINE = re.compile(rb"\n\r?\n(?=[^\r\n])")


@dataclass(frozen=True)
class Piece:
    """A part of the text: stretches of sources, each the arguments of a Stretch.

    `name` tells the text up to its end, and perhaps a little further, from any other. `copy` is the
    file in which it stands where the sources can be read only once.
    """

    name: str
    stretches: list[dict[str, Any]]
    copy: Path | None


class Cutting:
    """Reads the sources from beginning to end, and cuts them.

    `key` becomes part of all names, and copies go to `folder`.
    """

    def __init__(self, sources: Sequence[Source], records: str, folder: Path, key: str) -> None:
        self._sources = sources
        self._blank = records == "blank"
        self._folder = folder
        self._ended = hashlib.sha256(key.encode())  # of the key and the sources that have ended
        self._number = self._size = 0
        self._stretches: list[dict[str, Any]] = []
        self._copy: BinaryIO | None = None

    def pieces(self) -> Iterator[Piece]:
        """The pieces in their order; there is at least one."""
        for source in self._sources:
            begin = lines = 0
            self._start(source, begin, lines)
            for chunk in source.chunks():
                at = self._end(chunk) if self._size + len(chunk) >= PIECE_BYTES else 0
                if at:
                    self._take(source, chunk[:at])
                    yield self._piece(source)
                    self._start(source, begin + at, lines + _lines(chunk[:at]))
                self._take(source, chunk[at:])
                begin += len(chunk)
                lines += _lines(chunk)
            self._stretches[-1]["last"] = True
            self._ended.update(source.sha256.encode())
        yield self._piece(None)

    def _end(self, chunk: bytes) -> int:
        """The last place in a chunk where a piece may end; 0 if there is none."""
        if not self._blank:
            return chunk.rfind(b"\n") + 1
        return max((match.end() for match in _BLANK_LINE.finditer(chunk)), default=0)

    def _start(self, source: Source, begin: int, lines: int) -> None:
        about = {"name": source.name, "begin": begin, "lines": lines, "last": False}
        self._stretches.append({**about, "path": str(source.path), "at": begin, "size": 0})

    def _take(self, source: Source, data: bytes) -> None:
        stretch = self._stretches[-1]
        if data and not source.plain:
            if self._copy is None:
                self._copy = (self._folder / f"{self._number:05}.source").open("wb")
            if not stretch["size"]:
                stretch |= {"path": self._copy.name, "at": self._copy.tell()}
            self._copy.write(data)
        stretch["size"] += len(data)
        self._size += len(data)

    def _piece(self, source: Source | None) -> Piece:
        """What has been taken, up to a place in `source` or the end of all."""
        seen = self._ended.copy()
        if source is not None:
            seen.update(source.sha256.encode())
        copy = None if self._copy is None else Path(self._copy.name)
        if self._copy is not None:
            self._copy.close()
        piece = Piece(f"{self._number:05}-{seen.hexdigest()[:32]}", self._stretches, copy)
        self._number += 1
        self._stretches, self._size, self._copy = [], 0, None
        return piece


def _lines(data: bytes) -> int:
    """How many newlines there are; numpy is an order of magnitude faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")))
