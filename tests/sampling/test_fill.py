"""Filling gaps, with small networks of random weights, against the network's own scan."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.sampling import fill
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.fill import FOLLOWING, Filler, Gapped
from charlm.score import token_nats
from charlm.training import both_sides
from charlm.training.initialise import initial_weights
from charlm.training.streams import Batch

V = 9
# The texts around one gap: in the middle, at the very beginning, at the very end, and alone.
PLACES = {"middle": (14, 11), "beginning": (0, 6), "end": (7, 0), "alone": (0, 0)}


def make(cell="gru", **shape):
    network = build(NetworkConfig(cell=cell, width=12, bidirectional=True, **shape), V)
    weights = initial_weights(network, 1)
    generator = torch.Generator().manual_seed(1)
    for weight in weights.values():  # far from their beginning, so that every part matters
        weight += 0.4 * torch.randn(weight.shape, generator=generator)
    return network, weights


def filler(made=None, **settings):
    network, weights = made or make()
    return Filler(network, {name: weight.numpy() for name, weight in weights.items()}, **settings)


def known(*sizes):
    rng = np.random.default_rng(5)
    return [rng.integers(0, V, size) for size in sizes]


def gapped(*pieces):
    return Gapped(list(pieces), [[] for _ in pieces[1:]])


def ids_of(fillings):
    return [[drawn.ids for drawn in gaps] for gaps in fillings]


def scanned(made, text, distances):
    """What torch says comes at each place (T, V) of a text read whole, from both sides."""
    network, weights = made
    ids = np.concatenate(text).astype(np.int64)[None]
    inputs = np.concatenate([[[network.start]], ids[:, :-1]], axis=1)
    batch = Batch(inputs, ids, np.array([True]), ids)
    after = both_sides.after(batch, network.start, torch.device("cpu"), distances[None])
    w = network.arrange(weights)
    with torch.no_grad():
        state = network.initial_state(torch, w, 1)
        logits, _ = network.scan(torch, w, torch.from_numpy(inputs), state, after=after)
    return logits[0].numpy()


def gap_distances(text, gap, *, nothing=False):
    """The distances at each place of a text whose piece number `gap` is a gap."""
    before, size = sum(map(len, text[:gap])), len(text[gap])
    distances = np.ones(sum(map(len, text)), dtype=np.int64)
    distances[before : before + size] = 0 if nothing else np.arange(size, 0, -1)
    return distances, slice(before, before + size)


class Spy:
    """A processor that changes nothing and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def __call__(self, logits, histories):
        self.seen.append(logits)
        return logits


def assert_seen(seen, made, text, gap, *, nothing=False):
    distances, places = gap_distances(text, gap, nothing=nothing)
    expected = scanned(made, text, distances)[places]
    # An mLSTM divides by what may be small, and the two engines round in different places.
    np.testing.assert_allclose(np.concatenate(seen), expected, rtol=5e-4, atol=5e-4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("place", PLACES)
def test_a_gap_is_drawn_from_what_scan_says(cell, place):
    made, spy = make(cell), Spy()
    before, after = known(*PLACES[place])
    ((drawn,),) = filler(made, processors=[spy]).fill(gapped(before, after), [[5]])
    assert len(drawn.ids) == 5
    assert_seen(spy.seen, made, [before, drawn.ids, after], 1, nothing=not len(after))


@pytest.mark.parametrize(
    "shape", [{"layers": 2}, {"layers": 2, "attention": True, "memory": 4}, {"norm": "layer"}]
)
def test_other_shapes_are_drawn_from_what_scan_says(shape):
    made, spy = make(**shape), Spy()
    before, after = known(9, 8)
    ((drawn,),) = filler(made, processors=[spy]).fill(gapped(before, after), [[4]])
    assert_seen(spy.seen, made, [before, drawn.ids, after], 1)


def test_a_gap_longer_than_the_farthest_distance_is_drawn_from_what_scan_says():
    made, spy = make(), Spy()
    before, after = known(5, 5)
    ((drawn,),) = filler(made, processors=[spy]).fill(gapped(before, after), [[40]])
    assert_seen(spy.seen, made, [before, drawn.ids, after], 1)


def test_the_first_of_two_gaps_does_not_see_the_second():
    made, spy = make(), Spy()
    a, b, c = known(6, 3, 7)
    ((first, second),) = filler(made, processors=[spy]).fill(gapped(a, b, c), [[4], [2]])
    assert_seen(spy.seen[:4], made, [a, first.ids, b, c], 1)
    assert_seen(spy.seen[4:], made, [a, first.ids, b, second.ids, c], 3)


@pytest.mark.parametrize("sizes", [(6, 3, 7), (4, 0, 5), (4, 3, 0), (0, 0, 0)])
def test_a_further_pass_sees_all_other_gaps(sizes):
    made, spy = make(), Spy()
    a, b, c = known(*sizes)
    ((_, old),) = filler(made).fill(gapped(a, b, c), [[4], [2]])
    ((first, second),) = filler(made, processors=[spy]).fill(gapped(a, b, c), [[4], [2]], passes=1)
    assert_seen(spy.seen[6:10], made, [a, first.ids, b, old.ids, c], 1)
    assert_seen(spy.seen[10:], made, [a, first.ids, b, second.ids, c], 3, nothing=not len(c))


def scanned_nats(made, text, gap):
    distances, places = gap_distances(text, gap)
    logits = torch.from_numpy(scanned(made, text, distances)[places])
    targets = torch.tensor(text[gap])
    return float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))


