"""The files and streams that a command reads and writes."""

import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from charlm.cli.bars import say_waiting
from charlm.directories import CORPUS_NAME, LAST_NAME, LOG_NAME, MODEL_NAME, SEEDS_NAME
from charlm.errors import DataError

STREAM = Path("-")  # stdin, or stdout
# A directory with one of the first is a run or a corpus, and all of these are its parts.
MARKERS = (MODEL_NAME, LAST_NAME, LOG_NAME, SEEDS_NAME, CORPUS_NAME)
PARTS = (
    *MARKERS, "tokenizer.json", "train.bin", "val.bin", "test.bin",
    "train.txt", "train.suffixes", "train.places",
)  # fmt: skip


def check_output(path: Path, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Raises DataError, before any work is done, where `path` cannot be written or must not be.

    A device, a FIFO or an open descriptor is written to as it is, and a file only replaced with
    `force`, and not where it is one of `inputs` or a part of a run or of a corpus.
    """
    from charlm import atomic

    if path == STREAM or atomic.is_stream(path):
        check_stdout(inputs)
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file; -o names the file to write.")
    for one in inputs:
        if path.exists() and one.exists() and path.samefile(one):
            raise DataError(f"{path} is read, and can't be written too; choose another name.")
    target = Path(os.path.realpath(path))
    if target.name in PARTS and any((target.parent / marker).exists() for marker in MARKERS):
        raise DataError(f"{path} is a part of {path.parent}; choose another name.")
    if path.exists() and not force:
        raise DataError(f"{path} exists already; choose another name, or replace it with --force.")
    if not target.parent.is_dir():
        raise DataError(f"{path.parent} is not a directory; make it, or choose another name.")
    try:
        tempfile.TemporaryFile(dir=target.parent).close()  # modes alone do not say it
    except OSError as error:
        error.filename = str(path)
        raise


def check_stdout(inputs: Sequence[Path]) -> None:
    """Raises DataError where stdout goes to a file that is one of `inputs`, - being stdin.

    A command would read what it has just written, without an end, or spoil what it has read.
    """
    try:
        out = os.fstat(sys.stdout.fileno())
    except io.UnsupportedOperation:
        return  # a program's own stream
    for one in inputs:
        with suppress(OSError, io.UnsupportedOperation):
            found = os.fstat(sys.stdin.fileno()) if one == STREAM else one.stat()
            if stat.S_ISREG(out.st_mode) and os.path.samestat(found, out):
                name = "stdin" if one == STREAM else one
                raise DataError(f"{name} is the file that stdout goes to; write to another one.")


def size_bytes(paths: Sequence[Path]) -> int | None:
    """The bytes of text in all files together; None where that is not known beforehand."""
    if paths and all(path.is_file() and path.suffix != ".gz" for path in paths):
        return sum(path.stat().st_size for path in paths)
    return None


@contextmanager
def source(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, or of stdin for -."""
    from charlm.failures import named

    if path == STREAM:
        say_waiting()
        yield sys.stdin.buffer
        return
    with named(str(path)), path.open("rb") as stream:
        yield stream


def text_of(path: Path, errors: str, remedy: str) -> str:
    """The text of a file, or of stdin for -, without a byte order mark.

    `errors` is that of `bytes.decode`. Raises DataError, which ends with `remedy`, for what is not
    UTF-8.
    """
    with source(path) as stream:
        data = stream.read()
    try:
        return data.decode("utf-8", errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        name = "stdin" if path == STREAM else path
        raise DataError(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02X} at offset {error.start})."
            f" {remedy}"
        ) from error


@contextmanager
def sink(path: Path) -> Iterator[BinaryIO]:
    """What takes the result: stdout for -, else a file that is there whole at the end or not.

    When the block ends all is written, so that its size is known.
    """
    from charlm import atomic

    if path == STREAM:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with atomic.whole_file(path) as temporary, temporary.open("wb") as stream:
        yield stream
