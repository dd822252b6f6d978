"""Averages of the weights, each against a sum over all weights that were."""

import numpy as np
import pytest
import torch

from charlm.config import AVERAGES as NAMES
from charlm.config import TrainingConfig
from charlm.training.averaging import AVERAGES


def walk(name, updates, *, validations=None, **settings):
    """The average after so many updates of two random weights, and all weights that were."""
    generator = torch.Generator().manual_seed(1)
    weights = {"a": torch.zeros(3, 2), "b": torch.zeros(4)}
    average = AVERAGES[name](weights, TrainingConfig(average=name, **settings))
    were = []
    for steps in range(1, updates + 1):
        for weight in weights.values():
            weight += torch.randn(weight.shape, generator=generator)
        were.append({key: weight.clone() for key, weight in weights.items()})
        average.updated(steps)
        if validations and steps in validations:
            average.validated(validations[steps])
    return average, were


def weighed(were, shares):
    return {
        key: sum(share * w[key].double() for share, w in zip(shares, were, strict=True))
        for key in were[0]
    }


def agree(average, expected):
    assert average.weights.keys() == expected.keys()
    for name, weight in average.weights.items():
        torch.testing.assert_close(weight.double(), expected[name], rtol=1e-5, atol=1e-5)


def test_the_registry_has_the_names_of_the_config():
    assert tuple(AVERAGES) == NAMES


def test_without_an_average_the_weights_are_the_plain_ones():
    average, were = walk("none", 7)
    agree(average, weighed(were, [0] * 6 + [1]))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("updates", [1, 2, 60])
def test_ema_is_a_mean_weighed_by_a_power_of_the_age(share, updates):
    average, were = walk("ema", updates, average_share=share)
    shares = []
    for steps in range(1, updates + 1):
        beta = (1 - 1 / steps) ** (1 / share - 1)
        shares = [beta * each for each in shares] + [1 - beta]
    assert sum(shares) == pytest.approx(1)
    agree(average, weighed(were, shares))


def test_emas_half_is_the_mean_of_all_weights():
    average, were = walk("ema", 50, average_share=0.5)
    agree(average, weighed(were, [1 / 50] * 50))


@pytest.mark.parametrize("share", [0.3, 0.05])
def test_emas_share_is_the_mean_age_of_what_it_averages(share):
    """Weights that grow by one at each update are, averaged, as old as the average is behind."""
    weights = {"a": torch.zeros(1, dtype=torch.float64)}
    average = AVERAGES["ema"](weights, TrainingConfig(average_share=share))
    for steps in range(1, 4001):
        weights["a"] += 1
        average.updated(steps)
    assert (4000 - float(average.weights["a"])) / 4000 == pytest.approx(share, rel=0.02)


def test_nt_asgd_is_the_mean_since_validation_stopped_getting_better():
    # With a wait of 2, it is 1.7 that is worse than the best of all but the last two.
    figures = dict(zip(range(5, 60, 5), [3, 2, 1.6, 1.8, 1.55, 1.7, 1, 9, 1, 1, 1], strict=True))
    average, were = walk("nt-asgd", 58, validations=figures, average_wait=2)
    mean = {key: sum(w[key].double() for w in were[29:]) / len(were[29:]) for key in were[0]}
    agree(average, mean)


def test_nt_asgd_does_not_begin_while_validation_gets_better():
    figures = {steps: 10 - np.log(steps) for steps in range(1, 30)}
    average, were = walk("nt-asgd", 30, validations=figures, average_wait=1)
    agree(average, {key: weight.double() for key, weight in were[-1].items()})


def test_nt_asgd_that_begins_now_keeps_the_weights_of_now():
    average, were = walk("nt-asgd", 3, validations={1: 1.0, 2: 2.0, 3: 3.0}, average_wait=1)
    agree(average, {key: weight.double() for key, weight in were[-1].items()})
