"""How many threads numpy's BLAS shares a product between."""

import time
from functools import cache
from statistics import median

import numpy as np
import threadpoolctl

PERIOD_S, PRODUCTS = 1.0, 3
# What another number must take of the time of the one there is, so that chance changes nothing.
LESS = 0.8


@cache
def allowed() -> int:
    """The most that may: as OPENBLAS_NUM_THREADS and the cores left to the process have it.

    It is what OpenBLAS begins with, so it must be asked before anything is changed. Another BLAS
    is not meddled with, which is 1.
    """
    return max((pool["num_threads"] for pool in _openblas().info()), default=1)


def share(number: int) -> None:
    """Has OpenBLAS share a product between so many threads, in the whole process."""
    _openblas().limit(limits=number)


@cache
def _openblas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController().select(internal_api="openblas")


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
        share(self.number)
        self._chosen_s = time.monotonic()

    def _seconds(self, number: int) -> float:
        """What a product takes with so many threads."""
        share(number)
        moments = [time.perf_counter()]
        for _ in range(PRODUCTS):
            self._row @ self._matrix.T
            moments.append(time.perf_counter())
        return median(np.diff(moments))
