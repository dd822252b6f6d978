"""The sampling loop, with tables for models."""

import numpy as np
import pytest

from charlm.sampling.engine import take_rows
from charlm.sampling.generate import draw, generate, read
from charlm.sampling.processors import top_k


def collect(engine, *, rows, seed=1, length=20, processors=(), greedy=False, prompt=()):
    """What each row draws, up to `length` ids (a number, or one for each row)."""
    lengths = dict.fromkeys(rows, length) if isinstance(length, int) else length
    found = {row: [] for row in rows}

    def listen(row, id):
        found[row].append(id)
        return len(found[row]) < lengths[row]

    logits, state = read(engine, prompt)
    generate(
        engine, logits, state, rows=rows, seed=seed, processors=list(processors),
        greedy=greedy, listen=listen,
    )  # fmt: skip
    return found


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
    _, state = read(table_engine, [1, 2, 3])
    assert state[0][0].tolist() == [4]  # the start and three ids


def test_reading_in_two_pieces_equals_reading_at_once(table_engine):
    logits, state = read(table_engine, [1, 2])
    again, after = read(table_engine, [3, 4], state)
    whole, after_whole = read(table_engine, [1, 2, 3, 4])
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(after[0][0], after_whole[0][0])
    assert not np.array_equal(logits, whole)


def test_processors_are_applied(table_engine):
    found = collect(table_engine, rows=[0], processors=[top_k(1)])
    assert found == collect(table_engine, rows=[0], greedy=True)


def test_draws_follow_the_distribution():
    p = np.array([0.5, 0.2, 0.0, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.log(p)[None]
    rng = np.random.default_rng(0)
    counts = np.bincount([draw(logits, [rng])[0] for _ in range(20_000)], minlength=4)
    assert counts[2] == 0
    # Five standard deviations of a binomial count.
    assert (np.abs(counts - 20_000 * p) <= 5 * np.sqrt(20_000 * p * (1 - p))).all()


class Fixed:
    """A generator whose every draw is the same number."""

    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1), (1 - 2**-53, 3)])
def test_the_extreme_draws_still_have_probability(value, expected):
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])
    assert draw(logits, [Fixed(value)]).tolist() == [expected]


def test_rows_of_a_state_can_be_taken_many_times():
    state = ((np.arange(3), np.arange(6).reshape(3, 2)),)
    taken = take_rows(state, [2, 0, 2])
    assert taken[0][0].tolist() == [2, 0, 2]
    assert taken[0][1].tolist() == [[4, 5], [0, 1], [4, 5]]
