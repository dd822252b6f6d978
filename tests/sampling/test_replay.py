"""Recorded computations: what a replay returns, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

from charlm import ops
from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.sampling.engine import ALIKE_STEPS, NumpyEngine
from charlm.sampling.replay import NotRecordableError, Recording
from charlm.training.initialise import initial_weights

V, WIDTH = 11, 16


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def made(cell: str, **more) -> NumpyEngine:
    network = build(NetworkConfig(cell=cell, width=WIDTH, layers=2, **more), V)
    weights = {n: w.numpy() for n, w in initial_weights(network, 1).items()}
    # What begins as zeros would hide what comes before it.
    weights = {n: w if w.any() else w + 0.1 for n, w in weights.items()}
    return NumpyEngine(network, weights)


COMPUTATIONS = {
    "arithmetic": lambda x, y: [(x * 2 + y - 1) / (1.5 + x * x), -x],
    "slices": lambda x, y: [x[:, 1:3] * y[:, :2], x[:, None, ::2] + 1.0],
    "views of results": lambda x, y: [(x @ y.T).T[1:], (x + y).reshape(2, 6)],
    "a reshape that copies": lambda x, y: [x.T.reshape(3, 4) + y],
    "sums": lambda x, y: [x.sum(axis=-1, keepdims=True) * y, (x * y).sum(-1)],
    "functions of arrays": lambda x, y: [np.concatenate((x, y + 1), -1), np.where(x > 0, x, y)],
    "greater and smaller": lambda x, y: [np.maximum(x, y), np.minimum(x, 0.25), x.clip(-0.5)],
    "inputs as they are": lambda x, y: [y, x],
    "products of stacks": lambda x, y: [x.reshape(3, 2, 2) @ y.reshape(3, 2, 2)],
    "unpacked": lambda x, y: [sum(row * 2 for row in x), len(x) * y],
}


@pytest.mark.parametrize("compute", COMPUTATIONS.values(), ids=COMPUTATIONS)
def test_a_replay_returns_what_the_computation_would(compute):
    recording = Recording(compute, [random(3, 4), random(3, 4)])
    for seed in (1, 2):
        inputs = [random(3, 4, seed=seed), random(3, 4, seed=seed + 10)]
        for found, expected in zip(recording(*inputs), compute(*inputs), strict=True):
            assert found.dtype == np.asarray(expected).dtype
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("compute", COMPUTATIONS.values(), ids=COMPUTATIONS)
def test_a_copy_that_was_replayed_before_is_as_good(compute):
    recording = Recording(compute, [random(3, 4), random(3, 4)])
    recording(random(3, 4, seed=1), random(3, 4, seed=2))
    inputs = [random(3, 4, seed=3), random(3, 4, seed=4)]
    for found, expected in zip(copy.deepcopy(recording)(*inputs), compute(*inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_replay_during_another_has_memory_of_its_own():
    """As from another thread, which comes in between two operations."""
    inner = []

    def compute(x):
        return [(x + 1) * 2]

    recording = Recording(compute, [random(3)])
    (tape,) = recording._idle
    tape.runs.insert(1, lambda: inner.append(recording(random(3, seed=2))))
    x = random(3, seed=1)
    np.testing.assert_array_equal(recording(x), compute(x))
    np.testing.assert_array_equal(inner, [compute(random(3, seed=2))])


@pytest.mark.parametrize("way", [copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))])
@pytest.mark.parametrize("cell", CELLS)
def test_a_copy_of_an_engine_steps_as_it_does(cell, way):
    engine = made(cell)
    ids = np.array([3])
    logits, state = engine.step(ids, engine.initial_state(1))
    copied = way(engine)
    for one in (engine, copied):
        found, _ = one.step(ids, one.initial_state(1))
        np.testing.assert_array_equal(found, logits)
    for found, expected in zip(copied.step(ids, state), engine.step(ids, state), strict=True):
        np.testing.assert_equal(found, expected)


def test_rows_of_a_table_are_looked_up_in_every_replay():
    table, x = random(5, 3), random(2, 3)
    recording = Recording(lambda ids, x: [ops.lookup(np, table, ids) + x], [np.array([0, 4]), x])
    for ids in ([1, 1], [4, 0]):
        found = recording(np.array(ids), x)
        np.testing.assert_array_equal(found, [table[ids] + x])


def test_what_nothing_depends_on_is_not_computed():
    used = Recording(lambda x: [(x + 1)[:, 1:] * 2], [random(3, 4)])
    more = Recording(lambda x: [((x + 1)[:, 1:] * 2, x.sum(-1), x * 3)[0]], [random(3, 4)])
    assert [len(one._idle[0].runs) for one in (more, used)] == [2, 2]
    np.testing.assert_array_equal(used(random(3, 4, seed=1)), more(random(3, 4, seed=1)))


def test_a_replay_changes_neither_its_inputs_nor_what_it_returned_before():
    recording = Recording(lambda x: [x, x + 1, x[:2]], [random(3)])
    first = random(3, seed=1)
    kept = first.copy()
    found = recording(first)
    expected = [f.copy() for f in found]
    recording(random(3, seed=2))
    np.testing.assert_array_equal(first, kept)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: [x * int(x.sum())],
        lambda x: [x if x.sum() > 0 else -x],
        lambda x: [np.arange(3)[x.argmax()]],
        lambda x: [np.add.accumulate(x)],
    ],
    ids=["a number", "a branch", "an index", "an accumulation"],
)
def test_what_depends_on_the_numbers_is_refused(compute):
    with pytest.raises(NotRecordableError):
        Recording(compute, [random(3)])


def test_a_name_that_arrays_lack_is_an_attribute_error():
    with pytest.raises(AttributeError):
        Recording(lambda x: [x.nonsense()], [random(3)])


@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_step_of_one_row_is_the_networks(cell, tied):
    engine = made(cell, tied=tied)
    network, w = engine.network, engine._w
    state = expected_state = engine.initial_state(1)
    for id in [V, 3, 3, 0, 10, 7]:
        logits, state = engine.step(np.array([id]), state)
        expected, expected_state = network.step(np, w, np.array([id]), expected_state)
        np.testing.assert_array_equal(logits, expected)
        for found, part in zip(state, expected_state, strict=True):
            for a, b in zip(found, part, strict=True):
                np.testing.assert_array_equal(a, b)
    assert engine._recordings.keys() == {1}


@pytest.mark.parametrize("cell", CELLS)
def test_the_step_of_many_rows_is_the_networks(cell):
    engine = made(cell)
    network, rng = engine.network, np.random.default_rng(0)
    kept = []
    for rows in (1, 3, 1, 5, 3):
        state = expected_state = engine.initial_state(rows)
        for _ in range(ALIKE_STEPS + 3):
            ids = rng.integers(0, V, rows)
            logits, state = engine.step(ids, state)
            w = engine._w if rows == 1 else engine._columns
            read = network.read(np, engine._w, ids)
            expected, expected_state = network.advance(np, w, read, expected_state)
            np.testing.assert_array_equal(logits, expected)
            for found, part in zip(state, expected_state, strict=True):
                for a, b in zip(found, part, strict=True):
                    np.testing.assert_array_equal(a, b)
        kept.append({*engine._recordings})
    assert kept == [{1}, {1, 3}, {1, 3}, {1, 5}, {1, 3}]


def test_where_rows_come_and_go_nothing_is_recorded():
    engine = made("lstm")
    for rows in [2, 3] * ALIKE_STEPS:
        engine.step(np.zeros(rows, int), engine.initial_state(rows))
    assert not engine._recordings


def test_a_network_that_looks_at_its_state_is_stepped_as_it_is():
    engine = made("lstm", attention=True, memory=4)
    state = expected_state = engine.initial_state(1)
    for id in [V, 1, 2, 3, 4, 5, 6]:
        logits, state = engine.step(np.array([id]), state)
        expected, expected_state = engine.network.step(
            np, engine._w, np.array([id]), expected_state
        )
        np.testing.assert_array_equal(logits, expected)
    assert not engine._recordings
