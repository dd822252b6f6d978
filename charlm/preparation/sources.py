"""Where text comes from: files, gzip files and stdin, read once and in pieces."""

import gzip
import hashlib
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from charlm.errors import DataError

CHUNK = 1 << 19  # bytes read at a time: big enough for numpy, small enough for the cache
GZIP_MAGIC = b"\x1f\x8b"


class Source:
    """One text to read; `Path("-")` is stdin. A gzip file is read as the text inside it.

    `size_bytes` and `sha256` are those of the bytes handed out so far.
    """

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        self.path = path
        self.name = "stdin" if str(path) == "-" else str(path)
        self.size_bytes = 0
        self._advance = advance
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has been read, in hex."""
        return self._hash.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a chunk at a time. Raises DataError for a directory or a damaged gzip."""
        try:
            with self._open() as file:
                while chunk := file.read(CHUNK):
                    self.size_bytes += len(chunk)
                    self._hash.update(chunk)
                    yield chunk
                    self._advance(len(chunk))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.name} is a damaged or cut-off gzip file ({error}). Get it again."
            ) from error

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self.path.is_dir():
            raise DataError(f"{self.name} is a directory; name the files in it.")
        stdin = self.name == "stdin"
        with nullcontext(sys.stdin.buffer) if stdin else self.path.open("rb") as file:
            if self.path.suffix == ".gz" or file.peek(2)[:2] == GZIP_MAGIC:
                with gzip.GzipFile(fileobj=file) as inner:
                    yield inner
            else:
                yield file
