"""The laws of counts: they sum to 1, and are what a naive loop finds."""

import math

import numpy as np
import pytest
from support.ngrams import contexts, naive_counts, naive_p

from charlm.errors import DataError
from charlm.ngram import Ngram, count, histories
from charlm.ngram.counting import FALLBACK, discounts

V = 7
random = np.random.default_rng(0)
TEXT = random.choice(V - 1, 3000, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]).astype(np.uint8)
TEXT[1::3] = TEXT[::3]  # so that what came before tells something
UNSEEN = random.integers(0, V, 200)


@pytest.mark.parametrize("boundary", [None, 0])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_equals_a_naive_loop(order, boundary):
    ngram = count(TEXT[:600], V, order=order, boundary=boundary)
    known = naive_counts(TEXT[:600], V, order, boundary)
    found = ngram.estimate(histories(UNSEEN, V, order, boundary)).p
    for row, (context, _) in zip(found, contexts(UNSEEN, boundary, V), strict=True):
        for depth in range(order):
            expected = [naive_p(*known, V, context, id, depth) for id in range(V)]
            np.testing.assert_allclose(row[depth], expected, rtol=1e-9)


@pytest.mark.parametrize("boundary", [None, 0])
def test_every_order_sums_to_1(boundary):
    ngram = count(TEXT, V, order=5, boundary=boundary)
    p = ngram.estimate(histories(UNSEEN, V, 5, boundary)).p
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)


def test_a_row_alone_is_as_among_others_and_one_token_as_among_all():
    ngram, history = count(TEXT, V, order=4), histories(UNSEEN, V, 4)
    together = ngram.estimate(history)
    of_one = ngram.estimate_of(history, UNSEEN)
    rows = np.arange(len(UNSEEN))
    np.testing.assert_allclose(of_one.p[..., 0], together.p[rows, :, UNSEEN], rtol=1e-12)
    np.testing.assert_allclose(of_one.known, together.known, rtol=1e-12)
    for row in rows[:50]:
        alone = ngram.estimate(history[row : row + 1])
        np.testing.assert_allclose(alone.p[0], together.p[row], rtol=1e-12)
        np.testing.assert_allclose(alone.known[0], together.known[row], rtol=1e-12)


def test_a_history_is_carried_on():
    ngram = count(TEXT, V, order=4)
    history = ngram.advanced(ngram.initial_history(1), np.array([V]))
    for id, expected in zip(UNSEEN, histories(UNSEEN, V, 4), strict=True):
        assert (history[0] == expected).all()
        history = ngram.advanced(history, np.array([id]))


@pytest.mark.parametrize(
    "text", [TEXT[:0], TEXT[:1], TEXT[:5], np.zeros(50, np.uint8), np.arange(6)]
)
def test_texts_too_small_for_counts_of_counts(text):
    assert (discounts(np.array([5, 5])) == FALLBACK).all()
    ngram, history = count(text, V, order=9, boundary=0), histories(UNSEEN, V, 9, 0)
    ngram = Ngram.checked(V, ngram.arrays)
    p = ngram.estimate(history).p
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
    of_one = ngram.estimate_of(history, UNSEEN).p[..., 0]
    np.testing.assert_allclose(of_one, p[np.arange(len(UNSEEN)), :, UNSEEN], rtol=1e-12)


def test_the_usual_tables_are_no_larger_than_they_may_be():
    """Of noise almost every n-gram is new."""
    noise = np.random.default_rng(1).integers(0, 200, 60_000)
    found = count(noise, 200)
    assert found.order == 7
    assert found.size_bytes <= 8 * len(noise)
    assert found.size_bytes < count(noise, 200, order=7).size_bytes


def test_counts_predict_better_than_chance():
    nats = -np.log(count(TEXT[:2000], V).estimate(histories(TEXT[2000:], V, 7)).p[:, -1])
    of_text = nats[np.arange(1000), TEXT[2000:]].mean()
    assert of_text < 1.4 < math.log(V)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("0.keys", lambda a: a[:0]),
        ("1.begins", lambda a: a[::-1].copy()),
        ("2.symbols", lambda a: a + np.uint8(V)),
        ("2.counts", lambda a: a * 0),
        ("1.keys", lambda a: a[::-1].copy()),
        ("2.counts", lambda a: a[:-1]),
        ("discounts", lambda a: a * np.nan),
        ("discounts", lambda a: a[:2]),
    ],
)
def test_what_counting_never_makes_is_refused(name, change):
    arrays = dict(count(TEXT, V, order=3).arrays)
    Ngram.checked(V, dict(arrays))
    arrays[name] = change(arrays[name])
    with pytest.raises(DataError, match="damaged"):
        Ngram.checked(V, arrays)
