"""The sampling loop, with tables for models."""

import numpy as np
import pytest

from charlm.network.states import take_rows
from charlm.sampling.draws import choose, margins_of
from charlm.sampling.generate import BATCH, Drawing, Row, generate, read
from charlm.sampling.processors import top_k


def collect(engine, *, rows, seed=1, length=20, processors=(), greedy=False, prompt=()):
    """What each row draws, up to `length` ids (a number, or one for each row)."""
    lengths = dict.fromkeys(rows, length) if isinstance(length, int) else length
    place = read(engine, prompt)
    texts = [Row(row, place=place) for row in rows]
    generate(
        engine,
        texts,
        Drawing(seed, list(processors), greedy),
        lambda row, id, logits: len(row.history.ids) < lengths[row.k],
    )
    return {row.k: row.history.ids for row in texts}


def test_same_seed_same_ids_and_other_seed_others(table_engine):
    first = collect(table_engine, rows=[0, 1], seed=1)
    assert first == collect(table_engine, rows=[0, 1], seed=1)
    assert first != collect(table_engine, rows=[0, 1], seed=2)
    assert first[0] != first[1]


def test_a_row_draws_the_same_alone_and_beside_others(table_engine):
    together = collect(table_engine, rows=[0, 1, 2, 3])
    for row in together:
        assert collect(table_engine, rows=[row])[row] == together[row]


def test_rows_that_end_early_leave_the_others_as_they_were(table_engine):
    long = collect(table_engine, rows=[0, 1, 2], length=30)
    lengths = {0: 3, 1: 30, 2: 11}
    found = collect(table_engine, rows=[0, 1, 2], length=lengths)
    assert found == {row: long[row][: lengths[row]] for row in long}


def test_greedy_takes_the_likeliest_whatever_the_seed(table_engine):
    first = collect(table_engine, rows=[0], greedy=True, seed=1)
    assert first == collect(table_engine, rows=[0], greedy=True, seed=2)
    at = table_engine.start
    for id in first[0]:
        assert id == table_engine.logits[at].argmax()
        at = id


def test_goes_on_from_the_prompt(cycle_engine):
    assert collect(cycle_engine, rows=[0], length=4)[0] == [0, 1, 2, 0]
    assert collect(cycle_engine, rows=[0], length=4, prompt=[0, 1])[0] == [2, 0, 1, 2]


def test_every_id_is_read_once_before_the_next_is_drawn(table_engine):
    state = read(table_engine, [1, 2, 3]).state
    assert state[0][0].tolist() == [4]  # the start and three ids


def test_reading_in_two_pieces_equals_reading_at_once(table_engine):
    first = read(table_engine, [1, 2])
    again = read(table_engine, [3, 4], first)
    whole = read(table_engine, [1, 2, 3, 4])
    np.testing.assert_array_equal(again.logits, whole.logits)
    np.testing.assert_array_equal(again.state[0][0], whole.state[0][0])
    assert not np.array_equal(first.logits, whole.logits)


def test_a_prompt_read_in_the_batch_is_as_one_read_before(table_engine):
    prompts = [[1, 2, 3], [], [4], [5, 5, 5, 5, 5, 5]]
    rows = [Row(k, prompt) for k, prompt in enumerate(prompts)]
    generate(table_engine, rows, Drawing(7), lambda row, id, logits: len(row.history.ids) < 9)
    for row, prompt in zip(rows, prompts, strict=True):
        alone = collect(table_engine, rows=[row.k], seed=7, length=9, prompt=prompt)
        assert row.history.ids == alone[row.k]


