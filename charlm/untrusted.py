"""JSON from a file, read with limits: it is neither huge nor deep, and of known types.

A file from a stranger may be made to fill the memory or to run in circles. What is larger than
these limits is no file that charlm writes.
"""

import json
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from charlm.failures import named

LONGEST = 1 << 25  # characters: a vocabulary of a million words takes fewer
CONTAINERS = 1 << 21  # lists and objects, each of which takes 60 bytes or more of memory
DEEPEST = 32


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file. Raises ValueError where it is too long, or not UTF-8."""
    with named(str(path)), path.open("rb") as file:
        data = file.read(4 * LONGEST + 1)
    if len(data) > 4 * LONGEST:
        raise ValueError("it is longer than any that charlm reads")
    return data.decode("utf-8", errors)


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises ValueError, which says why, for anything else."""
    if len(text) > LONGEST or text.count("[") + text.count("{") > CONTAINERS:
        raise ValueError("its JSON is longer than any that charlm reads")
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("its JSON is not an object")
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each) if _inside(inner)]
    if level:
        raise ValueError("its JSON is nested too deeply")
    return found


def fits(hint: Any, value: Any) -> bool:
    """Whether a value read from JSON is of the type that a field's annotation names.

    A whole number serves as a float, and nothing but true and false as a bool.
    """
    if isinstance(hint, UnionType):
        return any(fits(each, value) for each in get_args(hint))
    if hint is Any:
        return True
    kind = get_origin(hint) or hint
    return type(value) is kind or (kind is float and type(value) is int)


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
