"""Intervals by the bootstrap: they cover, they repeat, and pairs cancel."""

import math

import numpy as np
import pytest

from charlm.measuring import bootstrap as module
from charlm.measuring.bootstrap import block_begins, difference, interval


def test_about_95_in_a_hundred_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        sizes = rng.integers(1, 20, 80)
        nats = 2.0 * sizes + rng.exponential(3.0, 80) - 3.0
        low, high = interval(nats, sizes, resamples=400, seed=seed)
        held += low <= 2.0 <= high
    assert 0.88 * 200 <= held <= 0.99 * 200


def test_a_seed_repeats_and_another_differs():
    nats, sizes = np.random.default_rng(0).random(50), np.ones(50)
    assert interval(nats, sizes, seed=3) == interval(nats, sizes, seed=3)
    assert interval(nats, sizes, seed=3) != interval(nats, sizes, seed=4)


def test_a_constant_has_no_width():
    sizes = np.arange(1, 40)
    assert interval(1.5 * sizes, sizes) == pytest.approx((1.5, 1.5), abs=1e-12)


def test_holds_the_ratio_of_the_sums_and_a_higher_level_is_wider():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 300)
    nats = rng.random(300) * sizes
    low, high = interval(nats, sizes)
    wider = interval(nats, sizes, level=0.99)
    assert wider[0] < low < nats.sum() / sizes.sum() < high < wider[1]


def test_what_is_hard_for_both_cancels():
    rng = np.random.default_rng(0)
    sizes = np.ones(200)
    hard = rng.exponential(5.0, 200)
    nats, other = hard + 0.1 + 0.01 * rng.random(200), hard
    low, high = difference(nats, other, sizes)
    assert 0.1 < low < high < 0.11
    assert difference(other, nats, sizes) == pytest.approx((-high, -low), abs=1e-3)
    assert difference(hard, hard, sizes) == (0, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_of_fewer_than_two_units_nothing_is_said(count):
    assert all(map(math.isnan, interval(np.ones(count), np.ones(count))))


def test_units_without_size_divide_nothing_by_zero():
    low, high = interval(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    assert 1 <= low <= high
    assert all(map(math.isnan, interval(np.ones(3), np.zeros(3))))


def test_joining_neighbours_keeps_the_width(monkeypatch):
    rng = np.random.default_rng(0)
    sizes, nats = np.ones(4001), rng.random(4001)
    low, high = interval(nats, sizes)
    monkeypatch.setattr(module, "MOST", 500)
    assert interval(nats, sizes) == pytest.approx((low, high), abs=0.2 * (high - low))
    assert module._joined(nats).sum() == pytest.approx(nats.sum())


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 4095, 4096, 100_000])
def test_blocks_cover_a_text_and_a_short_one_has_enough(tokens):
    begins = block_begins(tokens)
    assert begins[0] == 0
    assert np.diff(begins, append=tokens).sum() == tokens
    assert np.diff(begins, append=tokens).max() <= module.BLOCK
    assert len(begins) >= min(tokens, module.FEWEST)
