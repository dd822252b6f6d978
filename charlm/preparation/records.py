"""Text cut into records, and how much text the boundary between them stands for."""

import re

# What a boundary replaces, in characters (which are bytes here): a newline; a newline and an
# empty line; the end of a file, which is no text at all.
BOUNDARY_CHARS = {"none": 0, "line": 1, "blank": 2, "file": 0}

_BLANK_LINES = re.compile(r"\n(?:\r?\n)+")
_BLANK_LINES_CR = re.compile(r"\r?\n(?:\r?\n)+")  # slower: its matches begin with either of two
_MORE_BLANK_LINES = re.compile(r"(\n\r?\n)(?:\r?\n)+")
_LINES_AT_START = re.compile(r"\A(?:\r?\n)+")
_LINES_AT_END = re.compile(r"(?:\r?\n)+\Z")


class Records:
    """Cuts texts into records, chunk by chunk. Empty records are dropped.

    `kind` is "line", "blank", "file" or "none". The end of a source ends a record, and a newline
    just before it is no text. Law: how a text is cut into chunks changes nothing.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._inside = False  # whether the current record has text already
        self._held = ""  # what may be the beginning of a separator

    def begin(self, *, inside: bool) -> None:
        """A source begins, or goes on inside a record."""
        self._inside = inside

    def cut(self, text: str) -> list[str]:
        """The next chunk in pieces, where a boundary stands between one piece and the next."""
        text = self._held + text
        if self.kind == "line":
            kept = text.removesuffix("\r")
        elif self.kind == "blank":
            kept = text.rstrip("\r\n")
        else:
            kept = text
        self._held = _MORE_BLANK_LINES.sub(r"\1", text[len(kept) :])  # megabytes say no more
        return self._whole(self._split(kept))

    def end(self) -> list[str]:
        """The last pieces of a source."""
        pieces = self._whole(self._split(_LINES_AT_END.sub("", self._held)))
        self._held = ""
        if self._inside and self.kind != "none":
            self._inside = False
            pieces.append("")
        return pieces

    def _split(self, text: str) -> list[str]:
        if self.kind == "line":
            return text.replace("\r\n", "\n").split("\n")
        if self.kind != "blank":
            return [text]
        if not self._inside:
            text = _LINES_AT_START.sub("", text)
        return (_BLANK_LINES_CR if "\r" in text else _BLANK_LINES).split(text)

    def _whole(self, pieces: list[str]) -> list[str]:
        """The pieces without empty records."""
        *ended, going_on = pieces
        if not ended:
            self._inside = self._inside or bool(going_on)
            return pieces
        first, *others = ended
        records = [first] if first or self._inside else []
        self._inside = bool(going_on)
        return [*records, *filter(None, others), going_on]