def test_more_rows_than_a_batch_take_the_places_of_those_that_end(table_engine):
    rows = [Row(k, [k % 7] * (k % 5)) for k in range(3 * BATCH)]
    over, sizes = [], []
    step = table_engine.step
    table_engine.step = lambda ids, state: sizes.append(len(ids)) or step(ids, state)
    generate(
        table_engine,
        rows,
        Drawing(7),
        lambda row, id, logits: len(row.history.ids) < 1 + row.k % 11,
        lambda row: over.append(row.k),
    )
    assert sorted(over) == list(range(3 * BATCH))
    assert max(sizes) == BATCH
    for row in rows[::17]:
        alone = collect(
            table_engine, rows=[row.k], seed=7, length=1 + row.k % 11, prompt=row.prompt
        )
        assert row.history.ids == alone[row.k]


def test_nats_are_those_of_the_model_and_not_of_what_it_was_bent_to(table_engine):
    row = Row(0, [2])
    generate(
        table_engine,
        [row],
        Drawing(1, [top_k(1)], costs=True),
        lambda row, id, logits: len(row.history.ids) < 9,
    )
    logits = table_engine.logits.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    pairs = zip([2, *row.history.ids], row.history.ids, strict=False)
    assert row.nats == pytest.approx(sum(-np.log(p[last, id]) for last, id in pairs), rel=1e-5)


def test_a_row_may_end_before_a_draw(table_engine):
    asked = []

    def ends(row, logits, u):
        asked.append(u)
        return len(row.history.ids) == 3

    row, over = Row(0), []
    generate(table_engine, [row], Drawing(1, ends=ends), lambda *_: True, over.append)
    assert over == [row]
    assert len(row.history.ids) == 3
    assert len(set(asked)) == 4
    assert all(0 <= u < 1 for u in asked)


def test_processors_are_applied(table_engine):
    found = collect(table_engine, rows=[0], processors=[top_k(1)])
    assert found == collect(table_engine, rows=[0], greedy=True)


def test_draws_follow_the_distribution():
    p = np.array([0.5, 0.2, 0.0, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.log(p)[None]
    uniforms = np.random.default_rng(0).random(20_000)
    ids = choose(np.repeat(logits, len(uniforms), axis=0), uniforms)
    counts = np.bincount(ids, minlength=4)
    assert counts[2] == 0
    # Five standard deviations of a binomial count.
    assert (np.abs(counts - 20_000 * p) <= 5 * np.sqrt(20_000 * p * (1 - p))).all()


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1), (1 - 2**-53, 3)])
def test_the_extreme_draws_still_have_probability(value, expected):
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])
    assert choose(logits, np.array([value])).tolist() == [expected]


def test_the_margin_is_what_a_draw_is_away_from_another_id():
    with np.errstate(divide="ignore"):
        logits = np.log([[0.5, 0.0, 0.25, 0.25]] * 5)
    uniforms = np.array([0.1, 0.45, 0.55, 0.7, 0.95])
    assert choose(logits, uniforms).tolist() == [0, 0, 2, 2, 3]
    np.testing.assert_allclose(margins_of(logits, uniforms), [0.4, 0.05, 0.05, 0.05, 0.2])
    assert choose(logits[:1], uniforms[:1], greedy=True).tolist() == [0]
    assert margins_of(logits[:1], uniforms[:1], greedy=True).tolist() == [0.125]


def test_one_row_is_chosen_for_as_it_is_among_many():
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((500, 40)) * rng.uniform(0.1, 30, (500, 1))).astype(np.float32)
    logits[::3, ::2] = -np.inf
    logits[7, 5] = np.nan
    uniforms = rng.random(500)
    uniforms[:2] = 0, np.nextafter(1, 0)
    many = choose(logits, uniforms)
    alone = [choose(logits[i : i + 1], uniforms[i : i + 1])[0] for i in range(500)]
    assert alone == many.tolist()
    assert len(set(alone)) > 30


def test_rows_of_a_state_can_be_taken_many_times():
    state = ((np.arange(3), np.arange(6).reshape(3, 2)),)
    taken = take_rows(state, [2, 0, 2])
    assert taken[0][0].tolist() == [2, 0, 2]
    assert taken[0][1].tolist() == [[4, 5], [0, 1], [4, 5]]
