"""Draws that do not depend on the rounding of a batched product.

One row times a matrix and many rows times the same matrix are summed in different orders. So a row
in a batch is off by a few units in the last place from the same row alone, and now and then that
would decide a draw. What counts is the row alone. A draw in a batch is taken as it is where moving
every logit by the share ROUNDING of their range would not change it. Elsewhere the row is read
again by itself, from where it was last exact, and is exact from there on.

In batches of 64 rounding moved the logits of trained models by up to 1.0e-6 of their range (slstm),
mostly by less than 0.6e-6. So the law holds for networks that forget a small difference, as trained
ones do; one that magnifies it from step to step, as an untrained jordan with large weights does,
may draw otherwise in a batch.
"""

from collections.abc import Callable, Sequence

import numpy as np

from charlm.network.states import State
from charlm.sampling.engine import Engine
from charlm.sampling.processors import History

ROUNDING = 2e-6

Bend = Callable[[np.ndarray, Sequence[History]], np.ndarray]


def is_near(
    bend: Bend,
    logits: np.ndarray,
    histories: Sequence[History],
    bent: np.ndarray,
    margins: np.ndarray,
) -> np.ndarray:
    """Whether rounding might decide the draw of a row (B,).

    `bent` is `bend(logits, histories)`, and `margins` (B,) are those of `draws.margins_of`.
    """
    moved = (ROUNDING * np.ptp(logits, axis=-1, keepdims=True)).astype(logits.dtype)
    if bent is logits:
        return margins < moved[:, 0] / 2
    kept = np.isfinite(bent)
    near = np.zeros(len(logits), dtype=bool)
    # What is cut off changes soonest where what is kept moves against the rest, or the likeliest.
    best = np.arange(bent.shape[-1]) == bent.argmax(axis=-1)[:, None]
    for up in (kept, ~kept, best, ~best):
        other = bend(logits + np.where(up, moved, -moved), histories)
        both = kept & np.isfinite(other)
        change = np.abs(np.subtract(other, bent, where=both, out=np.zeros_like(bent)))
        # Moved by d, logits move what lies before an id by at most d/2.
        near |= (margins < change.max(axis=-1) / 2) | (np.isfinite(other) != kept).any(axis=-1)
    return near


class Steady:
    """For each row of a batch the last state that it had when it was read alone.

    Law: `read_again` gives what reading all of the row alone would have given, to the bit.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._states: list[State] = []
        self._since: list[list[int]] = []

    def add(self, state: State, since: Sequence[int] = ()) -> None:
        """Takes in a row, whose `state` is exact, and which has read `since` after it."""
        self._states.append(state)
        self._since.append(list(since))

    def base(self, row: int) -> tuple[State, list[int]]:
        """The last state in which the row was exact, and what it has read since."""
        return self._states[row], list(self._since[row])

    def is_exact(self, row: int) -> bool:
        """Whether the row is as it would be alone."""
        return not self._since[row]

    def behind(self, row: int) -> int:
        """How many ids would have to be read again to have the row as it would be alone."""
        return len(self._since[row])

    def stepped(self, ids: Sequence[int], state: State) -> None:
        """All rows have read one of `ids` each, and the batch is in `state`."""
        if len(ids) == 1 and self.is_exact(0):
            self._states[0] = state
            return
        for since, id in zip(self._since, ids, strict=True):
            since.append(id)

    def read_again(self, row: int) -> tuple[np.ndarray, State]:
        """The row's logits (1, V) and state, exact."""
        state = self._states[row]
        for id in self._since[row]:
            logits, state = self._engine.step(np.array([id]), state)
        self._states[row], self._since[row] = state, []
        return logits, state

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on."""
        self._states = [self._states[row] for row in rows]
        self._since = [self._since[row] for row in rows]
