"""Learning-rate schedules and plans: from the start of a run to its end."""

from itertools import pairwise

import pytest

from charlm.config import SCHEDULES
from charlm.training.plan import Plan
from charlm.training.schedules import SCHEDULES as FUNCTIONS
from charlm.training.schedules import share


def test_the_registry_has_the_names_of_the_config():
    assert set(FUNCTIONS) == set(SCHEDULES)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_rises_to_the_peak_then_never_rises_again(schedule, warmup):
    shares = [share(schedule, step / 1000, warmup) for step in range(1001)]
    assert all(0 <= value <= 1 for value in shares)
    peak = round(1000 * warmup)
    assert all(a <= b for a, b in pairwise(shares[:peak]))
    assert all(a >= b for a, b in pairwise(shares[peak:]))
    if warmup < 1:
        assert shares[peak] == 1
        ends = {"constant": 1, "exponential": 0.97**40}
        assert shares[-1] == pytest.approx(ends.get(schedule, 0))


def test_progress_beyond_the_end_is_the_end():
    assert share("linear", 1.5, 0.0) == 0


def test_a_plan_of_updates_counts_them():
    assert [Plan(4).progress(steps, 1e9) for steps in (0, 2, 4)] == [0, 0.5, 1]


def test_a_plan_of_both_ends_with_what_is_first():
    plan = Plan(4, 100)
    assert plan.progress(4, 1) == 1
    assert plan.progress(1, 99.3) == 1
    assert plan.progress(2, 10) == 0.5


def test_a_budget_leaves_time_for_the_last_validation():
    plan = Plan(budget_s=100, validation_s=10)
    assert plan.progress(10**9, 0) == 0
    assert plan.progress(0, 85) < 1 < plan.progress(0, 89)


def test_the_clock_counts_from_the_first_update():
    plan = Plan(budget_s=100, begun_s=40)
    assert plan.progress(0, 40) == 0
    assert plan.progress(10**9, 70) == pytest.approx(0.5, abs=0.02)
    assert plan.progress(0, 99) < 1 < plan.progress(0, 99.5)
    # Two runs that updates end are the same, however long each took to begin.
    late, early = Plan(50, 100, begun_s=40), Plan(50, 100, begun_s=2)
    assert [late.during(steps, 40 + steps) for steps in range(50)] == [
        early.during(steps, 2 + steps) for steps in range(50)
    ]


@pytest.mark.parametrize("begun_s", [1, 99.5, 200])
def test_a_beginning_that_takes_the_budget_leaves_no_update(begun_s):
    plan = Plan(budget_s=1, begun_s=begun_s)
    assert plan.progress(0, begun_s) == 1


def test_a_budget_shorter_than_its_ending_still_trains():
    assert Plan(budget_s=1, validation_s=10).progress(0, 0.1) < 1


def test_exponential_is_char_rnns_decay_of_3_percent_an_epoch_after_10_of_50():
    for epoch in range(51):
        expected = 0.97 ** max(0, epoch - 10)
        assert share("exponential", epoch / 50, 0.0) == pytest.approx(expected)
