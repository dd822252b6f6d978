"""The bidirectional network: a symbol is predicted from everything else and never from itself."""

import numpy as np
import pytest
import torch

from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.corpus import Corpus
from charlm.errors import ConfigError
from charlm.network import Bidirectional, build
from charlm.network.bidirectional import DISTANCES
from charlm.network.stack import Stack
from charlm.training import both_sides
from charlm.training.initialise import initial_weights
from charlm.training.streams import IGNORED, Batch, ContiguousStreams, RecordStreams
from charlm.training.validate import validate

V, T = 9, 23
every_cell = pytest.mark.parametrize("cell", CELLS)


def make(cell="gru", **knobs):
    network = build(NetworkConfig(cell=cell, width=16, bidirectional=True, **knobs), V)
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: weight + 0.1 * torch.randn(weight.shape, generator=generator)
        for name, weight in initial_weights(network, 1).items()
    }
    return network, weights


def batch_of(text):
    """One batch that reads `text` (B, T) from its beginning to its end."""
    inputs = np.concatenate([np.full((len(text), 1), V), text[:, :-1]], axis=1)
    return Batch(inputs, text, np.ones(len(text), dtype=bool), text)


def logits_of(network, weights, text, distances=None):
    batch = batch_of(text)
    w = network.arrange(weights)
    after = both_sides.after(batch, V, torch.device("cpu"), distances)
    state = network.initial_state(torch, w, len(text))
    return network.scan(torch, w, torch.from_numpy(batch.inputs), state, after=after)[0]


@every_cell
@pytest.mark.parametrize(
    "options", [{}, {"attention": True, "memory": 5}], ids=["plain", "attends"]
)
def test_no_symbol_leaks_into_its_own_prediction_and_every_other_does(cell, options):
    network, weights = make(cell, **options)
    text = np.random.default_rng(0).integers(0, V, (1, T))
    before = logits_of(network, weights, text)
    for place in (0, 1, T // 2, T - 2, T - 1):
        changed = text.copy()
        changed[0, place] = (text[0, place] + 1) % V
        moved = (logits_of(network, weights, changed) - before)[0].abs().amax(-1)
        assert moved[place] == 0
        beside = [t for t in (place - 1, place + 1) if 0 <= t < T]
        assert all(moved[t] > 0 for t in beside)


@pytest.mark.parametrize("distance", [1, 2, 5, DISTANCES, 0])
def test_a_place_sees_nothing_nearer_on_its_right_than_its_distance(distance):
    network, weights = make()
    text = np.random.default_rng(0).integers(0, V, (1, T))
    distances = np.full((1, T), distance)
    before = logits_of(network, weights, text, distances)
    place = T // 2
    changed = text.copy()
    changed[0, place] = (text[0, place] + 1) % V
    moved = (logits_of(network, weights, changed, distances) - before)[0].abs().amax(-1)
    unseen = range(place, -1, -1) if distance == 0 else range(place, max(place - distance, -1), -1)
    assert all(moved[t] == 0 for t in unseen)
    if 0 < distance <= place:
        assert moved[place - distance] > 0
    assert moved[place + 1] > 0


def test_the_merge_is_of_what_each_side_has_read():
    """Each place by hand: two stacks read their side alone, and the merge has nothing else."""
    network, weights = make()
    text = np.random.default_rng(0).integers(0, V, (1, T))
    found = logits_of(network, weights, text)
    w = network.arrange(weights)

    def read(stack, own, ids):
        x = w["embedding"][torch.tensor([[V, *ids]])]
        y, _ = stack.scan(torch, own, x, stack.initial_state(torch, 1, x))
        return y[:, -1]

    for t in range(T):
        left = read(network.stack, w["stack"], text[0, :t])
        right = read(network.right, w["right"], text[0, :t:-1])
        expected = network.merge(torch, w, left, right, torch.tensor([1]))
        torch.testing.assert_close(found[:, t], expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_weight():
    network, weights = make()
    for weight in weights.values():
        weight.requires_grad_()
    text = np.random.default_rng(0).integers(0, V, (2, 60))
    distances = both_sides.draw_distances(np.random.default_rng(0), text.shape)
    logits = logits_of(network, weights, text, distances)
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(text).flatten()
    ).backward()
    for name, weight in weights.items():
        assert weight.grad.abs().max() > 0, name


def test_distances_are_next_or_nothing_and_sometimes_anything():
    found = both_sides.draw_distances(np.random.default_rng(0), (100, 100))
    assert set(np.unique(found)) == set(range(DISTANCES + 1))
    assert abs((found == 1).mean() - both_sides.NEXT_SHARE) < 0.02
    assert abs((found == 0).mean() - both_sides.NOTHING_SHARE) < 0.02
    assert (found == 2).sum() > (found == 3).sum() > (found == 10).sum()


@pytest.mark.parametrize("kind", ["contiguous", "records"])
def test_the_window_is_the_text_from_the_first_target_on(kind):
    ids = np.random.default_rng(0).integers(1, V, 300)
    ids[20::20] = 0
    if kind == "contiguous":
        streams = ContiguousStreams(ids, rows=3, context=16, start=V, ahead=10)
    else:
        streams = RecordStreams(ids, boundary=0, rows=3, context=16, start=V, ahead=10)
    for batch in streams.batches(0):
        assert batch.window.shape == (len(batch.targets), batch.targets.shape[1] + 10)
        counts = batch.targets != IGNORED
        shown = batch.window[:, : batch.targets.shape[1]]
        np.testing.assert_array_equal(shown[counts], batch.targets[counts])
        for row in batch.window:
            known = row[row >= 0]
            assert (row[: len(known)] >= 0).all(), "nothing follows the end"
            if kind == "records":
                assert (known[:-1] != 0).all(), "nothing of another record"
            text = "".join(map(str, known))
            assert text in "".join(map(str, ids))


def test_validation_predicts_every_token_once_from_both_sides(corpus):
    data = Corpus(corpus)
    network = build(NetworkConfig(width=16, bidirectional=True), data.tokenizer.vocabulary)
    weights = {name: torch.zeros_like(w) for name, w in initial_weights(network, 1).items()}
    score = validate(network, weights, data)
    assert score.tokens == data.size("val").tokens
    assert score.nats == pytest.approx(score.tokens * np.log(network.vocabulary), rel=1e-6)


def test_both_stacks_have_the_parts_that_the_options_ask_for():
    network, _ = make("lstm", layers=2, attention=True, feed_forward=True)
    assert isinstance(network, Bidirectional)
    assert isinstance(network.right, Stack)
    names = [part.name for part in network.right.parts]
    assert names == [
        name.replace("left.", "right.") for name in (part.name for part in network.stack.parts)
    ]
    assert len(names) == 5


def test_tied_weights_are_refused():
    with pytest.raises(ConfigError, match="tied"):
        make(tied=True)
