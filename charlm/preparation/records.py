"""Text cut into records, and how much text the boundary between them stands for."""

import re

# What a boundary replaces, in characters (which are bytes here): a newline; a newline and an
# empty line; the end of a file, which is no text at all.
BOUNDARY_CHARS = {"none": 0, "line": 1, "blank": 2, "file": 0}

_BLANK_LINES = re.compile(r"\n(?:\r?\n)+")
_BLANK_LINES_CR = re.compile(r"\r?\n(?:\r?\n)+")  # slower: its matches begin with either of two
_LINES_AT_START = re.compile(r"\A(?:\r?\n)+")
_LINES_AT_END = re.compile(r"(?:\r?\n)+\Z")


class Records:
    """Cuts texts into records, chunk by chunk. Empty records are dropped.

    `kind` is "line", "blank", "file" or "none". The end of a source ends a record, and a newline
    just before it is no text. Law: how a text is cut into chunks changes nothing.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._inside = False  # whether the current record has text already
        self._held = ""  # what may be the beginning of a separator

    def cut(self, text: str) -> list[str]:
        """The next chunk in pieces, where a boundary stands between one piece and the next."""
        if self._kind in ("none", "file"):
            return self._whole([text])
        text = self._held + text
        kept = text.rstrip("\r\n") if self._kind == "blank" else text.removesuffix("\r")
        self._held = text[len(kept) :]
        if self._kind == "line":
            return self._whole(kept.replace("\r\n", "\n").split("\n"))
        self._held = _BLANK_LINES_CR.sub("\n\n", self._held)
        if not self._inside:
            kept = _LINES_AT_START.sub("", kept)
        return self._whole((_BLANK_LINES_CR if "\r" in kept else _BLANK_LINES).split(kept))

    def end(self) -> list[str]:
        """The last pieces of a source."""
        rest = _LINES_AT_END.sub("", self._held)
        self._held = ""
        pieces = self._whole([rest])
        if self._inside and self._kind != "none":
            self._inside = False
            pieces.append("")
        return pieces

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
