"""Reading while learning: nothing is learned too early, and then it is as the papers say."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from support.engines import TableEngine
from support.params import quick

from charlm.adaptation import Reader, learner, reader_of, text_nats
from charlm.adaptation.cache import FIRST, Cache
from charlm.cells import CELLS
from charlm.config import PLAINLY, AdaptationConfig, NetworkConfig
from charlm.errors import ConfigError, DataError
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights

V = 7
# float32 against float64, after some updates that divide by what may be small.
TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}

NETWORKS = {cell: {"cell": cell} for cell in CELLS} | {
    "mixed": {"cell": "mingru,lstm", "norm": "rms", "residual": True, "feed_forward": True},
    "attention": {"cell": "gru", "layers": 2, "attention": True, "memory": 9},
    "tied": {"cell": "gru", "tied": True, "norm": "layer"},
}
every_network = pytest.mark.parametrize(
    "kind", quick(["gru", "rwkv", "mixed", "attention", "tied"], NETWORKS)
)
ADAPT = AdaptationConfig(adapt="all", adapt_lr=0.01, adapt_decay=0.02, adapt_context=5)
CACHE = AdaptationConfig(cache=6, cache_weight=0.3, cache_flatness=5)
BOTH = AdaptationConfig.from_dict(
    ADAPT.to_dict() | {"cache": 6, "cache_weight": 0.3, "cache_flatness": 5.0}
)
WAYS = {"adapt": ADAPT, "cache": CACHE, "both": BOTH}
every_way = pytest.mark.parametrize("way", WAYS)


def make(kind="gru"):
    network = Network(NetworkConfig(width=16, **NETWORKS[kind]), V)
    weights = initial_weights(network, 1)
    generator = torch.Generator().manual_seed(1)
    for weight in weights.values():  # scales of 1 and shifts of 0 would hide mistakes
        weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network, {name: weight.numpy() for name, weight in weights.items()}


def random_ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, V, count)


def distributions(reader, ids):
    """The probabilities (T + 1, V) before each of ids, and after the last."""
    found = []
    for id in [*ids.tolist(), None]:
        found.append(np.exp(reader.logits[0] - np.logaddexp.reduce(reader.logits[0])))
        if id is not None:
            reader.read(id)
    return np.array(found)


def naive(network, weights, config, records):
    """The nats of the records' ids one after another, by the formulas, in float64, step by step."""
    theta = {name: torch.tensor(w, dtype=torch.float64) for name, w in weights.items()}
    trained = dict(theta)
    squares = [dict.fromkeys(theta, 0.0)]
    pieces, past, nats = [], [], []

    def learn():
        leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
        loss = 0.0
        for state, inputs, targets in pieces:
            for id, target in zip(inputs, targets, strict=True):
                logits, state = network.step(
                    torch, network.arrange(leaves), torch.tensor([id]), state
                )
                loss = loss - torch.log_softmax(logits[0], 0)[target] / config.adapt_context
        g = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        squares.append({name: squares[-1][name] + g[name] ** 2 for name in g})
        root = {name: (m / (len(squares) - 1)) ** 0.5 for name, m in squares[-1].items()}
        size = sum(r.sum() for r in root.values()) / sum(r.numel() for r in root.values())
        for name, r in root.items():
            back = (config.adapt_decay * r / size).clamp(max=1) * (trained[name] - theta[name])
            step = config.adapt_lr * g[name] / (r + learner.EPSILON * size)
            theta[name] = theta[name] + back - step

    for ids in records:
        state = network.initial_state(torch, network.arrange(theta), 1)
        pieces.append((state, [], []))
        last = network.start
        for id in ids.tolist():
            before = state
            w = network.arrange(theta)
            h, state = network.features(torch, w, torch.tensor([last]), state)
            p = torch.softmax(network.logits(torch, w, h)[0], 0)
            if config.cache is not None and past:
                seen = past[-config.cache :]
                likeness = [float(torch.cosine_similarity(h[0], one, 0)) for one, _ in seen]
                shares = [math.exp(config.cache_flatness * each) for each in likeness]
                cached = sum(s for s, (_, one) in zip(shares, seen, strict=True) if one == id)
                p = (1 - config.cache_weight) * p + config.cache_weight * cached / sum(shares)
            nats.append(-math.log(p[id]))
            past.append((h[0], id))
            if not pieces:
                pieces.append((before, [], []))
            pieces[-1][1].append(last)
            pieces[-1][2].append(id)
            if (
                config.adapts_network
                and sum(len(targets) for _, _, targets in pieces) == ADAPT.adapt_context
            ):
                learn()
                pieces.clear()
            last = id
    return np.array(nats)


