"""The nats of every token of a long text, or of many records, read side by side.

A text is read from its beginning with the state carried on. It is cut into stretches, which are
read at once: each from the state that the WARMUP tokens before it lead to. Where that turns out not
to be the state in which the stretch before it ended, it is read again from there, until its state
or its nats are what they were when it was read before. So how the text is cut changes nothing.
"""

import itertools
from itertools import pairwise

import numpy as np

from charlm.network.states import State, differ, join, put_rows, take_rows
from charlm.sampling.engine import Engine
from charlm.score import nats_of

STRETCHES = 64
WARMUP = 256
LEAST = 512  # a shorter stretch would mostly be warming up
TOLERANCE = 1e-3  # states so close predict the same to the fifth digit
# Some units hardly ever change, or hardly matter: in an lstm of tiny Shakespeare, states that 256
# and 900 tokens had led to were far apart, and predicted the same to the fifth digit.
NATS = 1e-5  # per token, on average: a difference so small does not show
# A gru there took several rounds of which each brought the nats a few times nearer.
TOGETHER = 8  # rounds in which all wrong stretches are read again; then the first, time and again
MEET = 256  # steps until a stretch that is read again is first compared with what it was
STATE_BYTES = 1 << 24  # of all rows together; with a large state there are fewer rows
LOGITS = 1 << 18  # made into nats at once: few calls, and they stay in the cache


