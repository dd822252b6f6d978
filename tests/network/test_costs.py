"""What tokens of a large vocabulary cost, by blocks of it, against the softmax of all of it."""

import numpy as np
import pytest
import torch

from charlm.config import NetworkConfig
from charlm.measuring.parallel import SteppedReader, text_figures
from charlm.network import build, costs
from charlm.sampling.engine import NumpyEngine
from charlm.training.initialise import initial_weights
from charlm.training.validate import ScannedReader

V, D, N = 2 * costs.WORDS + 3, 8, 50


@pytest.mark.parametrize("xp", [np, torch], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("size", [1, costs.WORDS, costs.WORDS + 1, V])
def test_the_costs_are_those_of_the_whole_softmax(xp, size):
    rng = np.random.default_rng(1)
    weight, bias = 5 * rng.normal(size=(size, D)), 5 * rng.normal(size=size)
    x, ids = rng.normal(size=(N, D)), rng.integers(0, size, N)
    given = [array.astype(np.float32) for array in (x, weight, bias)]
    x, weight, bias = (array.astype(np.float64) for array in given)
    logits = x @ weight.T + bias
    nats = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    arrays = [torch.from_numpy(array) if xp is torch else array for array in (*given, ids)]
    found, best, best_nats = map(np.asarray, costs.costs(xp, *arrays))
    np.testing.assert_allclose(found, nats - logits[range(N), ids], atol=1e-4)
    np.testing.assert_array_equal(best, logits.argmax(1))
    np.testing.assert_allclose(best_nats, nats - logits.max(1), atol=1e-4)


SHAPES = {
    "plain": {},
    "tied": {"tied": True, "embedding": 4},
    "several": {"members": 2},
    "mixture": {"mixtures": 2},
    "adaptive": {"adaptive": True},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_text_costs_the_same_with_and_without_all_its_logits(shape, monkeypatch):
    config = NetworkConfig(cell="gru", width=D, norm="none", **shape)
    network = build(config, V)
    weights = initial_weights(network, 1)
    arrays = {name: weight.numpy() for name, weight in weights.items()}
    ids = np.random.default_rng(1).integers(0, V, 1500)

    def readers():
        with torch.no_grad():
            yield SteppedReader(NumpyEngine(network, arrays), favourites=True)
            yield ScannedReader(network, network.arrange(weights))

    with torch.no_grad():
        whole = [text_figures(reader, ids)[0] for reader in readers()]
        monkeypatch.setattr("charlm.network.head.WIDE", 2)
        blocked = [text_figures(reader, ids)[0] for reader in readers()]
    for one, other in zip(whole, blocked, strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=1e-4)
    np.testing.assert_array_equal(whole[0][1], blocked[0][1])
    np.testing.assert_allclose(whole[0][2], blocked[0][2], atol=1e-4)
    assert network.is_wide is (shape.keys().isdisjoint({"members", "mixtures", "adaptive"}))


def test_what_only_leads_to_a_state_makes_no_logits(monkeypatch):
    monkeypatch.setattr("charlm.network.head.WIDE", 2)
    network = build(NetworkConfig(cell="gru", width=D), V)
    arrays = {name: weight.numpy() for name, weight in initial_weights(network, 1).items()}
    engine, priced = NumpyEngine(network, arrays), []
    costs_of = engine.costs
    monkeypatch.setattr(engine, "step", None)
    monkeypatch.setattr(engine, "costs", lambda x, ids: priced.append(len(ids)) or costs_of(x, ids))
    text_figures(SteppedReader(engine), np.random.default_rng(1).integers(0, V, 2000))
    assert sum(priced) == 2000  # each once, though the chunks are warmed up
