"""The sources as one stream of text, in pieces between which a record ends."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from charlm.config import PrepConfig
from charlm.errors import DataError
from charlm.preparation.decoding import Decoding
from charlm.preparation.lines import Lines
from charlm.preparation.records import Records
from charlm.preparation.sources import Source
from charlm.tokenizer import words


class Reader:
    """Reads the sources once, and keeps what is worth knowing about them.

    `locating` lets `where` be asked.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        config: PrepConfig,
        advance: Callable[[int], None],
        *,
        locating: bool,
    ) -> None:
        self._sources = [Source(path, advance) for path in paths]
        self._latin = config.level == "byte"
        self._records = Records(config.records)
        by_words = config.level in ("word", "bpe")
        cut = partial(words.last_cut, words=config.words) if by_words else None
        self.decoding = Decoding(config.level, config.normalize, cut)
        self.lines = Lines()
        self._source = self._sources[0]
        self._locating = locating
        self._text = ""
        self._lines_before = self._chars_before = 0

    def pieces(self) -> Iterator[list[str]]:
        """The text, chunk by chunk. Raises DataError where there is none."""
        # Without records the sources are one text, as if `cat` had joined them.
        joined = self._records.kind == "none"
        for sources in [self._sources] if joined else [[source] for source in self._sources]:
            for text in self.decoding.recut(self._decoded(sources)):
                if self._locating:
                    lines = self._text.count("\n")
                    self._lines_before += lines
                    whole = self._text.rpartition("\n")[2]
                    self._chars_before = len(whole) + (0 if lines else self._chars_before)
                    self._text = text
                self.lines.add(text.encode("latin-1" if self._latin else "utf-8"))
                yield self._records.cut(text)
            yield self._records.end()
        self.lines.close()
        if not any(source.size_bytes for source in self._sources):
            raise DataError(f"{self.names} is empty.")

    @property
    def names(self) -> str:
        """What the sources are called, for messages."""
        first, *others = (source.name for source in self._sources)
        return f"{first} with {len(others)} more" if others else first

    def where(self, symbol: str) -> str:
        """Where a symbol of the pieces handed out last stands: source, line and column."""
        before = self._text[: max(0, self._text.find(symbol))]
        lines = before.count("\n")
        column = len(before.rpartition("\n")[2]) + (0 if lines else self._chars_before) + 1
        return f"{self._source.name}, line {self._lines_before + lines + 1}, column {column}"

    def _decoded(self, sources: list[Source]) -> Iterator[str]:
        for source in sources:
            self._source, self._text = source, ""
            self._lines_before = self._chars_before = 0
            yield from self.decoding.decoded(source)

    def sources(self) -> list[dict[str, Any]]:
        """Name, size and hash of each source, as read (a gzip file's are those of its text)."""
        return [
            {"name": source.name, "bytes": source.size_bytes, "sha256": source.sha256}
            for source in self._sources
        ]


class TextSpool:
    """Text kept in a temporary file, to be read again: pieces in, the same pieces out."""

    _RECORD_END = b"\xff"  # no UTF-8 has this byte

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: list[int] = []

    def __enter__(self) -> "TextSpool":
        self._file: BinaryIO = self._path.open("w+b")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._path.unlink()

    @property
    def size_bytes(self) -> int:
        """How much has been added."""
        return sum(self._sizes)

    def add(self, pieces: list[str]) -> None:
        """Adds a chunk of text."""
        data = self._RECORD_END.join([piece.encode("utf-8") for piece in pieces])
        self._sizes.append(len(data))
        self._file.write(data)

    def pieces(self, every: int = 1) -> Iterator[list[str]]:
        """The chunks, or every so many-th of them."""
        begin = 0
        for i, size in enumerate(self._sizes):
            if i % every == 0:
                self._file.seek(begin)
                data = self._file.read(size).split(self._RECORD_END)
                yield [piece.decode("utf-8") for piece in data]
            begin += size
