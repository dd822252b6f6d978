"""Files and directories that are there whole or not at all.

What is written goes to a temporary name beside its target, is fsynced, then renamed, so a crash,
a full disk or a second reader never meets half a file.
"""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm import streams
from charlm.errors import CharlmError, DataError
from charlm.signals import undone

LINKS = 40  # in a row, as many as the kernel follows
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what stands there when the block ends becomes `path`.

    A link is followed, and a file that is replaced keeps its mode and its owner. What is a stream
    gets the bytes when all of them are there.
    """
    if is_stream(path):
        with temporary_directory("charlm-") as folder:
            temporary = folder / path.name
            yield temporary
            _copy(temporary, path)
        return
    target = Path(os.path.realpath(path))
    temporary = _beside(target, target.parent)
    with _removed(temporary), room_for(path):
        try:
            temporary.touch(0o600, exist_ok=False)
        except OSError as error:
            error.filename = str(path)  # which was asked for
            raise
        yield temporary
        _like(temporary, target, new=0o666)
        _fsync(temporary)
        temporary.replace(target)
        _fsync(target.parent)


def is_stream(path: Path) -> bool:
    """Whether `path` is to be written to as it is: a device, FIFO, socket or open descriptor."""
    other = path.exists() and not path.is_file() and not path.is_dir()
    return other or _descriptor(path) is not None


def _copy(temporary: Path, path: Path) -> None:
    """Writes the bytes of a file to the stream `path`."""
    own = _descriptor(path)
    handle = os.open(path, os.O_WRONLY | os.O_NOCTTY) if own is None else os.dup(own)
    try:
        with temporary.open("rb") as source, streams.writer(handle, str(path)) as writer:
            shutil.copyfileobj(source, writer)
    finally:
        os.close(handle)


def _descriptor(path: Path) -> int | None:
    """The open descriptor of this process that `path` stands for, as /dev/stdout does for 1."""
    descriptors = ("/dev/fd", os.path.realpath("/dev/fd"))
    for _ in range(LINKS):
        folder = os.path.realpath(path.parent)
        if folder in descriptors and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, path.readlink())
    return None


@contextmanager
def whole_directory(
    path: Path, *, marker: str, force: bool, within: Path | None = None
) -> Iterator[Path]:
    """Yields a temporary directory; what it holds when the block ends becomes `path`.

    It lies beside `path` or, on the same disk, `within` another directory. A link is followed.
    An existing directory is replaced only with `force`, and only when it holds `marker`, the file
    that shows charlm made it. Raises DataError before anything is written.
    """
    path = Path(os.path.realpath(path))  # "." has no parent to write beside
    refuse_existing(path, markers=(marker,), force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, path.parent if within is None else within)
    with _removed(temporary), room_for(path):
        temporary.mkdir(0o700)
        yield temporary
        _like(temporary, path, new=0o777)
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


def refuse_existing(
    path: Path, *, markers: tuple[str, ...], force: bool, inputs: Sequence[Path] = ()
) -> None:
    """Raises DataError unless `path` is free, empty, or ours (by a marker) to replace by force.

    It is not ours to replace where one of `inputs` lies in it.
    """
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
    for one in inputs:
        if one.exists() and one.resolve().is_relative_to(path.resolve()):
            raise DataError(f"{one} is read, and lies in {path}; choose another name for -o.")


@contextmanager
def locked(folder: Path, taken: CharlmError) -> Iterator[None]:
    """Keeps other processes out of `folder`, which is made; raises `taken` where one is there."""
    folder = Path(os.path.realpath(folder))  # a link to what is not there yet, too
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


def _like(temporary: Path, path: Path, *, new: int) -> None:
    """Gives `temporary` the mode and owner of `path`, or the mode `new` where that is not there.

    What mkstemp and mkdtemp make is private.
    """
    try:
        before = path.stat()
    except FileNotFoundError:
        temporary.chmod(new & ~_umask())
        return
    with suppress(OSError):  # only root can give a file away
        os.chown(temporary, before.st_uid, before.st_gid)
    temporary.chmod(stat.S_IMODE(before.st_mode))


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
