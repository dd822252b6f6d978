"""The corpora that every Python carries: its language reference and its own source code."""

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from charlm.errors import DataError

# Not the library itself: its tests (idle_test is idlelib's), and what was installed beside it.
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def python_docs() -> Iterator[bytes]:
    """The topics of the language reference in the order of their names, a blank line after each.

    Raises DataError where this Python comes without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            f"The Python in {sysconfig.get_path('stdlib')} has no pydoc_data.topics, its language"
            " reference. Use a Python that is installed whole, or another corpus."
        ) from None
    return (topics[name].strip("\n").encode() + b"\n\n" for name in sorted(topics))


def python_source(root: Path | None = None) -> Iterator[bytes]:
    """The .py files under `root` (default: the standard library), one a chunk, in sorted order.

    Leaves out tests, installed packages and what is not UTF-8. Raises DataError where there is no
    source: some Pythons keep theirs in a zip archive, or carry it compiled only.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    paths = sorted(_source_paths(root), key=lambda path: path.relative_to(root).as_posix())
    if not paths:
        raise DataError(
            f"The Python in {root} has no source of its standard library there. Use a Python that"
            " is installed whole, or another corpus."
        )
    return (text for text in map(Path.read_bytes, paths) if _is_utf8(text))


SOURCES = {"python-docs": python_docs, "python-source": python_source}


def _source_paths(root: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(root):
        # Pruned in place: a Python may have many thousands of installed files beside its library.
        directories[:] = set(directories) - SKIPPED
        yield from (Path(directory, name) for name in files if name.endswith(".py"))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
