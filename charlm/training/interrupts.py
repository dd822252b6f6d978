"""Signals as a wish to stop: the first is noted, the second acts at once."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from charlm.signals import ENDING


class StoppedError(Exception):
    """A signal has asked to stop what can be made again."""


class Interrupts:
    """While entered, `received` is None, or the number of the signal that asked to stop.

    The first one calls `noted`, within a signal handler. What comes within `repeats_s` seconds of
    it is a repetition and does nothing. SIGHUP is neither first nor second in this: a terminal that
    goes away sends several, and SIGTERM beside them. What the process ignores stays ignored.
    """

    def __init__(
        self, noted: Callable[[int], None] = lambda number: None, repeats_s: float = 0.0
    ) -> None:
        self.received: int | None = None
        self._noted = noted
        self._repeats_s = repeats_s
        self._asked_at: float | None = None  # by a signal that can be a first one
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        # Only the main thread may set handlers; elsewhere the program that calls us has its own.
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def check(self) -> None:
        """Raises StoppedError where a signal has come."""
        if self.received is not None:
            raise StoppedError

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            self._noted(number)
        if number == signal.SIGHUP:
            return
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at >= self._repeats_s:
            self.__exit__()
            signal.raise_signal(number)
