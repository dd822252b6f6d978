"""A row in a batch draws what it draws alone, whatever the rounding of a batched product does."""

import numpy as np
import pytest
from support.engines import Rough

from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.sampling import processors, steady
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Batch, Drawing, Row, generate
from charlm.sampling.steady import ROUNDING, Steady, is_near
from charlm.training.initialise import initial_weights

V = 23


def engine_of(cell, width=16, scale=1.0):
    network = build(NetworkConfig(cell=cell, width=width), V)
    weights = {n: w.numpy() * scale for n, w in initial_weights(network, 1).items()}
    return NumpyEngine(network, weights)


def drawn(engine, ks, drawing, length=60):
    rows = [Row(k, [k % V]) for k in ks]
    generate(engine, rows, drawing, lambda row, id, logits: len(row.history.ids) < length)
    return [row.history.ids for row in rows]


BENDS = {
    "plain": [],
    "cold": [processors.temperature(0.3)],
    "top-k": [processors.top_k(5)],
    "top-p": [processors.top_p(0.7)],
    "min-p": [processors.temperature(0.8), processors.min_p(0.2)],
}


@pytest.mark.parametrize("bends", BENDS.values(), ids=BENDS)
@pytest.mark.parametrize("greedy", [False, True], ids=["drawn", "greedy"])
def test_noise_below_what_is_allowed_for_changes_no_draw(bends, greedy):
    drawing = Drawing(3, bends, greedy)
    rough = Rough(engine_of("gru", scale=2.0), ROUNDING / 2)
    together = drawn(rough, range(40), drawing)
    for k in range(0, 40, 7):
        assert drawn(rough, [k], drawing) == [together[k]]


def test_noise_above_it_does_change_draws():
    rough = Rough(engine_of("gru", scale=2.0), 1000 * ROUNDING)
    together = drawn(rough, range(40), Drawing(3))
    assert together != [drawn(rough, [k], Drawing(3))[0] for k in range(40)]


def test_rows_that_rounding_may_decide_are_not_read_again(monkeypatch):
    monkeypatch.setattr(steady, "ROUNDING", 2e-3)
    rough = Rough(engine_of("gru", scale=2.0), 1e-3)
    sure = drawn(rough, range(40), Drawing(3))
    assert rough.alone > 0
    rough.alone = 0
    unsure = drawn(rough, range(40), Drawing(3, steady=False))
    assert rough.alone == 0
    assert [ids[0] for ids in unsure] == [ids[0] for ids in sure]
    assert unsure != sure


@pytest.mark.parametrize("cell", CELLS)
def test_every_batch_gives_the_same_samples(cell):
    engine = engine_of(cell, width=32)
    together = drawn(engine, range(30), Drawing(5))
    assert drawn(engine, reversed(range(30)), Drawing(5)) == together[::-1]
    assert drawn(engine, range(3, 10), Drawing(5)) == together[3:10]
    assert [drawn(engine, [k], Drawing(5))[0] for k in range(30)] == together


def test_a_place_taken_from_a_batch_leads_to_what_reading_it_alone_does():
    """Whoever goes on from it, beside whom ever, draws what would be drawn alone."""
    rough = Rough(engine_of("gru", scale=2.0), ROUNDING / 2)
    batch = Batch(rough)
    prompts = [[k % V, 3, k // 2 % V] * 5 for k in range(20)]
    for k, prompt in enumerate(prompts):
        batch.add(Row(k, prompt), Drawing(3))
    while not batch.has_read(0):
        batch.go_on(batch.next_ids()[0])
    rows = [Row(k, place=batch.place(k)) for k in range(20) for _ in range(2)]
    generate(rough, rows, Drawing(3), lambda row, id, logits: len(row.history.ids) < 60)
    for k, prompt in enumerate(prompts):
        alone = Row(k, prompt)
        generate(rough, [alone], Drawing(3), lambda row, id, logits: len(row.history.ids) < 60)
        assert [row.history.ids for row in rows if row.k == k] == [alone.history.ids] * 2


def test_rows_drawn_each_in_its_own_way_are_as_alone():
    rough = Rough(engine_of("gru", scale=2.0), ROUNDING / 2)
    ways = [Drawing(seed, bends, g) for seed in (1, 2) for bends in BENDS.values() for g in (0, 1)]
    batch, rows = Batch(rough), [Row(k, [k % V]) for k in range(len(ways))]
    for row, drawing in zip(rows, ways, strict=True):
        batch.add(row, drawing)
    for t in range(80):
        ids, drawn = batch.next_ids()
        assert all(batch.rows[i].history.ids[-1] == ids[i] for i in drawn)
        # They leave one after another.
        batch.go_on(ids, [0] if t > 60 and batch.rows else [])
    for row, drawing in zip(rows, ways, strict=True):
        length = len(row.history.ids)
        alone = Row(row.k, row.prompt)
        generate(rough, [alone], drawing, lambda row, *_, n=length: len(row.history.ids) < n)
        assert alone.history.ids == row.history.ids
        assert length > 50


def test_few_rows_are_read_again():
    rough = Rough(engine_of("gru"), 0.0)
    drawn(rough, range(40), Drawing(3), length=100)
    # Read alone are the draws near an edge, at most all of the row's text before each.
    assert rough.alone < 0.1 * 40 * 100


def test_reading_again_is_reading_the_row_alone():
    engine = engine_of("lstm", width=32)
    rng = np.random.default_rng(0)
    ids = rng.integers(V, size=(12, 5))
    steady, states = Steady(engine), [engine.initial_state(1) for _ in range(5)]
    for state in states:
        steady.add(state)
    state = engine.join(states)
    for t, each in enumerate(ids):
        _, state = engine.step(each, state)
        steady.stepped(each, state)
        if t == 6:
            steady.read_again(2)
            assert steady.is_exact(2)
    assert not steady.is_exact(2)
    for row in range(5):
        logits, after = steady.read_again(row)
        alone = engine.initial_state(1)
        for id in ids[:, row]:
            expected, alone = engine.step(np.array([id]), alone)
        np.testing.assert_array_equal(logits, expected)
        for part, other in zip(after, alone, strict=True):
            for array, wanted in zip(part, other, strict=True):
                np.testing.assert_array_equal(array, wanted)


def test_what_is_cut_off_by_a_hair_is_near():
    logits = np.array([[3.0, 2.0, 2.0 + 2 * ROUNDING, 0.0], [3.0, 2.0, 1.0, 0.0]])
    bend = Drawing(1, [processors.top_k(2)]).bend
    bent = bend(logits, [])
    far = np.full(2, 0.5)
    assert is_near(bend, logits, [], bent, far).tolist() == [True, False]
