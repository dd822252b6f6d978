"""Settings of the whole process: the threads of BLAS and of torch, the allocator, the environment.

The command line owns its process and tunes it for good. The library is a guest in one: what a call
needs it sets within itself, and leaves the process as it was.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_tuned = False
_blas = threading.Lock()
_limits: list[int] = []  # of all that are within `blas_threads`
_base: list[int] = []  # the threads of each BLAS without a limit, while there are limits
_torch = threading.RLock()


def tune_process() -> None:
    """Makes charlm fast in a process of its own; before torch is imported, whose threads it sets.

    From here on engines keep numpy's BLAS at as many threads as are of use.
    """
    global _tuned
    _tuned = True
    # torch's threads wait for each other by spinning, by default for milliseconds. Beside two busy
    # processes on the same two cores an LSTM 1x384 then read 361 characters/s instead of 35,000;
    # with 1,000 to 10,000 spins 4,600 to 14,200, and as many as ever on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's large arrays in large pages


def is_tuned() -> bool:
    """Whether the process is charlm's own."""
    return _tuned


def keep_memory() -> None:
    """Has glibc keep the memory that is freed, for training; there is no way back.

    An update's arrays are as large as the last one's, but memory of their size goes back to the
    system each time, which then clears it anew, page by page. Kept, and in large pages, an LSTM
    1x512 of 32 rows read 18,500 characters/s instead of 13,300, and a minLSTM took half the time.
    """
    import ctypes  # here because training alone needs it

    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 1 << 26)


def allowed_threads() -> int:
    """The most threads that may share a product: as OPENBLAS_NUM_THREADS and the cores have it.

    Another BLAS than OpenBLAS is not tuned, which is 1.
    """
    return max((began for pool, began in _pools() if _is_open(pool)), default=1)


def set_blas_threads(number: int) -> None:
    """Has OpenBLAS share a product between so many threads, or as many as there is a limit to."""
    with _blas:
        for at, (pool, _) in enumerate(_pools()):
            if _is_open(pool):
                _set(pool, min(number, *_limits) if _limits else number)
                if _limits:
                    _base[at] = number


@contextmanager
def blas_threads(most: int) -> Iterator[None]:
    """At most so many threads share a product of numpy's; afterwards as many as before.

    The setting is one for all threads of the process: while several are in here the lowest limit
    holds, and the last to leave restores it. Within another limit as low this takes a microsecond.
    """
    with _blas:
        before = min(_limits, default=None)
        if before is None:
            _base[:] = [pool.get_num_threads() for pool, _ in _pools()]
        _limits.append(most)
        _limit(before)
    try:
        yield
    finally:
        with _blas:
            before = min(_limits)
            _limits.remove(most)
            _limit(before)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """torch computes with so many threads; afterwards with as many as before.

    One thread of the process at a time is in here, as torch keeps no account of who set what.
    """
    import torch  # here because most of charlm starts without it

    with _torch:
        before = torch.get_num_threads()
        _set_torch(torch, number)
        try:
            yield
        finally:
            _set_torch(torch, before)


@cache
def _pools() -> list[tuple[Any, int]]:
    """Each BLAS there is when it is first asked for, and how many threads it began with."""
    import numpy  # noqa: F401 which brings one
    import threadpoolctl

    found = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return [(pool, pool.get_num_threads()) for pool in found]


def _limit(before: int | None) -> None:
    """Sets what the limits are now, if the lowest is not that of `before`."""
    if min(_limits, default=None) == before:
        return
    for (pool, _), base in zip(_pools(), _base, strict=True):
        _set(pool, min(base, *_limits) if _limits else base)


def _set(pool: Any, number: int) -> None:
    if pool.get_num_threads() != number:
        pool.set_num_threads(number)


def _set_torch(torch: Any, number: int) -> None:
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


def _is_open(pool: Any) -> bool:
    return pool.internal_api == "openblas"
