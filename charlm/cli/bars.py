"""Progress on a terminal for what takes long, and a word where a command waits for one."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

SHOWN_AFTER_S = 1.0

T = TypeVar("T")


def bar(total: int | None, unit: str = "B", description: str | None = None) -> Any:
    """A progress bar on stderr, which shows on a terminal and where the work takes a while."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=True,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        delay=SHOWN_AFTER_S,
        leave=False,
        dynamic_ncols=True,
    )


def watched(items: Iterable[T], shown: Any) -> Iterator[T]:
    """The items, each of which moves the bar on."""
    for item in items:
        yield item
        shown.update(1)


@contextmanager
def reading(tokens: int) -> Iterator[Callable[[int], object]]:
    """Moves a bar on by so many of `tokens`."""
    with bar(tokens, "tokens") as shown:
        yield shown.update


def say_waiting() -> None:
    """Says that stdin is read, where that is a terminal and nobody might know."""
    if sys.stdin.isatty():
        click.echo("reading from the terminal; Ctrl-D ends the text", err=True)
