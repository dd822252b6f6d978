"""Streams: every token a target once, inputs one behind, positions that can be resumed."""

import itertools

import numpy as np
import pytest

from charlm.training.streams import IGNORED, ContiguousStreams, RecordStreams

START = 99
BOUNDARY = 0


def epoch(streams):
    return list(streams.batches(0))


def counted(batches):
    return np.concatenate([batch.targets[batch.targets != IGNORED] for batch in batches])


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("rows", [1, 4, 16])
@pytest.mark.parametrize("context", [1, 7, 64])
@pytest.mark.parametrize("vary", [False, True])
def test_contiguous_streams_predict_every_token_once(length, rows, context, vary):
    ids = np.arange(length)
    streams = ContiguousStreams(ids, rows=rows, context=context, start=START, vary=vary)
    batches = epoch(streams)
    assert len(batches) == streams.epoch_batches()
    np.testing.assert_array_equal(np.sort(counted(batches)), ids)
    assert batches[0].fresh.all()


def test_contiguous_inputs_are_the_tokens_before_the_targets():
    ids = np.arange(50)
    batches = epoch(ContiguousStreams(ids, rows=3, context=8, start=START))
    inputs = np.concatenate([batch.inputs for batch in batches], axis=1)
    targets = np.concatenate([batch.targets for batch in batches], axis=1)
    assert (inputs[:, 0] == START).all()
    kept = (targets != IGNORED) & (inputs != START)
    np.testing.assert_array_equal(inputs[kept], targets[kept] - 1)


def test_contexts_vary_about_their_length_and_by_epoch():
    streams = ContiguousStreams(
        np.arange(70_000), rows=1, context=70, start=START, seed=3, vary=True
    )
    lengths = np.array([batch.targets.shape[1] for batch in epoch(streams)])
    streams.epoch = 1
    others = [batch.targets.shape[1] for batch in epoch(streams)]
    assert not np.array_equal(lengths[:50], others[:50])
    halves = lengths < 52
    assert 0.02 < halves.mean() < 0.09
    assert lengths[~halves].mean() == pytest.approx(69.5, abs=1)
    assert lengths[~halves].std() == pytest.approx(5, abs=1)


def records(lengths):
    """Records of those lengths: record k is made of the number k + 1, then the boundary."""
    return np.concatenate([[k + 1] * n + [BOUNDARY] for k, n in enumerate(lengths)]).astype(int)


def record_streams(ids, **settings):
    settings = {"rows": 4, "context": 8, "start": START, "boundary": BOUNDARY} | settings
    return RecordStreams(ids, **settings)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 2], [5] * 9, list(range(1, 40)), [100, 1, 30]])
@pytest.mark.parametrize("shuffled", [True, False])
def test_record_streams_predict_every_token_once(lengths, shuffled):
    ids = records(lengths)
    batches = epoch(record_streams(ids, shuffled=shuffled))
    np.testing.assert_array_equal(np.sort(counted(batches)), np.sort(ids))


@pytest.mark.parametrize("lengths", [[1], [5] * 9, list(range(1, 40)), [100, 1, 30]])
def test_record_streams_know_how_many_batches_an_epoch_has(lengths):
    streams = record_streams(records(lengths))
    assert streams.epoch_batches() == len(epoch(streams))


def test_no_row_sees_two_records():
    streams = record_streams(records([5, 1, 20, 3, 8, 13, 2]))
    rows = None
    for batch in epoch(streams):
        if batch.fresh.all():
            rows = [[] for _ in batch.inputs]
            assert (batch.inputs[:, 0] == START).all()
        for row, inputs, targets in zip(rows, batch.inputs, batch.targets, strict=True):
            row += [i for i, t in zip(inputs, targets, strict=True) if t != IGNORED]
            assert len(set(row) - {START}) <= 1


@pytest.mark.parametrize("ended", [True, False])
def test_every_row_is_one_record_from_its_start_to_its_boundary(ended):
    lengths = [5, 1, 20, 3, 8, 13, 2]
    ids = records(lengths)[: None if ended else -1]
    edges = np.cumsum([0, *(length + 1 for length in lengths)])
    wanted = [ids[begin:end].tolist() for begin, end in itertools.pairwise(edges)]
    found, rows = [], []
    for batch in epoch(record_streams(ids)):
        if batch.fresh.all():
            found += rows
            rows = [([], []) for _ in batch.inputs]
        for (read, expected), inputs, targets in zip(
            rows, batch.inputs, batch.targets, strict=True
        ):
            counts = targets != IGNORED
            read += inputs[counts].tolist()
            expected += targets[counts].tolist()
    found += rows
    assert sorted(expected for _, expected in found) == sorted(wanted)
    assert all(read == [START, *expected[:-1]] for read, expected in found)


def test_short_records_fill_a_batch_by_their_number():
    batches = epoch(record_streams(records([3] * 64), rows=4, context=32))
    assert {len(batch.inputs) for batch in batches} == {32}  # 4 x 32 tokens / 4 tokens a record


def test_a_last_record_without_boundary_is_read_too():
    ids = records([3, 2])[:-1]
    np.testing.assert_array_equal(np.sort(counted(epoch(record_streams(ids)))), np.sort(ids))


def streams_of_both_kinds():
    ids = np.arange(1000)
    yield lambda: ContiguousStreams(ids, rows=4, context=16, start=START)
    yield lambda: record_streams(records(range(1, 50)), seed=3)


@pytest.mark.parametrize("build", [*streams_of_both_kinds()])
@pytest.mark.parametrize("taken", [0, 1, 9, 40, 130])
def test_a_position_that_is_loaded_goes_on_exactly(build, taken):
    first, second = build(), build()
    for _ in range(taken):
        first.next()
    second.load_state_dict(first.state_dict())
    for _ in range(70):
        a, b = first.next(), second.next()
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.targets, b.targets)
        np.testing.assert_array_equal(a.fresh, b.fresh)


def test_epochs_of_records_differ_in_order():
    streams = record_streams(records(range(1, 50)))
    first = counted(epoch(streams))
    streams.epoch = 1
    assert not np.array_equal(first, counted(epoch(streams)))


def test_now_and_then_a_row_begins_anew():
    ids = np.arange(100_000)
    batches = epoch(ContiguousStreams(ids, rows=10, context=10, start=-1, seed=1))
    fresh = np.stack([batch.fresh for batch in batches[1:]])
    assert 0.5 < fresh.mean() / ContiguousStreams.RESTARTS < 1.5
    for batch in batches:
        np.testing.assert_array_equal(batch.inputs[:, 0] == -1, batch.fresh)
