"""Progress on a terminal for what takes long, and a word where a command waits for one."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from tqdm import tqdm

SHOWN_AFTER_S = 1.0

T = TypeVar("T")


class Bar:
    """A progress bar on stderr, which shows on a terminal and where the work takes a while.

    That is after `after_s` seconds, or SHOWN_AFTER_S. What draws it is imported only then, as that
    takes longer than many a command.
    """

    def __init__(
        self,
        total: int | None,
        unit: str = "B",
        description: str | None = None,
        after_s: float | None = None,
    ) -> None:
        self._total = total
        self._unit = unit
        self._description = description
        self._due_s = time.monotonic() + (SHOWN_AFTER_S if after_s is None else after_s)
        self._hidden = not sys.stderr.isatty()
        self._done = 0  # before it was shown
        self._shown: tqdm | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, more: int) -> None:
        """Moves it on by so much."""
        if self._shown is not None:
            self._shown.update(more)
        elif not self._hidden:
            self._done += more
            if time.monotonic() >= self._due_s:
                self._show()

    def say(self, line: str) -> None:
        """Writes a line to stderr, above the bar."""
        if self._shown is None:
            click.echo(line, err=True)
        else:
            self._shown.write(line, file=sys.stderr)

    def clear(self) -> None:
        """Takes it away until it moves on, for what is written to the same terminal."""
        if self._shown is not None:
            self._shown.clear()

    def close(self) -> None:
        """Removes it."""
        if self._shown is not None:
            self._shown.close()

    def _show(self) -> None:
        from tqdm import tqdm

        self._shown = tqdm(
            total=self._total,
            desc=self._description,
            unit=self._unit,
            unit_scale=True,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
        )
        self._shown.update(self._done)


def watched(items: Iterable[T], bar: Bar) -> Iterator[T]:
    """The items, each of which moves the bar on."""
    for item in items:
        yield item
        bar.update(1)


@contextmanager
def reading(tokens: int) -> Iterator[Callable[[int], None]]:
    """Moves a bar on by so many of `tokens`."""
    with Bar(tokens, "tokens") as bar:
        yield bar.update


def say_waiting() -> None:
    """Says that stdin is read, where that is a terminal and nobody might know."""
    if sys.stdin.isatty():
        click.echo("reading from the terminal; Ctrl-D ends the text", err=True)
