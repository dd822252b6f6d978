"""How many threads numpy's BLAS shares a product between: as many as are of use."""

import time
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import numpy as np

from charlm.process import allowed_threads, blas_threads, is_tuned, set_blas_threads

# A product of one row and a matrix smaller than this takes numpy's BLAS less time than waking a
# second thread for it, and far less where another process has the core.
THREADED_BYTES = 1_500_000
PERIOD_S, PRODUCTS = 1.0, 3
# What another number must take of the time of the one there is, so that chance changes nothing.
LESS = 0.8


def of_use(weights: dict[str, np.ndarray]) -> AbstractContextManager[None]:
    """Within it one thread makes products with `weights`, where they are too small to share.

    A process that is tuned stays as its engines have it.
    """
    small = _largest(weights).nbytes < THREADED_BYTES
    return blas_threads(1) if small and not is_tuned() else nullcontext()


def tuner(weights: dict[str, np.ndarray]) -> "Threads | None":
    """What keeps the threads of steps with `weights` at their best, where the process is tuned.

    None where it is not, or where one is best anyway.
    """
    if not is_tuned():
        return None
    largest = _largest(weights)
    most = allowed_threads() if largest.nbytes >= THREADED_BYTES else 1
    if most == 1:
        set_blas_threads(1)
        return None
    return Threads(largest, most)


class Threads:
    """Keeps their number at what makes the product of one row and `matrix` (N, ...) soonest.

    A product is done when its last thread is. One whose core another process has is waited for as
    long as that is let on, up to 8 ms where alone the first takes 0.2, and with all cores in use as
    many threads as cores always have such a one. So numbers up to `most` are tried, now and then.
    """

    def __init__(self, matrix: np.ndarray, most: int) -> None:
        self.number = most
        self._matrix = matrix.reshape(len(matrix), -1)
        self._row = np.ones((1, self._matrix.shape[1]), matrix.dtype)
        self._numbers = sorted({1, *(most >> halvings for halvings in range(most.bit_length()))})
        self._choose()

    def look(self) -> None:
        """Tries again if the last time is long ago."""
        if time.monotonic() - self._chosen_s > PERIOD_S:
            self._choose()

    def _choose(self) -> None:
        seconds = {number: self._seconds(number) for number in self._numbers}
        best = min(seconds, key=seconds.__getitem__)
        if seconds[best] < LESS * seconds[self.number]:
            self.number = best
        set_blas_threads(self.number)
        self._chosen_s = time.monotonic()

    def _seconds(self, number: int) -> float:
        """What a product takes with so many threads."""
        set_blas_threads(number)
        moments = [time.perf_counter()]
        for _ in range(PRODUCTS):
            self._row @ self._matrix.T
            moments.append(time.perf_counter())
        return median(np.diff(moments))


def _largest(weights: dict[str, np.ndarray]) -> np.ndarray:
    return max(weights.values(), key=lambda weight: weight.nbytes, default=np.empty((0, 0)))
