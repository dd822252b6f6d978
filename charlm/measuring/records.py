"""The records of files or of stdin, as they arrive: lines, or what blank lines or NULs end.

What is there is handed over at once and in one piece, so that many records can be read side by side
where the input is ahead, and each is answered as it comes where it is not. Nothing in the input
ends the stream: bytes that are not UTF-8 come as lone surrogates, from which "surrogateescape"
makes the same bytes again, and a record that is too long comes in parts. A byte order mark at the
beginning of a file is no text.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from charlm.errors import DataError
from charlm.preparation.sources import opened, without_mark

CHUNK_BYTES = 1 << 18
LONGEST_BYTES = 1 << 24  # of a part, which is in memory whole, with eight bytes for each symbol


@dataclass(frozen=True, slots=True)
class Record:
    r"""A record's text, and what ended it: "\n", "\r\n", "\0", "\n\n" and the like, or "".

    The latter is the end of the file, or, where it `goes_on`, of a part of a longer record.
    `number` counts the records of `file` from 1, with empty ones where they are lines.
    """

    text: str
    end: str
    file: str
    number: int
    goes_on: bool = False


@dataclass(frozen=True)
class Form:
    """How bytes are records.

    They end with a NUL if `null`, else `kind` says what ends them: "line", "blank" (lines), or
    "file". `errors` is that of `bytes.decode`. With `crlf` a carriage return before a newline that
    ends a record is part of the end, and not of the text.
    """

    null: bool = False
    errors: str = "surrogateescape"
    crlf: bool = False
    kind: str = "line"


def read(files: Sequence[Path], form: Form) -> Iterator[list[Record]]:
    """The records of the files, one after another, in the pieces in which they arrive.

    Without files, and for `-`, it reads stdin. Never waits for input with a whole record in hand.
    The end of a file ends its last record, and a gzip file is read as what is inside. Where `form`
    has strict errors it raises DataError for what is not UTF-8, after the records before it.
    """
    for file in files or [Path("-")]:
        if file.is_dir():
            raise DataError(f"{file} is a directory; name the files in it.")
        with opened(file) as (stream, name):
            yield from read_stream(stream, name, form)


def of_bytes(data: bytes, name: str, form: Form) -> Iterator[Record]:
    """The records in those bytes."""
    for records in read_stream(io.BytesIO(data), name, form):
        yield from records


def read_stream(stream: BinaryIO, name: str, form: Form) -> Iterator[list[Record]]:
    """The records of one stream, in the pieces in which they arrive."""
    cutter = _Cutter(name, form)
    pieces = (cutter.records(ended, end) for ended, end in _ended(stream, name, form))
    found = (records for piece in pieces for records in piece)
    if form.null or form.kind == "line":
        yield from found
    else:
        yield from _joined(found, blank=form.kind == "blank")


def _ended(stream: BinaryIO, name: str, form: Form) -> Iterator[tuple[list[bytes], bytes | None]]:
    """What ends with a newline or a NUL, and that end; None after a part of what is too long."""
    end = b"\0" if form.null else b"\n"
    held: list[bytes] = []  # the beginning of a record, in pieces
    held_bytes = 0
    for data in without_mark(iter(lambda: _arrived(stream, name), b"")):
        first, *others = data.split(end)
        held.append(first)
        if others:
            *whole, last = b"".join(held), *others
            held, held_bytes = [last], 0
            yield whole, end
        held_bytes += len(held[-1])
        while held_bytes > LONGEST_BYTES:
            rest = b"".join(held)
            at = _character(rest, LONGEST_BYTES)
            yield [rest[:at]], None
            held, held_bytes = [rest[at:]], held_bytes - at
    if rest := b"".join(held):
        yield [rest], b""


def _character(data: bytes, at: int) -> int:
    """The last place up to `at` where a character of UTF-8 begins, if one is near."""
    return next((k for k in range(at, at - 4, -1) if data[k] & 0xC0 != 0x80), at)


def _arrived(stream: BinaryIO, name: str) -> bytes:
    """What there is to read, or what comes next; b"" at the end."""
    try:
        return stream.read1(CHUNK_BYTES)
    except OSError as error:
        error.filename = name  # a stream does not know it
        raise


def _joined(lines: Iterable[list[Record]], *, blank: bool) -> Iterator[list[Record]]:
    """Lines joined to records, up to a blank line or to the end; a further blank line is an empty
    record."""
    held: list[str] = []
    size = number = 0
    last = None
    for piece in lines:
        found = []
        for line in piece:
            last = line
            if not held and not number:
                number = 1
            if blank and line.text in ("", "\r") and line.end and not line.goes_on:
                end = line.text + line.end
                if held:
                    text, before = _without_end("".join(held))
                    found.append(Record(text, before + end, line.file, number))
                    number, held, size = number + 1, [], 0
                else:
                    found.append(Record("", end, line.file, number))
                continue
            held.append(line.text + line.end)
            size += len(held[-1])
            if size > LONGEST_BYTES:
                found.append(Record("".join(held), "", line.file, number, goes_on=True))
                held, size = [], 0
        if found:
            yield found
    if held and last is not None:
        text, end = _without_end("".join(held)) if blank else ("".join(held), "")
        yield [Record(text, end, last.file, number)]


def _without_end(text: str) -> tuple[str, str]:
    body = text.removesuffix("\n")
    body = body.removesuffix("\r") if body != text else body
    return body, text[len(body) :]


class _Cutter:
    """Makes records of one file's bytes, and knows how far it is."""

    def __init__(self, name: str, form: Form) -> None:
        self._name = name
        self._form = form
        self._crlf = form.crlf and form.kind == "line"
        self._number = 0
        self._offset = 0

    def records(self, whole: list[bytes], end: bytes | None) -> Iterator[list[Record]]:
        """The records with those bytes, in one piece; up to a wrong one, and its error then."""
        found: list[Record] = []
        for data in whole:
            try:
                found.append(self._record(data, end))
            except UnicodeDecodeError as error:
                yield found
                raise self._complaint(data, error.start) from error
            self._number += end is not None
            self._offset += len(data) + len(end or b"")
        yield found

    def _record(self, data: bytes, end: bytes | None) -> Record:
        text, ended = data.decode("utf-8", self._form.errors), (end or b"").decode()
        if self._crlf and ended == "\n" and text.endswith("\r"):
            text, ended = text[:-1], "\r\n"
        return Record(text, ended, self._name, self._number + 1, end is None)

    def _complaint(self, data: bytes, start: int) -> DataError:
        what = "record" if self._form.null else "line"
        return DataError(
            f"{self._name} is not UTF-8 ({what} {self._number + 1:,}: byte 0x{data[start]:02X} at"
            f" offset {self._offset + start}). Re-save it as UTF-8, or use a model of bytes."
        )