def text_nats(engine: Engine, ids: np.ndarray) -> np.ndarray:
    """The negative log-likelihood (T,), float64, of each of ids (T,), one text from its beginning.

    Law: how it is cut changes nothing beyond float32's rounding and what NATS lets pass.
    """
    ids = np.asarray(ids)
    rows = max(1, min(_rows(engine), len(ids) // LEAST))
    length = -(-len(ids) // rows)
    begins = np.arange(rows) * length
    edges = [0, *(MEET << i for i in range(length.bit_length()) if MEET << i < length), length]
    nats = np.empty((rows, length))
    state = _warmed_up(engine, ids, begins)
    states = [state]  # of all rows at each edge
    for begin, end in pairwise(edges):
        nats[:, begin:end], state = _read(engine, ids, begins, begin, end, state)
        states.append(state)
    for turn in itertools.count():
        expected = take_rows(states[-1], [0, *range(rows - 1)])
        wrong = np.flatnonzero(apart(states[0], expected)[1:]) + 1
        if not len(wrong):
            break
        # What a cell never forgets comes one stretch farther with each round, however many rows
        # are read in it; then one row at a time is the least work.
        again = wrong if turn < TOGETHER else wrong[:1]
        state = take_rows(expected, again)
        states[0] = put_rows(np, states[0], again, state)
        for i, (begin, end) in enumerate(pairwise(edges), 1):
            found, state = _read(engine, ids, begins[again], begin, end, state)
            changed = np.abs(found - nats[again, begin:end]).mean(axis=1) > NATS
            nats[again, begin:end] = found
            differ = changed & apart(take_rows(states[i], again), state)
            states[i] = put_rows(np, states[i], again, state)
            again, state = again[differ], take_rows(state, differ)
            if not len(again):
                break
    return nats.ravel()[: len(ids)]


def records_nats(engine: Engine, ids: np.ndarray, boundary: int) -> np.ndarray:
    """The negative log-likelihood (T,), float64, of each of ids (T,), record by record.

    Every record is read from the initial state; the boundary that ends it is predicted too.
    """
    ids = np.asarray(ids)
    nats = np.empty(len(ids))
    begins = record_begins(ids, boundary)
    lengths = np.diff(begins, append=len(ids))
    order = np.argsort(-lengths, kind="stable")
    rows = _rows(engine)
    alone = int(np.count_nonzero(lengths >= rows * LEAST))
    for begin, length in zip(begins[order[:alone]], lengths[order[:alone]], strict=True):
        nats[begin : begin + length] = text_nats(engine, ids[begin : begin + length])
    for first in range(alone, len(order), rows):
        group = order[first : first + rows]  # the longest first: those that go on are the first
        state = engine.initial_state(len(group))
        begin = 0
        for end in np.unique(lengths[group]).tolist():
            going = group[lengths[group] >= end]
            state = take_rows(state, np.arange(len(going)))
            firsts = begins[going]
            found, state = _read(engine, ids, firsts, begin, end, state, fresh=begin == 0)
            nats[firsts[:, None] + np.arange(begin, end)] = found
            begin = end
    return nats


def cold_nats(engine: Engine, ids: np.ndarray, window: int) -> np.ndarray:
    """The nats (N, window) of consecutive windows of ids, each predicted from a cold start.

    A window is read from the initial state, after the start symbol and the one token before it,
    which is not scored. All whole windows are read, or a shorter one where there is none; ids must
    be two at least.
    """
    ids = np.asarray(ids)
    window = min(window, len(ids) - 1)
    found = []
    for firsts in _batches(np.arange((len(ids) - 1) // window) * window, _rows(engine)):
        state = engine.initial_state(len(firsts))
        found.append(_read(engine, ids, firsts, 0, window + 1, state, fresh=True)[0][:, 1:])
    return np.concatenate(found)


def record_begins(ids: np.ndarray, boundary: int) -> np.ndarray:
    """Where each record of ids begins; what follows the last boundary is one without an end."""
    begins = np.concatenate([[0], np.flatnonzero(ids == boundary) + 1])
    return begins[begins < len(ids)]


def apart(state: State, other: State) -> np.ndarray:
    """Which rows (B,) of two states differ by more than TOLERANCE of 1 + their size."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is not a number
        return np.array(differ(state, other, TOLERANCE))


def _read(
    engine: Engine,
    ids: np.ndarray,
    firsts: np.ndarray,
    begin: int,
    end: int,
    state: State,
    *,
    fresh: bool = False,
) -> tuple[np.ndarray, State]:
    """The nats (B, end - begin) of ids[first + begin : first + end] for each row, and the state.

    Past the end of ids a row goes on with what nobody asks for. The first token of ids follows the
    start symbol, and so does each row's first one where the rows are `fresh`.
    """
    nats = np.empty((len(firsts), end - begin))
    block = max(1, LOGITS // (len(firsts) * engine.vocabulary))
    for at in range(begin, end, block):
        positions = np.arange(at, min(at + block, end))[:, None] + firsts  # (T, B)
        inputs = _inputs(engine, ids, positions)
        targets = ids[np.minimum(positions, len(ids) - 1)].astype(np.int64)
        if fresh and at == begin:
            inputs[0] = engine.start
        logits = np.empty((*positions.shape, engine.vocabulary), dtype=np.float32)
        for t, row in enumerate(inputs):
            logits[t], state = engine.step(row, state)
        found = nats_of(logits.reshape(-1, engine.vocabulary), targets.ravel())
        nats[:, at - begin : at - begin + len(positions)] = found.reshape(positions.shape).T
    return nats, state


def _warmed_up(engine: Engine, ids: np.ndarray, begins: np.ndarray) -> State:
    """The state of each row before it reads the first of its tokens; the first row's is initial."""
    initial = engine.initial_state(1)
    if len(begins) == 1:
        return initial
    state = engine.initial_state(len(begins) - 1)
    steps = min(WARMUP, int(begins[1]))
    inputs = _inputs(engine, ids, np.arange(-steps, 0)[:, None] + begins[1:])
    inputs[0] = engine.start
    for row in inputs:
        _, state = engine.step(row, state)
    return join(np, [initial, state])


def _inputs(engine: Engine, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What is read before each of those positions is predicted: the token before it, or start."""
    inputs = ids[np.clip(positions - 1, 0, len(ids) - 1)].astype(np.int64)
    inputs[positions == 0] = engine.start
    return inputs


def _rows(engine: Engine) -> int:
    """How many rows are read side by side."""
    size_bytes = sum(part.nbytes for layer in engine.initial_state(1) for part in layer)
    return max(1, min(STRETCHES, STATE_BYTES // max(1, size_bytes)))


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
