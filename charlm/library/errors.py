"""What a call of the library raises: CharlmErrors, in the words of a program."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar, get_type_hints

from charlm.config import (
    UNKNOWN_POLICIES,
    NetworkConfig,
    PrepConfig,
    SamplingConfig,
    TrainingConfig,
)
from charlm.errors import CharlmError, ConfigError, DataError
from charlm.failures import of_system
from charlm.library.options import PrepOptions, SampleOptions, TrainOptions
from charlm.packages import missing_packages_named
from charlm.tokenizer.symbols import not_unicode

P = ParamSpec("P")
R = TypeVar("R")

ARGUMENTS: dict[str, Any] = {
    "out": str, "init": str, "preset": str, "tokenizer": str, "jobs": int, "force": bool,
    "index": bool,
}  # fmt: skip
for _options in (PrepOptions, TrainOptions, SampleOptions):
    ARGUMENTS |= get_type_hints(_options)
CHOICES = {"unknown": UNKNOWN_POLICIES} | {
    f.name: f.metadata["choices"] or ()
    for group in (PrepConfig, NetworkConfig, TrainingConfig, SamplingConfig)
    for f in fields(group)
}
# A command line in backquotes, which stays; or an option, and what may be its value.
_TYPED = re.compile(r"`[^`]*`|(?<![\w-])(?:-o\b|--(no-)?([a-z][a-z-]*))(?: (\w[\w.]*\w|\w))?")
SHOWN = 40  # characters of what was given for a path


@contextmanager
def errors_for_programs() -> Iterator[Callable[[Callable[P, R]], Callable[P, R]]]:
    """While entered, what was given wrongly is a CharlmError that speaks of arguments.

    Gives what makes functions of the caller's own known: what those raise comes as it is.
    """
    theirs: list[BaseException] = []

    def own(function: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **options: P.kwargs) -> R:
            try:
                return function(*args, **options)
            except BaseException as error:
                theirs.append(error)
                raise

        return call

    try:
        with missing_packages_named():
            yield own
    except CharlmError as error:
        if error.typed is None and not any(error is one for one in theirs):
            error.typed, error.args = str(error), (as_arguments(str(error)),)
        raise
    except (OSError, UnicodeEncodeError) as error:
        if any(error is one for one in theirs):
            raise
        raise DataError(_reason(error)) from error


def as_arguments(message: str) -> str:
    """The message with options as a program gives them: `--unknown skip` is `unknown="skip"`."""
    return _TYPED.sub(_argument, message)


def check_unknown(unknown: str) -> None:
    """Raises ConfigError for what is none of the policies."""
    if unknown not in UNKNOWN_POLICIES:
        raise ConfigError(f"unknown is {unknown!r}; it can be {', '.join(UNKNOWN_POLICIES)}.")


def _argument(found: re.Match[str]) -> str:
    name, value = (found[2] or "out").replace("-", "_"), found[3]
    if found[0].startswith("`") or name not in ARGUMENTS:
        return found[0]
    rest = "" if value is None else f" {value}"
    if ARGUMENTS[name] in (bool, bool | None):
        return f"{name}={not found[1]}{rest}"
    if value in CHOICES.get(name, ()):
        return f'{name}="{value}"'
    if value is not None and value.replace(".", "", 1).isdigit():
        return f"{name}={value}"
    return name + rest


def _reason(error: OSError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return not_unicode(error.object, error.start)
    if error.filename is None:
        return of_system(error)
    path = str(error.filename)
    if error.errno == errno.ENAMETOOLONG:
        return f"{path[:SHOWN]!r}... is too long for a path; give the name of a file."
    return f"{path}: {error.strerror or error}"
