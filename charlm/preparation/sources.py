"""Where text comes from: files, gzip files and stdin, read once and in pieces."""

import codecs
import errno
import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from charlm.errors import DataError
from charlm.failures import named

CHUNK = 1 << 19  # bytes read at a time: big enough for numpy, small enough for the cache
GZIP_MAGIC = b"\x1f\x8b"


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The `paths`, with the files of a directory in its place, in the order of their names.

    Those in its folders are among them, and what is hidden is not. Raises DataError for a directory
    that has no file or is a corpus.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        if (path / "corpus.json").exists():
            raise DataError(f"{path} is a corpus already; prepare the texts that it was made of.")
        inside = [one for one in sorted(path.rglob("*")) if one.is_file()]
        inside = [one for one in inside if not _hidden(one.relative_to(path))]
        if not inside:
            raise DataError(f"{path} is a directory without a file; name the texts.")
        found += inside
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def listed(data: bytes) -> list[Path]:
    """The files that a list names: one a line, or one before each NUL where there is any."""
    names = data.removeprefix(codecs.BOM_UTF8).split(b"\0" if b"\0" in data else b"\n")
    return [Path(os.fsdecode(name)) for name in names if name]


class Source:
    """One text to read; `Path("-")` is stdin. A gzip file is read as the text inside it.

    `size_bytes` and `sha256` are those of the bytes handed out so far. `begin` is where it begins
    and `lines` how many lines are before, `last` whether it goes on to the end: a source does, a
    Stretch need not. `plain` says, from the first chunk on, whether the bytes are those of a file.
    """

    begin = lines = 0
    last = True

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self.path = path
        self.name = "stdin" if str(path) == "-" else str(path)
        self.size_bytes = 0
        self.plain = False
        self._advance = advance
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has been read, in hex."""
        return self._hash.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a chunk at a time. Raises DataError for a directory or a damaged gzip."""
        if self.path.is_dir():
            raise DataError(f"{self.name} is a directory; name the files in it.")
        with opened(self.path) as (inner, _):
            whole = str(self.path) != "-" and self.path.is_file()
            self.plain = whole and not isinstance(inner, gzip.GzipFile)
            while chunk := inner.read(CHUNK):
                self.size_bytes += len(chunk)
                self._hash.update(chunk)
                yield chunk
                self._advance(len(chunk))


def check(paths: Iterable[Path]) -> None:
    """Raises OSError for the first path that is not there or must not be read.

    Nothing is opened: a FIFO would wait for its writer. `Path("-")` is stdin.
    """
    for path in paths:
        if str(path) == "-":
            continue
        path.stat()
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """The bytes of a file, or of stdin for `Path("-")`, and its name for messages.

    A gzip file is read as the text inside it.
    """
    stdin = str(path) == "-"
    name = "stdin" if stdin else str(path)
    with (
        named(name),
        nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as file,
        _unzipped(file, name) as inner,
    ):
        yield inner, name


@contextmanager
def _unzipped(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """`file`, or what is inside where that is gzip, by its `name` or its first bytes.

    `file` must be one that can be peeked at. Raises DataError where the gzip is damaged.
    """
    if not name.endswith(".gz") and file.peek(2)[:2] != GZIP_MAGIC:
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=file) as inner:
            yield inner
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name} is a damaged or cut-off gzip file ({error}). Get it again."
        ) from error


def without_mark(
    chunks: Iterator[bytes], found: Callable[[], None] = lambda: None
) -> Iterator[bytes]:
    """The bytes of a text without a byte order mark at its beginning; `found` hears of one."""
    begun = b""
    for chunk in chunks:
        begun += chunk
        if len(begun) >= len(codecs.BOM_UTF8) or not codecs.BOM_UTF8.startswith(begun):
            break
    if begun.startswith(codecs.BOM_UTF8):
        found()
        begun = begun[len(codecs.BOM_UTF8) :]
    if begun:
        yield begun
    yield from chunks


class Stretch(Source):
    """The `size` bytes of a source from `begin` on, which stand in a file from `at` on.

    `name` is that of the source.
    """

    def __init__(
        self, path: str, name: str, *, at: int, begin: int, size: int, lines: int, last: bool
    ) -> None:
        super().__init__(Path(path), lambda size_bytes: None)
        self.name = name
        self.begin, self.lines, self.last = begin, lines, last
        self.size_bytes = begin
        self._at, self._size = at, size

    def chunks(self) -> Iterator[bytes]:
        """The bytes, cut where those of the whole source are.

        But a chunk that is begun comes with the next one. Raises DataError where some are missing.
        """
        end = self.begin + self._size
        if not self._size:
            return
        with self.path.open("rb") as file:
            file.seek(self._at)
            wanted = CHUNK + -self.begin % CHUNK
            while self.size_bytes < end:
                chunk = file.read(min(wanted, end - self.size_bytes))
                if not chunk:
                    raise DataError(f"{self.name} was changed while it was read.")
                self.size_bytes += len(chunk)
                yield chunk
                wanted = CHUNK
