"""Scores: sums that add up, and exact likelihoods whatever way a text is cut."""

import math

import numpy as np
import pytest

from charlm.score import Score, log_softmax, token_nats


def test_a_uniform_model_scores_log2_of_its_vocabulary(uniform_engine):
    ids = np.random.default_rng(0).integers(0, 8, 100)
    nats, _ = token_nats(uniform_engine, ids)
    score = Score(nats.sum(), tokens=100, chars=100, bytes=200)
    assert score.bits_per_char == pytest.approx(3, abs=1e-12)
    assert score.bits_per_byte == pytest.approx(1.5, abs=1e-12)
    assert score.perplexity == pytest.approx(8, abs=1e-10)


def test_pieces_equal_the_whole(table_engine):
    ids = np.random.default_rng(0).integers(0, 7, 50)
    whole, _ = token_nats(table_engine, ids)
    found, state = [], None
    for begin in range(0, 50, 7):
        nats, state = token_nats(table_engine, ids[begin : begin + 7], state)
        found.append(nats)
    np.testing.assert_array_equal(np.concatenate(found), whole)


def test_equals_the_tables_own_probabilities(table_engine):
    nats, _ = token_nats(table_engine, np.array([2, 5]))
    logits = table_engine.logits.astype(float)
    by_hand = [
        math.log(sum(math.exp(v) for v in logits[before])) - logits[before, after]
        for before, after in ((7, 2), (2, 5))
    ]
    np.testing.assert_allclose(nats, by_hand, rtol=1e-12)


def test_parts_add_up():
    a, b = Score(1.0, 2, 3, 4, 5), Score(10.0, 20, 30, 40, 50)
    assert a + b == Score(11.0, 22, 33, 44, 55)
    assert sum([a, b], Score()) == a + b
    assert (a + b).nats_per_char == pytest.approx(11 / 33)


def test_nothing_scores_nan_and_the_impossible_inf():
    assert math.isnan(Score().bits_per_char)
    assert math.isnan(Score().perplexity)
    assert Score(math.inf, 1, 1, 1).perplexity == math.inf


def test_log_softmax_is_safe_far_out():
    found = log_softmax(np.array([[1e4, 0.0], [-1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0, -1e4], [-math.log(2)] * 2])
