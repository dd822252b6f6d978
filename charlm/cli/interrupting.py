"""Ctrl-C at any moment: also while modules are imported, which takes most of a short command."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130


@contextmanager
def imports_can_be_interrupted() -> Iterator[None]:
    """Within, a Ctrl-C that meets an import ends the process at once, with status 130.

    An import may swallow KeyboardInterrupt, abort the process at it, or leave half a module behind.
    A process that was started to ignore the signal goes on ignoring it.
    """
    usual = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or usual is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _interrupt(number: int, frame: FrameType | None) -> None:
    within = frame
    while within is not None:
        if within.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        within = within.f_back
    signal.default_int_handler(number, frame)
