"""The process's own streams: all bytes come in and go out, and a message never ends the work.

stdin waits where a non-blocking descriptor has nothing yet, stdout writes every byte or raises, and
stderr drops what cannot be written. So it is whatever the descriptors are and whatever
PYTHONUNBUFFERED says: Python's own streams then take a short write for a whole one.
"""

import contextlib
import io
import os
import select
import sys
from typing import IO, Any, BinaryIO

STDIN, STDOUT = "stdin", "stdout"  # the file names of their errors
BUFFER_BYTES = 1 << 16  # what a pipe holds


class _Waiting(io.FileIO):
    """An open descriptor whose reads and writes wait as if it were a blocking one.

    It is not closed with the object. Errors have `name` as their file name. A terminal's end of
    input is the end for good, as a reader may ask again.
    """

    def __init__(self, descriptor: int, mode: str, name: str) -> None:
        super().__init__(descriptor, mode, closefd=False)
        self._named = name
        self._ended = False

    def readinto(self, buffer: Any) -> int:
        """The bytes read into `buffer`, which are none only at the end."""
        if self._ended:
            return 0
        with self._errors_named():
            while (size := super().readinto(buffer)) is None:
                select.select([self], [], [])
        self._ended = size == 0 and self.isatty()
        return size

    def readall(self) -> bytes:
        """All bytes to the end."""
        parts = []
        while part := self.read(BUFFER_BYTES):
            parts.append(part)
        return b"".join(parts)

    read = io.RawIOBase.read  # by `readinto`

    def write(self, data: Any) -> int:
        """How many bytes were written, one at least; a BufferedWriter goes on with the rest."""
        with self._errors_named():
            while (size := super().write(data)) is None:
                select.select([], [self], [])
        return size

    @contextlib.contextmanager
    def _errors_named(self) -> Any:
        try:
            yield
        except OSError as error:
            error.filename = self._named
            raise


class _Dropping(_Waiting):
    """A descriptor for messages: what cannot be written counts as written."""

    def write(self, data: Any) -> int:
        """How many bytes are done with."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare() -> None:
    """Makes sys.stdin, stdout and stderr such streams of UTF-8, with newlines as they are.

    A descriptor that the caller has closed is there again, so that no file gets its number: without
    anything to read, refusing what is written (stdout) or losing it (stderr). What a program has
    put in the place of a stream stays there.
    """
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, flags), descriptor)  # `open` takes the lowest free one
            os.set_inheritable(descriptor, True)
    if _is_ours(sys.stdin, 0):
        reader = io.BufferedReader(_Waiting(0, "rb", STDIN), BUFFER_BYTES)
        sys.stdin = io.TextIOWrapper(reader, encoding="utf-8", errors="surrogateescape")
    if _is_ours(sys.stdout, 1):
        sys.stdout = _text(writer(1, STDOUT), "surrogateescape")
    # The bytes of a model of bytes go out as they are, but to a terminal.
    if sys.stdout.isatty():
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    if _is_ours(sys.stderr, 2):
        messages = io.BufferedWriter(_Dropping(2, "wb", "stderr"))
        sys.stderr = _text(messages, "backslashreplace", line_buffering=True)


def writer(descriptor: int, name: str) -> BinaryIO:
    """What writes all bytes it is given to an open descriptor, or raises an OSError with `name`."""
    return io.BufferedWriter(_Waiting(descriptor, "wb", name), BUFFER_BYTES)


def finish() -> None:
    """Writes what stdout still holds. Raises OSError where it is not all written."""
    sys.stdout.flush()
    try:
        # Some network file systems tell of a full disk only when a file is closed.
        os.close(os.dup(sys.stdout.fileno()))
    except io.UnsupportedOperation:
        pass  # a program's own stream
    except OSError as error:
        error.filename = STDOUT
        raise


def give_up_stdout() -> None:
    """Loses what is still held for stdout, on which the exit would fail again."""
    with contextlib.suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_ours(stream: IO[str] | None, descriptor: int) -> bool:
    """Whether the stream is Python's own for that descriptor, or was closed by the caller."""
    if stream is None:
        return True
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):
        return False


def _text(binary: BinaryIO, errors: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        binary, encoding="utf-8", errors=errors, newline="\n", line_buffering=line_buffering
    )
