"""SIGINT, SIGTERM and SIGHUP: each ends a command at any moment, and what it began is undone.

The exit status is 128 and the signal's number. A signal that a process was started to ignore, as
`nohup` does, stays ignored.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What must not outlive the process, the latest last.
_undoing: list[Callable[[], None]] = []


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end; `status` is the exit status that says so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status for it."""
    return interrupt.status if isinstance(interrupt, Stopped) else 128 + signal.SIGINT


@contextmanager
def ending(*, for_good: bool = False) -> Iterator[None]:
    """Within, a signal raises Stopped in the main thread.

    But one that meets an import ends the process at once: an import may swallow an exception, abort
    the process at it, or leave half a module behind. Handlers that a program has set itself stay.
    Afterwards the handlers are those from before or, `for_good`, the system's: what is left to do
    then is not worth a traceback.
    """
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in ENDING if signal.getsignal(number) is _usual(number)]
        for number in taken:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL if for_good else _usual(number))


def _usual(number: int) -> object:
    """The handler that Python sets, where the process was not started to ignore the signal."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


@contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Calls `undo` when the block ends, and where a signal ends the process at once within."""
    _undoing.append(undo)
    try:
        yield
    finally:
        undo()
        _undoing.remove(undo)


def _end(number: int, frame: FrameType | None) -> None:
    within = frame
    while within is not None:
        if within.f_code.co_filename.startswith("<frozen importlib"):
            for undo in reversed(_undoing):
                undo()
            os._exit(128 + number)
        within = within.f_back
    raise Stopped(number)