@every_network
@pytest.mark.parametrize("way", ["cache", "both"])
def test_equals_the_formulas_in_a_naive_loop(kind, way):
    network, weights = make(kind)
    ids = random_ids(23)
    found = text_nats(reader_of(network, weights, WAYS[way]), ids)
    np.testing.assert_allclose(found, naive(network, weights, WAYS[way], [ids]), **TOLERANCE)


@every_way
def test_records_begin_anew_and_what_was_learned_is_kept(way):
    network, weights = make()
    records = [random_ids(count, seed=count) for count in (3, 1, 14, 2)]
    ends = [np.append(np.where(ids == 0, 1, ids), 0) for ids in records]
    found = text_nats(reader_of(network, weights, WAYS[way]), np.concatenate(ends), 0)
    np.testing.assert_allclose(found, naive(network, weights, WAYS[way], ends), **TOLERANCE)


@every_network
@every_way
@pytest.mark.parametrize("t", quick([4, 5], [0, 4, 5, 12]))
def test_nothing_is_learned_before_it_was_predicted(kind, way, t):
    """What is expected at t depends on what comes before t alone, to the bit."""
    network, weights = make(kind)
    ids = random_ids(20)
    other = ids.copy()
    other[t:] = (other[t:] + 1) % V
    first = distributions(reader_of(network, weights, WAYS[way]), ids)
    second = distributions(reader_of(network, weights, WAYS[way]), other)
    np.testing.assert_array_equal(first[: t + 1], second[: t + 1])
    assert not np.array_equal(first[t + 1], second[t + 1])


@every_network
@every_way
def test_what_is_expected_sums_to_one(kind, way):
    network, weights = make(kind)
    found = distributions(reader_of(network, weights, WAYS[way]), random_ids(20))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@every_network
@pytest.mark.parametrize(
    "config",
    [
        PLAINLY,
        AdaptationConfig(adapt="all", adapt_lr=0, adapt_context=5),
        AdaptationConfig(cache=6, cache_weight=0),
    ],
)
def test_what_changes_nothing_equals_plain_reading(kind, config):
    network, weights = make(kind)
    ids = random_ids(40)
    plain, _ = token_nats(NumpyEngine(network, weights), ids)
    found = text_nats(reader_of(network, weights, config), ids)
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)


@every_way
def test_the_same_text_gives_the_same_to_the_bit(way):
    network, weights = make()
    ids = random_ids(40)
    first, second = (text_nats(reader_of(network, weights, WAYS[way]), ids) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("config", [PLAINLY, BOTH])
def test_what_ran_before_with_several_threads_changes_nothing(config):
    """A table over the vocabulary was made by as many threads as the last engine had wanted."""
    network = Network(NetworkConfig(width=384), 103)
    weights = {name: weight.numpy() for name, weight in initial_weights(network, 1).items()}
    found = []
    for _ in range(2):
        NumpyEngine(network, weights)  # large enough for several threads
        found.append(text_nats(reader_of(network, weights, config), random_ids(12)))
    found.append(text_nats(reader_of(network, weights, config), random_ids(12)))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])


def test_the_models_own_weights_stay_as_they_are():
    network, weights = make()
    before = {name: weight.copy() for name, weight in weights.items()}
    text_nats(reader_of(network, weights, ADAPT), random_ids(40))
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, before[name])


@pytest.mark.parametrize("kind", quick(["gru", "tied"], NETWORKS))
@pytest.mark.parametrize(
    "config", [ADAPT, AdaptationConfig(cache=60, cache_weight=0.5, cache_flatness=30)]
)
def test_a_pattern_that_repeats_gets_cheaper(kind, config):
    network, weights = make(kind)
    pattern = random_ids(12)
    nats = text_nats(reader_of(network, weights, config), np.tile(pattern, 20))
    plain, _ = token_nats(NumpyEngine(network, weights), np.tile(pattern, 20))
    assert nats[-48:].mean() < 0.9 * plain[-48:].mean()


