"""The laws of the mixer: it sums to 1, and its gradient is that of what it costs."""

import numpy as np
import pytest

from charlm.mixture import LEARNED, PRODUCTS, Inputs, Mixer, fitted, inputs, target_inputs
from charlm.ngram import count, histories

random = np.random.default_rng(0)
N, ORDER = 40, 3


def places(vocabulary):
    """What is mixed at N places, their ids, and the same of these ids alone."""
    text = random.integers(0, vocabulary, 3000) // random.integers(1, 50, 3000)
    ids = random.choice(text, N)
    ngram, history = count(text, vocabulary, order=ORDER), histories(ids, vocabulary, ORDER)
    logits = random.standard_normal((N, vocabulary)).astype(np.float32) * 2
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    own, entropies = logs[np.arange(N), ids], -(np.exp(logs) * logs).sum(-1)
    alone = target_inputs(own, entropies, ngram.estimate_of(history, ids))
    return inputs(logits, ngram.estimate(history)), ids, alone


def stirred(vocabulary):
    """A mixer none of whose arrays is 0."""
    arrays = Mixer.prior(ORDER, vocabulary).arrays
    return Mixer(
        {n: a + random.standard_normal(a.shape).astype(np.float32) / 4 for n, a in arrays.items()}
    )


@pytest.mark.parametrize("vocabulary", [30, PRODUCTS + 1])
def test_the_nats_are_those_of_the_mixed_logits(vocabulary):
    given, ids, alone = places(vocabulary)
    mixer = stirred(vocabulary)
    logits = mixer.mixed(given).astype(np.float64)
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(N), ids]
    if vocabulary > PRODUCTS:
        np.testing.assert_allclose(np.exp(logits).sum(-1), 1, rtol=1e-4)
        np.testing.assert_allclose(-mixer.mixed(alone)[:, 0], expected, rtol=1e-4, atol=1e-6)
        given = alone
    np.testing.assert_allclose(mixer.gradient(given, ids)[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("vocabulary", [30, PRODUCTS + 1])
@pytest.mark.parametrize("name", LEARNED)
def test_the_gradient_is_that_of_the_mean(vocabulary, name):
    given, ids, alone = places(vocabulary)
    given = alone if vocabulary > PRODUCTS else given
    given = Inputs(given.logs.astype(np.float64), given.features.astype(np.float64))
    arrays = {n: a.astype(np.float64) for n, a in stirred(vocabulary).arrays.items()}
    gradient = Mixer(arrays).gradient(given, ids)[1][name].ravel()
    for place in random.choice(gradient.size, 5):
        costs = []
        for step in (1e-5, -1e-5):
            moved = arrays[name].copy()
            moved.flat[place] += step
            costs.append(Mixer({**arrays, name: moved}).gradient(given, ids)[0].mean())
        assert (costs[0] - costs[1]) / 2e-5 == pytest.approx(gradient[place], rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("vocabulary", [30, PRODUCTS + 1])
def test_what_is_fitted_costs_less(vocabulary):
    given, ids, alone = places(vocabulary)
    given = alone if vocabulary > PRODUCTS else given
    prior = Mixer.prior(ORDER, vocabulary)
    found = fitted(prior, given, ids)
    assert found.gradient(given, ids)[0].mean() < prior.gradient(given, ids)[0].mean()
    again = fitted(prior, given, ids)
    assert all((found.arrays[name] == again.arrays[name]).all() for name in found.arrays)
