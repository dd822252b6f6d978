"""Files and directories that are there whole or not at all.

What is written goes to a temporary name beside its target, is fsynced, then renamed, so a crash,
a full disk or a second reader never meets half a file.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import CharlmError, DataError
from charlm.signals import undone

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what stands there when the block ends becomes `path`."""
    temporary = _beside(path, path.parent)
    with _removed(temporary), room_for(path):
        try:
            temporary.touch(0o600, exist_ok=False)
        except OSError as error:
            error.filename = str(path)  # which was asked for
            raise
        yield temporary
        # It was private; a result gets the permissions any new file would have.
        temporary.chmod(0o666 & ~_umask())
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)


@contextmanager
def whole_directory(
    path: Path, *, marker: str, force: bool, within: Path | None = None
) -> Iterator[Path]:
    """Yields a temporary directory; what it holds when the block ends becomes `path`.

    It lies beside `path` or, on the same disk, `within` another directory.
    An existing directory is replaced only with `force`, and only when it holds `marker`, the file
    that shows charlm made it. Raises DataError before anything is written.
    """
    path = path.absolute()  # "." has no parent to write beside
    refuse_existing(path, markers=(marker,), force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, path.parent if within is None else within)
    with _removed(temporary), room_for(path):
        temporary.mkdir(0o700)
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for file in temporary.iterdir():
            _fsync(file)
        _fsync(temporary)
        _swap(temporary, path)
        _fsync(path.parent)


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yields a directory in the system's place for such, which is removed with all that it holds.

    Raises DataError where there is no such place.
    """
    try:
        place = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise DataError(f"{error.strerror}. Name one in TMPDIR.") from error
    temporary = place / f"{prefix}{os.urandom(4).hex()}"
    with _removed(temporary):
        temporary.mkdir(0o700)
        yield temporary


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Raises DataError, which names `path`, where the disk is full before the block ends."""
    try:
        yield
    except OSError as error:
        if not was_full(error):
            raise
        raise DataError(
            f"{path} could not be written ({os.strerror(error.errno)}); what was there before is as"
            " it was. Make room, or choose another place."
        ) from error


def was_full(error: BaseException | None) -> bool:
    """Whether the error is that of a disk without room."""
    return isinstance(error, OSError) and error.errno in FULL


def clear_away(directory: Path, names: tuple[str, ...]) -> None:
    """Removes what a writer that was killed left in `directory` of files of these names."""
    for name in names:
        for temporary in directory.glob(f".{name}.*.tmp"):
            temporary.unlink(missing_ok=True)


def refuse_existing(path: Path, *, markers: tuple[str, ...], force: bool) -> None:
    """Raises DataError unless `path` is free, empty, or ours (by a marker) to replace by force."""
    if not path.exists():
        return
    if not path.is_dir():
        raise DataError(f"{path} is a file; -o names a directory to make.")
    # What was begun and stopped has left its work under such names, to go on with.
    if all(entry.name[0] == "." and entry.suffix in (".prep", ".tmp") for entry in path.iterdir()):
        return
    if not any((path / marker).exists() for marker in markers):
        raise DataError(f"{path} is not empty and charlm did not make it; choose another name.")
    if not force:
        raise DataError(f"{path} exists already; choose another name, or replace it with --force.")


@contextmanager
def locked(folder: Path, taken: CharlmError) -> Iterator[None]:
    """Keeps other processes out of `folder`, which is made; raises `taken` where one is there."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        except OSError:
            pass  # a file system that has no locks
        yield
    finally:
        os.close(handle)


def _beside(path: Path, folder: Path) -> Path:
    """A name in `folder` that nothing has yet, by which one sees that `path` is being written."""
    return folder / f".{path.name}.{os.urandom(4).hex()}.tmp"


@contextmanager
def _removed(temporary: Path) -> Iterator[None]:
    """Removes what stands there when the block ends, also where a signal ends the process."""

    def remove() -> None:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink()

    with undone(remove):
        yield


def _swap(new: Path, path: Path) -> None:
    """Puts the directory `new` in the place of `path`; where that fails, the old one stays."""
    if not path.exists() or not any(path.iterdir()):
        new.replace(path)  # an empty directory gives way by itself
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.replace(old / path.name)
    try:
        new.replace(path)
    except BaseException:
        (old / path.name).replace(path)
        old.rmdir()
        raise
    shutil.rmtree(old)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