def test_the_likelihood_is_that_of_scan():
    made = make()
    before, after = known(9, 8)
    ((drawn,),) = filler(made).fill(gapped(before, after), [[6]])
    expected = scanned_nats(made, [before, drawn.ids, after], 1)
    assert drawn.nats == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("sizes", [(3, 4, 5, 2), (0, 0, 0, 0), (0, 4, 0, 0)])
def test_known_lengths_are_kept_through_all_passes(sizes):
    fillings = filler().fill(gapped(*known(*sizes)), [[1], [7], [3]], samples=3, passes=2)
    assert [[len(ids) for ids in gaps] for gaps in ids_of(fillings)] == [[1, 7, 3]] * 3


def test_of_several_lengths_the_one_that_reads_best_is_kept():
    """Each candidate is what its length alone gives; the left side alone judges it."""
    made = make()
    network, weights = made
    engine = NumpyEngine(network, {name: weight.numpy() for name, weight in weights.items()})
    chosen = set()
    for seed in range(12):
        before, after = known(8 + seed, 50)
        text = gapped(before, after)
        candidates = [next(filler(made).fill(text, [[n]], seed=[seed]))[0].ids for n in range(2, 8)]
        wholes = [np.concatenate([before, ids, after[:FOLLOWING]]) for ids in candidates]
        nats = [token_nats(engine, whole.astype(np.int64))[0].sum() for whole in wholes]
        ((drawn,),) = filler(made).fill(text, [range(2, 8)], seed=[seed])
        assert drawn.ids == candidates[int(np.argmin(nats))]
        chosen.add(len(drawn.ids))
    assert len(chosen) > 1


def test_where_nothing_follows_a_gap_is_as_long_as_it_can_be():
    ((drawn,),) = filler().fill(gapped(*known(5, 0)), [range(2, 7)])
    assert len(drawn.ids) == 6


def test_each_sample_reads_a_gap_of_its_own_length():
    made = make(layers=2, attention=True, memory=6)
    a, b, c = known(5, 4, 6)
    fillings = list(filler(made).fill(gapped(a, b, c), [range(2, 5), [3]], samples=20))
    assert len({len(first.ids) for first, _ in fillings}) > 1
    for first, second in fillings:
        expected = scanned_nats(made, [a, first.ids, b, second.ids, c], 3)
        assert second.nats == pytest.approx(expected, abs=1e-4)


def test_same_seed_same_ids_and_other_seed_others():
    text, lengths = gapped(*known(5, 4, 6)), [[6], range(3, 8)]
    found = [ids_of(filler().fill(text, lengths, seed=seed, passes=1)) for seed in ([1], [1], [2])]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_samples_are_those_of_a_smaller_number(monkeypatch):
    text, lengths = gapped(*known(5, 4, 6)), [[6], range(3, 8)]
    many = ids_of(filler().fill(text, lengths, samples=5, passes=1))
    assert many[:2] == ids_of(filler().fill(text, lengths, samples=2, passes=1))
    assert all(one != other for one, other in pairwise(many))
    monkeypatch.setattr(fill, "BATCH", 2)
    assert many == ids_of(filler().fill(text, lengths, samples=5, passes=1))


def test_a_gap_that_is_alone_is_not_drawn_again():
    text = gapped(*known(5, 4))
    once = ids_of(filler().fill(text, [[6]], samples=3))
    assert once == ids_of(filler().fill(text, [[6]], samples=3, passes=3))


def test_greedy_takes_the_likeliest_whatever_the_seed():
    spy = Spy()
    text = gapped(*known(5, 4))
    ((drawn,),) = filler(processors=[spy], greedy=True).fill(text, [[6]], seed=[1])
    assert drawn.ids == [logits[0].argmax() for logits in spy.seen]
    assert [[drawn.ids]] == ids_of(filler(greedy=True).fill(text, [[6]], seed=[2]))


def test_a_gap_begins_with_nothing_that_it_must_not_begin_with():
    text = Gapped(known(5, 4, 4), [[0, 1, 2, 3, 4, 5, 6], []])
    fillings = ids_of(filler().fill(text, [[3], [3]], samples=30, passes=1))
    assert {gaps[0][0] for gaps in fillings} == {7, 8}
    assert len({id for gaps in fillings for id in gaps[0][1:] + gaps[1]}) > 2


def test_text_is_read_so_far_and_no_farther(monkeypatch):
    monkeypatch.setattr(fill, "REACH", 10)
    a, b, c = known(30, 30, 30)
    near = gapped(a[-10:], b, c[:10])
    found = ids_of(filler().fill(gapped(a, b, c), [[5], [5]], samples=3, passes=1))
    assert found == ids_of(filler().fill(near, [[5], [5]], samples=3, passes=1))
    nearer = gapped(a[-9:], b, c[:9])
    assert found != ids_of(filler().fill(nearer, [[5], [5]], samples=3, passes=1))
