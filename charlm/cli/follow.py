"""Endless text, at a steady rate."""

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import numpy as np

    from charlm.cli.writers import Writer
    from charlm.sampling.generate import Row
    from charlm.sampling.session import Session
    from charlm.sampling.text import Sample

REMEMBERED = 10_000  # ids of the text behind it, for what looks back


class Paced:
    """Hands text on to `writer` at so many characters per second, one by one.

    What was late, because the reader or the model was, is not made up for.
    """

    def __init__(self, writer: "Writer", chars_per_s: float) -> None:
        self._writer = writer
        self._every_s = 1 / chars_per_s
        self._due = time.monotonic()

    def emit(self, row: "Row", text: str) -> None:
        """Writes the text, character by character."""
        for character in text:
            self._wait()
            self._writer.emit(row, character)

    def ended(self, row: "Row", sample: "Sample") -> None:
        """Ends the row's text."""
        self._wait()
        self._writer.ended(row, sample)

    def _wait(self) -> None:
        self._due = max(self._due + self._every_s, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))


def forever(session: "Session", row: Callable[[int], "Row"], writer: "Writer") -> NoReturn:
    """Sample after sample, `row(0)`, `row(1)`, ..., each to its end, in constant memory."""
    from charlm.sampling.text import sample_texts

    def forget(row: "Row", id: int, logits: "np.ndarray") -> None:
        ids = row.history.ids
        if len(ids) > 2 * REMEMBERED:
            del ids[:-REMEMBERED]

    for k in itertools.count():
        sample_texts(
            session.engine,
            session.model.tokenizer,
            [row(k)],
            session.manner,
            emit=writer.emit,
            ended=writer.ended,
            seen=forget,
        )
