"""Bytes to text, a chunk at a time: UTF-8 exactly, normal forms, byte order marks and CRLF."""

from collections import Counter
from collections.abc import Callable, Iterator

from charlm.errors import DataError
from charlm.preparation import encodings
from charlm.preparation.sources import Source, without_mark
from charlm.tokenizer import normalizing
from charlm.tokenizer.words import last_pair_cut

BYTE_ORDER_MARK = "\ufeff"
REPLACEMENT = "\ufffd"
# Control characters but for tab, newline and carriage return, which texts have.
CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\r"))
HELD_AT_MOST = 1 << 22  # characters; more on end without a place to cut are no text with words


class Decoding:
    """Turns sources into text and counts what is odd about it.

    At byte level nothing is decoded: each byte becomes the character of its value (Latin-1), so
    that all levels share what follows. A mark at the beginning is no text there either. `cut` gives
    the last place where a text may be cut.
    """

    def __init__(self, level: str, normalize: str, cut: Callable[[str], int] | None) -> None:
        self.marks: list[str] = []  # names of sources that began with a byte order mark
        self.wide: list[tuple[str, str]] = []  # sources that look like UTF-16, and which of the two
        self.odd: Counter[str] = Counter()  # "crlf", "cr", "mark", "replacement", "control", "nul"
        self._bytes = level == "byte"
        self._pairs = level == "bpe"
        self._normalize = normalize
        self._cut = cut

    def decoded(self, source: Source) -> Iterator[str]:
        """The text of `source` in chunks."""
        return self._counted(self._latin(source) if self._bytes else self._utf8(source))

    def recut(self, texts: Iterator[str]) -> Iterator[str]:
        """The same in its normal form, cut where that changes nothing for what comes later."""
        if self._normalize != "none":
            texts = _recut(texts, normalizing.last_cut)
            texts = (normalizing.normalized(text, self._normalize) for text in texts)
        if self._cut is None:
            return texts
        return _recut(texts, self._cut, last_pair_cut if self._pairs else None)

    def _latin(self, source: Source) -> Iterator[str]:
        for chunk in self._chunks(source):
            yield chunk.decode("latin-1")

    def _utf8(self, source: Source) -> Iterator[str]:
        rest = b""
        lines = source.lines
        begun = source.begin > 0
        for chunk in self._chunks(source):
            data = rest + chunk if rest else chunk
            if not begun and (wide := encodings.wide(chunk)):
                self.wide.append((source.name, wide))
            begun = True
            try:
                text, rest = data.decode("utf-8"), b""
            except UnicodeDecodeError as error:
                # At most three bytes of a character can be waiting for the next chunk.
                if error.reason != "unexpected end of data" or error.end < len(data):
                    raise _not_utf8(source, data, error.start, lines) from error
                text, rest = data[: error.start].decode("utf-8"), data[error.start :]
            lines += text.count("\n")
            if text:
                yield text
        if rest:
            raise _not_utf8(source, rest, 0, lines)

    def _chunks(self, source: Source) -> Iterator[bytes]:
        """The bytes of a source, without a byte order mark where it begins with one."""
        if source.begin:
            return source.chunks()
        return without_mark(source.chunks(), lambda: self.marks.append(source.name))

    def _counted(self, texts: Iterator[str]) -> Iterator[str]:
        ended_in_return = False
        for text in texts:
            crlf = text.count("\r\n") if "\r" in text else 0
            crlf += ended_in_return and text.startswith("\n")
            ended_in_return = text.endswith("\r")
            self.odd["crlf"] += crlf
            self.odd["cr"] += text.count("\r") - crlf
            if not self._bytes:
                self.odd["mark"] += text.count(BYTE_ORDER_MARK)
                self.odd["replacement"] += text.count(REPLACEMENT)
                data = text.encode("ascii", "replace")
                self.odd["control"] += len(data) - len(data.translate(None, CONTROLS))
                self.odd["nul"] += data.count(0)
            yield text


def _recut(
    texts: Iterator[str],
    cut: Callable[[str], int],
    whole_cut: Callable[[str], int] | None = None,
) -> Iterator[str]:
    """The same text in chunks that end where `cut` says, and at the end.

    `cut` sees any part of the text. Where it finds no place for long, `whole_cut` sees all since
    the last one.
    """
    held: list[str] = []
    for text in texts:
        at = cut(text)
        if at:
            yield "".join([*held, text[:at]])
            held = []
        held.append(text[at:])
        if sum(map(len, held)) > HELD_AT_MOST and whole_cut is not None:
            text = "".join(held)
            at = whole_cut(text)
            yield text[:at]
            held = [text[at:]]
        if sum(map(len, held)) > HELD_AT_MOST:
            raise DataError(
                f"the text has more than {HELD_AT_MOST:,} characters on end with no newline and no"
                " space between words; use --level char or --level byte, without --normalize."
            )
    if rest := "".join(held):
        yield rest


def _not_utf8(source: Source, data: bytes, at: int, lines: int) -> DataError:
    offset = source.size_bytes - len(data) + at
    line = lines + data.count(b"\n", 0, at) + 1
    return DataError(
        f"{source.name} is not UTF-8 (byte 0x{data[at]:02X} at offset {offset}, line {line})."
        f" {encodings.remedy(data, at, beginning=offset == at)}"
        " Or have it read as bytes: charlm prep --level byte."
    )
