"""SIGINT and SIGTERM as a wish to stop: the first is noted, the second acts at once."""

import signal
import threading
import time
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, `received` is None, or the number of the signal that asked to stop.

    What comes within `repeats_s` seconds of the first is a repetition of it, and does nothing.
    """

    def __init__(self, repeats_s: float = 0.0) -> None:
        self.received: int | None = None
        self._repeats_s = repeats_s
        self._received_at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        # Only the main thread may set handlers; elsewhere the program that calls us has its own.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
            if not self._repeats_s:
                self._restore()
        elif now - self._received_at > self._repeats_s:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