def test_decay_draws_back_to_the_trained_weights():
    network, weights = make()
    ids = random_ids(200)
    apart = []
    for decay in (0.0, 0.05, 1.0):
        config = AdaptationConfig(adapt="all", adapt_decay=decay, adapt_context=5)
        one = learner.Learner(network, weights, config)
        text_nats(Reader(NumpyEngine(network, one.weights, fixed=False), one), ids)
        apart.append(sum(((one.weights[name] - w) ** 2).sum() for name, w in weights.items()))
    assert apart[0] > apart[1] > apart[2] > 0


def test_what_is_known_beforehand_is_not_learned():
    network, weights = make()
    reader, plain = reader_of(network, weights, BOTH), reader_of(network, weights, PLAINLY)
    for id in random_ids(20).tolist():
        reader.given(id)
        plain.given(id)
    np.testing.assert_allclose(reader.logits - reader.logits.max(),
                               plain.logits - plain.logits.max(), rtol=1e-4, atol=1e-5)  # fmt: skip


def test_the_cache_forgets_what_lies_farther_back_and_grows_as_it_is_filled():
    rng = np.random.default_rng(0)
    count, size = 3 * FIRST, 2 * FIRST + 5
    features = rng.standard_normal((count, 4)).astype(np.float32)
    ids = rng.integers(0, V, count)
    cache = Cache(size, 0.5, 0.7)
    for one, id in zip(features, ids, strict=True):
        cache.add(one, int(id))
    found = np.exp(cache.mixed(features[0], np.zeros((1, V), np.float32)))[0]
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    weights = np.exp(0.7 * units[-size:].astype(float) @ units[0])
    cached = [weights[ids[-size:] == id].sum() / weights.sum() for id in range(V)]
    np.testing.assert_allclose(found, 0.5 / V + 0.5 * np.array(cached), rtol=1e-5)


def test_the_cache_takes_any_features():
    """Neither huge ones nor logits that leave nothing to the others overflow."""
    cache = Cache(3, 0.1, 1000.0)
    huge = np.full(4, 1e15, dtype=np.float32)
    cache.add(huge, 1)
    found = cache.mixed(huge, np.array([[0, -1e5, -1e5]], dtype=np.float32))
    np.testing.assert_allclose(np.exp(found[0]), [0.9, 0.1, 0], atol=1e-12)


class Engine(TableEngine):
    """A table whose features are the ids that were read."""

    def features(self, ids, state):
        logits, state = self.step(ids, state)
        self.found = logits
        return np.eye(len(self.logits), dtype=np.float32)[ids], state

    def head(self, features):
        return self.found


def test_a_cache_finds_a_bigram_that_the_model_does_not_know():
    reader = Reader(Engine(np.zeros((V + 1, V))), cache=Cache(100, 0.9, 50.0))
    for id in [1, 2, 3, 1, 2, 4, 1]:
        reader.read(id)
    found = np.exp(reader.logits[0])
    np.testing.assert_allclose(found[2], 0.1 / V + 0.9)


def test_a_model_that_diverges_is_told():
    network, weights = make()
    weights["head.weight"] = weights["head.weight"] * np.float32(1e30)
    with pytest.raises(DataError, match="lower --adapt-lr"):
        text_nats(reader_of(network, weights, ADAPT), random_ids(20))


@pytest.mark.parametrize("name", ["adapt_lr", "adapt_decay", "cache_weight", "cache_flatness"])
def test_what_has_no_effect_is_refused(name):
    with pytest.raises(ConfigError, match=f"give --{name.split('_')[0]}, too"):
        AdaptationConfig(**{name: 0.5})


def test_what_learns_is_not_copied():
    """Its weights are views of one memory: those of a copy would learn nothing."""
    network, weights = make()
    reader = reader_of(network, weights, ADAPT)
    for way in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="one memory"):
            way(reader)
