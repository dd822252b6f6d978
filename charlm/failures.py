"""What went wrong, in one line, where it is nothing that a traceback would help to put right."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from charlm.errors import CharlmError

MEMORY = (
    "memory ran out. Free some, raise the limit (ulimit -v) if there is one, or give it less to"
    " hold at once."
)
# In the words of torch, of the dynamic loader and of Python's threads.
LACKS = ("can't allocate", "Cannot allocate memory", "failed to map segment", "start new thread")


def line(error: BaseException) -> str | None:
    """The line that says what went wrong; None for a bug, of which the traceback says more."""
    if isinstance(error, CharlmError):
        return error.typed or str(error)
    if _lacks_memory(error):
        return MEMORY
    if isinstance(error, ImportError):
        return _of_import(error)
    if isinstance(error, OSError):
        return of_system(error)
    return None


@contextmanager
def named(name: str) -> Iterator[None]:
    """Gives an OSError of the block that names no file this name, as a read does not know it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = name
        raise


def _lacks_memory(error: BaseException) -> bool:
    """Whether it comes of a lack of memory, which some packages tell in words of their own."""
    for one in _causes(error):
        if isinstance(one, MemoryError) or getattr(one, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(one, ImportError | OSError | RuntimeError) and any(
            words in str(one) for words in LACKS
        ):
            return True
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and, where an import has failed, what that failed of, the last first."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__ if isinstance(one, ImportError) else None


def _of_import(error: ImportError) -> str | None:
    """The line for a package that is not there, or cannot be loaded."""
    *_, first = (one for one in _causes(error) if isinstance(one, ImportError))
    name = (first.name or "").partition(".")[0]
    if name == "charlm":
        return None
    if isinstance(first, ModuleNotFoundError):
        if name in sys.stdlib_module_names:
            return f"this Python was built without {name}, which charlm needs; use another one."
        return f"{name} is not installed, and this needs it: pip install {name}"
    what = name or "a package"
    return f"{what} can't be loaded ({str(first).strip().partition(chr(10))[0]}); install it again."


def of_system(error: OSError) -> str:
    """The line for what the system has refused."""
    why = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {why}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{why.lower()}; raise the limit (ulimit -n)."
    if error.errno == errno.ENOENT and not _has_directory():
        return "the working directory is not there any more; go to another one (cd)."
    return why


def _has_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
