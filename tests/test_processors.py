"""Processors against distributions worked out by hand, and the laws they share."""

import numpy as np
import pytest

from charlm.config import SamplingConfig
from charlm.sampling.processors import ban, min_p, pipeline, temperature, top_k, top_p

# Probabilities 0.5, 0.25, 0.15, 0.1, in another order, twice.
P = np.array([[0.15, 0.5, 0.1, 0.25], [0.25, 0.1, 0.5, 0.15]])
LOGITS = np.log(P)


def probabilities(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (ban([1]), [0.3, 0, 0.2, 0.5]),
        (temperature(0.5), P[0] ** 2 / (P[0] ** 2).sum()),
        (temperature(2.0), P[0] ** 0.5 / (P[0] ** 0.5).sum()),
        (top_k(1), [0, 1, 0, 0]),
        (top_k(2), [0, 2 / 3, 0, 1 / 3]),
        (top_k(9), P[0]),
        (top_p(0.4), [0, 1, 0, 0]),
        (top_p(0.5), [0, 1, 0, 0]),
        (top_p(0.6), [0, 2 / 3, 0, 1 / 3]),
        (top_p(0.8), [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9]),
        (top_p(0.95), P[0]),
        (min_p(0.4), [0, 2 / 3, 0, 1 / 3]),
        (min_p(0.25), [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9]),
        (min_p(1.0), [0, 1, 0, 0]),
    ],
)
def test_bends_a_known_distribution_as_worked_out_by_hand(processor, expected):
    np.testing.assert_allclose(probabilities(processor(LOGITS))[0], expected, atol=1e-12)


PROCESSORS = [
    temperature(0.1),
    temperature(5.0),
    top_k(1),
    top_k(3),
    top_p(1e-9),
    top_p(0.7),
    min_p(0.9),
]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_row_keeps_its_likeliest_token_and_its_input(processor):
    rng = np.random.default_rng(0)
    logits = (10 * rng.standard_normal((50, 30))).astype(np.float32)
    kept = logits.copy()
    bent = processor(logits)
    np.testing.assert_array_equal(logits, kept)
    best = np.take_along_axis(bent, logits.argmax(-1)[:, None], -1)
    assert np.isfinite(best).all()
    assert (bent.max(-1, keepdims=True) == best).all()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_rows_are_bent_alone(processor):
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((5, 20)).astype(np.float32)
    for row, alone in zip(processor(logits), logits, strict=True):
        np.testing.assert_array_equal(processor(alone[None])[0], row)


def test_neutral_values_are_no_processor_at_all():
    assert pipeline(SamplingConfig()) == []
    assert pipeline(SamplingConfig(temperature=0)) == []


def test_the_order_is_temperature_top_k_top_p_min_p():
    config = SamplingConfig(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1)
    bent = LOGITS
    for processor in pipeline(config):
        bent = processor(bent)
    by_hand = LOGITS
    for processor in (temperature(0.5), top_k(3), top_p(0.9), min_p(0.1)):
        by_hand = processor(by_hand)
    np.testing.assert_array_equal(bent, by_hand)
    # The other way round, top-p would have seen the flatter distribution and kept more.
    assert not np.array_equal(np.isfinite(bent), np.isfinite(top_p(0.9)(LOGITS)))


def test_logits_that_are_already_left_out_stay_out():
    logits = np.array([[0.0, -np.inf, 1.0, -np.inf]])
    for processor in PROCESSORS:
        assert np.isneginf(processor(logits)[0, [1, 3]]).all()
