"""The sources as one stream of text, in pieces between which a record ends."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from charlm.config import PrepConfig
from charlm.errors import DataError
from charlm.preparation.decoding import Decoding
from charlm.preparation.lines import Lines
from charlm.preparation.records import Records
from charlm.preparation.sources import Source
from charlm.tokenizer import words


class Reader:
    """Reads the sources, or stretches of them, once, and keeps what is worth knowing about them.

    `locating` lets `where` be asked, and `lines` takes the lines.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: PrepConfig,
        lines: Lines | None = None,
        *,
        locating: bool,
    ) -> None:
        self._sources = sources
        self._latin = config.level == "byte"
        self._records = Records(config.records)
        by_words = config.level in ("word", "bpe")
        cut = partial(words.last_cut, words=config.words) if by_words else None
        self.decoding = Decoding(config.level, config.normalize, cut)
        self.lines = Lines() if lines is None else lines
        self._source = self._sources[0]
        self._locating = locating
        self._text = ""
        self._lines_before = self._chars_before = 0

    def pieces(self) -> Iterator[list[str]]:
        """The text, chunk by chunk. Raises DataError where there is none."""
        # Without records the sources are one text, as if `cat` had joined them.
        joined = self._records.kind == "none"
        for sources in [self._sources] if joined else [[source] for source in self._sources]:
            # A stretch begins where a record does, but where a file is one.
            whole = self._records.kind == "file"
            self._records.begin(inside=whole and sources[0].begin > 0)
            for text in self.decoding.recut(self._decoded(sources)):
                if self._locating:
                    lines = self._text.count("\n")
                    self._lines_before += lines
                    whole = self._text.rpartition("\n")[2]
                    self._chars_before = len(whole) + (0 if lines else self._chars_before)
                    self._text = text
                self.lines.add(text.encode("latin-1" if self._latin else "utf-8"))
                yield self._records.cut(text)
            if sources[-1].last or not whole:
                yield self._records.end()
            if not joined and sources[-1].last:
                self.lines.close()
        self.lines.close()
        if not any(source.size_bytes for source in self._sources):
            raise DataError(f"{names(self._sources)} is empty.")

    def where(self, symbol: str) -> str:
        """Where a symbol of the pieces handed out last stands: source, line and column."""
        before = self._text[: max(0, self._text.find(symbol))]
        lines = before.count("\n")
        column = len(before.rpartition("\n")[2]) + (0 if lines else self._chars_before) + 1
        return f"{self._source.name}, line {self._lines_before + lines + 1}, column {column}"

    def _decoded(self, sources: list[Source]) -> Iterator[str]:
        for source in sources:
            self._source, self._text = source, ""
            self._lines_before, self._chars_before = source.lines, 0
            yield from self.decoding.decoded(source)


def names(sources: Sequence[Source]) -> str:
    """What the sources are called, for messages."""
    first, *others = (source.name for source in sources)
    return f"{first} with {len(others)} more" if others else first


def described(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Name, size and hash of each source, as read (a gzip file's are those of its text)."""
    return [
        {"name": source.name, "bytes": source.size_bytes, "sha256": source.sha256}
        for source in sources
    ]
