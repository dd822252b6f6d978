"""Where the work on a corpus lies until it is done, so that it can go on after it was stopped."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm import atomic
from charlm.amounts import size_words
from charlm.errors import CharlmError, DataError
from charlm.signals import undone


def place(out: Path) -> Path:
    """The directory for the work on the corpus `out`, beside it, and not beside a link to it."""
    out = Path(os.path.realpath(out))  # "." has no name
    return out.parent / f".{out.name}.prep"


@contextmanager
def workplace(folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Yields `folder`, which is made if need be, and kept from other processes.

    It is removed when the work is done and when it cannot be; when it was stopped, or the disk was
    full, what is done stays. Raises DataError where another process is at work there.
    """
    taken = DataError(
        f"another process is making this corpus, in {folder}; wait for it, or choose another name."
    )
    with atomic.locked(folder, taken), undone(lambda: _remove_unless_begun(folder)):
        _tidy(folder)
        try:
            yield folder
        except CharlmError as error:
            if not atomic.was_full(error.__cause__) or not _left(folder, say):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except (KeyboardInterrupt, OSError):
            _left(folder, say)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_begun(folder: Path) -> None:
    """Removes a folder in which there is nothing to go on from."""
    if not _begun(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _begun(folder: Path) -> bool:
    return any(folder.glob("*.json"))


def _left(folder: Path, say: Callable[[str], None]) -> bool:
    """Whether there is something to go on from; says where it lies."""
    found = _begun(folder)
    if found:
        size_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        say(
            f"stopped; the same command goes on from what is done, {size_words(size_bytes)} in"
            f" {folder}, which can be removed"
        )
    return found


def _tidy(folder: Path) -> None:
    """Removes what a process that was killed had not finished."""
    for path in folder.iterdir():
        if path.suffix in (".growing", ".source"):
            path.unlink(missing_ok=True)
        elif path.suffix == ".tmp":
            shutil.rmtree(path, ignore_errors=True)
