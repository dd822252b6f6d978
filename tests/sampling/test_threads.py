"""The threads of numpy's BLAS: as many as are allowed, and as many as are of use."""

import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch

from charlm import process
from charlm.sampling import threads
from charlm.sampling.threads import Threads

SAY = "from charlm.process import allowed_threads; print(allowed_threads())"


class Planned(Threads):
    """Threads whose products take what `plan` says, by their number."""

    def __init__(self, plan):
        self.plan, self.asked = plan, 0
        super().__init__(np.ones((8, 4), np.float32), max(plan))

    def _seconds(self, number):
        self.asked += 1
        return self.plan[number]


@pytest.fixture
def impatient(monkeypatch):
    """Every time is long ago."""
    monkeypatch.setattr(threads, "PERIOD_S", -1.0)


def test_a_core_that_another_process_has_is_left_to_it(impatient):
    found = Planned({1: 1.0, 2: 0.6, 4: 40.0})
    assert found.number == 2
    found.plan.update({2: 40.0})
    found.look()
    assert found.number == 1
    found.plan.update({2: 0.6, 4: 0.4})
    found.look()
    assert found.number == 4


def test_a_little_better_changes_nothing():
    found = Planned({1: 1.0, 2: 0.5, 4: 0.55})
    assert found.number == 4


def test_the_last_time_counts_for_a_while(monkeypatch):
    monkeypatch.setattr(threads, "PERIOD_S", 3600.0)
    found = Planned({1: 1.0, 2: 0.5})
    before = found.asked
    found.plan.update({2: 40.0})
    found.look()
    assert (found.number, found.asked) == (2, before)


def test_a_product_takes_its_time():
    assert Threads(np.ones((8, 4, 3), np.float32), 1)._seconds(1) > 0


@pytest.mark.parametrize("variable", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_no_more_are_used_than_are_asked_for(variable):
    said = subprocess.check_output([sys.executable, "-c", SAY], env={**os.environ, variable: "1"})
    assert said == b"1\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can't be chosen here")
def test_no_more_are_used_than_there_are_cores_for_the_process():
    one = {min(os.sched_getaffinity(0))}
    said = subprocess.check_output(
        [sys.executable, "-c", SAY], preexec_fn=lambda: os.sched_setaffinity(0, one)
    )
    assert said == b"1\n"


class Blas:
    """A BLAS with so many threads."""

    def __init__(self, number, internal_api="openblas"):
        self.number, self.internal_api = number, internal_api

    def get_num_threads(self):
        return self.number

    def set_num_threads(self, number):
        self.number = number


@pytest.fixture
def blas(monkeypatch):
    """An OpenBLAS of eight threads, and another of four."""
    found = [Blas(8), Blas(4, "mkl")]
    monkeypatch.setattr(process, "_pools", lambda: [(one, one.number) for one in found])
    return found


def numbers(blas):
    return [one.number for one in blas]


def test_a_limit_holds_while_one_is_within_it(blas):
    with suppress(ZeroDivisionError), process.blas_threads(1):
        assert numbers(blas) == [1, 1]
        raise ZeroDivisionError
    assert numbers(blas) == [8, 4]
    with process.blas_threads(6):
        assert numbers(blas) == [6, 4]


def test_of_several_limits_the_lowest_holds_whoever_leaves_first(blas):
    """As with threads, which don't leave in the order in which they came."""
    first, second = process.blas_threads(2), process.blas_threads(1)
    first.__enter__()
    assert numbers(blas) == [2, 2]
    second.__enter__()
    assert numbers(blas) == [1, 1]
    first.__exit__(None, None, None)
    assert numbers(blas) == [1, 1]
    second.__exit__(None, None, None)
    assert numbers(blas) == [8, 4]


def test_what_is_set_within_a_limit_holds_after_it(blas):
    with process.blas_threads(2):
        process.set_blas_threads(3)
        assert numbers(blas) == [2, 2]
    assert numbers(blas) == [3, 4]
    process.set_blas_threads(8)
    assert numbers(blas) == [8, 4]


@pytest.mark.parametrize(
    ("tuned", "small", "within"), [(False, True, 1), (False, False, 8), (True, True, 8)]
)
def test_small_products_are_not_shared(blas, monkeypatch, tuned, small, within):
    monkeypatch.setattr(process, "_tuned", tuned)
    rows = 4 if small else threads.THREADED_BYTES // 16
    with threads.of_use({"small": np.ones(2), "largest": np.ones((rows, 4), np.float32)}):
        assert blas[0].number == within


def test_only_a_tuned_process_has_a_tuner(blas, monkeypatch):
    weights = {"largest": np.ones((threads.THREADED_BYTES // 16, 4), np.float32)}
    monkeypatch.setattr(process, "_tuned", False)  # a test before may have run the command line
    assert threads.tuner(weights) is None
    assert numbers(blas) == [8, 4]
    monkeypatch.setattr(process, "_tuned", True)
    assert isinstance(threads.tuner(weights), Threads)
    assert threads.tuner({"small": np.ones(2)}) is None
    assert numbers(blas) == [1, 4]


def test_torch_has_its_threads_back():
    before = torch.get_num_threads()
    with suppress(ZeroDivisionError), process.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
