"""The records of files or of stdin, as they arrive: lines, or what ends with a NUL.

What is there is handed over at once and in one piece, so that many records can be read side by side
where the input is ahead, and each is answered as it comes where it is not.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from charlm.errors import DataError
from charlm.preparation.sources import named, unzipped

CHUNK_BYTES = 1 << 18
LONGEST_BYTES = 1 << 24  # of a record, which is in memory whole, with eight bytes for each symbol


@dataclass(frozen=True, slots=True)
class Record:
    r"""A record's text, and what ended it: "\n", "\r\n", "\0", or "" for the end of the file.

    `number` counts the records of `file` from 1.
    """

    text: str
    end: str
    file: str
    number: int


@dataclass(frozen=True)
class Form:
    """How bytes are records. They end with a NUL if `null`, else with a newline.

    `errors` is that of `bytes.decode`. With `crlf` a carriage return before a newline is part of
    the end, and not of the text.
    """

    null: bool = False
    errors: str = "strict"
    crlf: bool = False


def read(files: Sequence[Path], form: Form) -> Iterator[list[Record]]:
    """The records of the files, one after another, in the pieces in which they arrive.

    Without files, and for `-`, it reads stdin. Never waits for input with a whole record in hand.
    The end of a file ends its last record, and a gzip file is read as what is inside. Raises
    DataError for what is not UTF-8, after the records before it.
    """
    for file in files or [Path("-")]:
        if str(file) == "-":
            yield from _read(sys.stdin.buffer, "stdin", form)
        else:
            with named(str(file)), file.open("rb") as whole, unzipped(whole, str(file)) as stream:
                yield from _read(stream, str(file), form)


def _read(stream: BinaryIO, name: str, form: Form) -> Iterator[list[Record]]:
    end = b"\0" if form.null else b"\n"
    cutter = _Cutter(name, form)
    held: list[bytes] = []  # the beginning of a record, in pieces
    held_bytes = 0
    while data := _arrived(stream, name):
        first, *others = data.split(end)
        held.append(first)
        if others:
            *whole, last = b"".join(held), *others
            held, held_bytes = [last], 0
            yield from cutter.records(whole, end)
        held_bytes += len(held[-1])
        if held_bytes > LONGEST_BYTES:
            raise cutter.too_long()
    if rest := b"".join(held):
        yield from cutter.records([rest], b"")


def _arrived(stream: BinaryIO, name: str) -> bytes:
    """What there is to read, or what comes next; b"" at the end."""
    try:
        return stream.read1(CHUNK_BYTES)
    except OSError as error:
        error.filename = name  # a stream does not know it
        raise


class _Cutter:
    """Makes records of one file's bytes, and knows how far it is."""

    def __init__(self, name: str, form: Form) -> None:
        self._name = name
        self._form = form
        self._number = 0
        self._offset = 0

    def records(self, whole: list[bytes], end: bytes) -> Iterator[list[Record]]:
        """The records with those bytes, in one piece; up to a wrong one, and its error then."""
        found: list[Record] = []
        for data in whole:
            try:
                found.append(self._record(data, end))
            except UnicodeDecodeError as error:
                yield found
                raise self._complaint(data, error.start) from error
            self._number += 1
            self._offset += len(data) + len(end)
        yield found

    def too_long(self) -> DataError:
        """The error for a next record that does not end."""
        what = "record" if self._form.null else "line"
        return DataError(
            f"{self._name}: {what} {self._number + 1:,} is longer than {LONGEST_BYTES:,} bytes."
            " Break it into several; `charlm eval` reads a text of any length as a whole."
        )

    def _record(self, data: bytes, end: bytes) -> Record:
        text, ended = data.decode("utf-8", self._form.errors), end.decode()
        if self._form.crlf and ended == "\n" and text.endswith("\r"):
            text, ended = text[:-1], "\r\n"
        return Record(text, ended, self._name, self._number + 1)

    def _complaint(self, data: bytes, start: int) -> DataError:
        what = "record" if self._form.null else "line"
        return DataError(
            f"{self._name} is not UTF-8 ({what} {self._number + 1:,}: byte 0x{data[start]:02X} at"
            f" offset {self._offset + start}). Re-save it as UTF-8, or use a model of bytes."
        )
