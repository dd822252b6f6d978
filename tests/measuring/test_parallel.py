"""Texts read in chunks and records read in batches: the same nats as one step at a time."""

import numpy as np
import pytest
from support.engines import TableEngine

from charlm import model_file
from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.corpus import Corpus
from charlm.measuring import parallel as module
from charlm.measuring.parallel import cold_nats, record_begins, records_nats, text_nats
from charlm.network import Network
from charlm.network.states import differ
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights

V = 7


class SumEngine(TableEngine):
    """Predicts from the sum of all ids read, and so never forgets any; counts its steps."""

    def __init__(self, modulus=V + 1):
        super().__init__(np.random.default_rng(1).standard_normal((V + 1, V)))
        self.modulus = modulus
        self.steps = 0

    def step(self, ids, state):
        self.steps += 1
        ((total,),) = state
        total = (total + ids) % self.modulus
        return self.logits[total.astype(int)], ((total,),)


def random_ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, V, count)


def one_by_one(engine, ids):
    return token_nats(engine, ids)[0]


def apart_by_records(engine, ids, boundary):
    ends = np.flatnonzero(ids == boundary) + 1
    return np.concatenate([one_by_one(engine, record) for record in np.split(ids, ends)])


@pytest.mark.parametrize("count", [0, 1, 2, 511, 1024, 1025, 5000])
def test_equals_one_token_at_a_time(table_engine, count):
    ids = random_ids(count)
    np.testing.assert_allclose(text_nats(table_engine, ids), one_by_one(table_engine, ids), 1e-6)


def test_what_is_never_forgotten_is_carried_from_chunk_to_chunk():
    ids = random_ids(6000)
    np.testing.assert_allclose(text_nats(SumEngine(), ids), one_by_one(SumEngine(), ids), 1e-6)


def test_what_is_never_forgotten_costs_little_more_than_one_stream():
    engine = SumEngine()
    text_nats(engine, random_ids(10_000))
    assert engine.steps < 1.5 * 10_000


def test_what_forgets_is_read_once():
    engine = SumEngine(modulus=1)
    text_nats(engine, random_ids(10 * module.LEAST))
    assert engine.steps == module.WARMUP + module.LEAST


@pytest.mark.parametrize("settings", [{"ROWS": 3}, {"LEAST": 64, "WARMUP": 5, "MEET": 8},
                                      {"LOGITS": 1}, {"STATE_BYTES": 300}])  # fmt: skip
def test_how_it_is_cut_changes_nothing(model, corpus, monkeypatch, settings):
    loaded = model_file.load(model)
    engine = NumpyEngine(loaded.network, loaded.weights)
    ids = Corpus(corpus).ids("train")[:3000]
    expected = one_by_one(engine, ids)
    for name, value in settings.items():
        monkeypatch.setattr(module, name, value)
    found = text_nats(engine, ids)
    assert abs(found - expected).max() < 1e-3
    assert abs(found - expected).mean() < 1e-5
    assert found.mean() == pytest.approx(expected.mean(), abs=1e-6)


@pytest.mark.parametrize("cell", [*CELLS, "gru with attention"])
def test_every_cell_reads_the_same_in_chunks(cell, monkeypatch):
    monkeypatch.setattr(module, "LEAST", 64)
    monkeypatch.setattr(module, "WARMUP", 16)
    monkeypatch.setattr(module, "MEET", 16)
    name, attention = cell.split()[0], cell.endswith("attention")
    network = Network(NetworkConfig(cell=name, width=16, attention=attention, memory=40), V)
    weights = {key: w.numpy() for key, w in initial_weights(network, 1).items()}
    engine = NumpyEngine(network, weights)
    ids = random_ids(500)
    assert abs(text_nats(engine, ids) - one_by_one(engine, ids)).mean() < 1e-5


@pytest.mark.parametrize("rows", [1, 4, 64])
@pytest.mark.parametrize("ended", [True, False])
def test_records_are_read_alone_boundary_and_all(monkeypatch, rows, ended):
    monkeypatch.setattr(module, "ROWS", rows)
    boundary = V - 1
    ids = random_ids(400)
    ids[-1] = boundary if ended else 0
    found = records_nats(SumEngine(), ids, boundary)
    np.testing.assert_allclose(found, apart_by_records(SumEngine(), ids, boundary), 1e-6)


def test_a_long_record_is_read_in_chunks(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(module, "LONG", 2048)
    boundary = V - 1
    ids = np.concatenate([random_ids(50), np.resize(random_ids(7) % boundary, 3000), [boundary]])
    engine = SumEngine(modulus=1)
    found = records_nats(engine, ids, boundary)
    assert engine.steps < 2000
    np.testing.assert_allclose(found, apart_by_records(engine, ids, boundary), 1e-6)


def test_no_ids_are_no_records():
    assert len(records_nats(SumEngine(), np.empty(0, int), 0)) == 0
    assert record_begins(np.array([3, 0, 0, 2]), 0).tolist() == [0, 2, 3]


@pytest.mark.parametrize(("count", "window"), [(2, 256), (100, 256), (257, 256), (1000, 10)])
def test_cold_windows_know_one_token(count, window):
    ids = random_ids(count)
    found = cold_nats(SumEngine(), ids, window)
    size = min(window, count - 1)
    assert found.shape == ((count - 1) // size, size)
    for i, row in enumerate(found):
        alone = one_by_one(SumEngine(), ids[i * size : (i + 1) * size + 1])
        np.testing.assert_allclose(row, alone[1:], 1e-6)


def test_ids_can_be_mapped_from_a_file(table_engine, tmp_path):
    ids = random_ids(3000).astype(np.uint8)
    ids.tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype=np.uint8, mode="r")
    np.testing.assert_array_equal(text_nats(table_engine, mapped), text_nats(table_engine, ids))


def test_equal_infinities_are_not_apart():
    low, same, other = (((np.array([[value]]),),) for value in (-np.inf, -np.inf, 3.0))
    with np.errstate(invalid="ignore"):
        assert differ(low, same, 1e-3) == [False]
        assert differ(low, other, 1e-3) == differ(other, low, 1e-3) == [True]
