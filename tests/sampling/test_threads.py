"""The threads of numpy's BLAS: as many as are allowed, and as many as are of use."""

import os
import subprocess
import sys

import numpy as np
import pytest

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
