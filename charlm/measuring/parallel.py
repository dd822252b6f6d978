"""What every token of a long text, or of many records, costs: read side by side, by any engine.

A text is read from its beginning with the state carried on. It is cut into chunks, which are read
at once: each from the state that the WARMUP tokens before it lead to. Where that turns out not to
be the state in which the chunk before it ended, it is read again from there, until its state or its
figures are what they were when it was read before. So how the text is cut changes nothing, and what
reads it, numpy or torch, changes no more than rounding does.

B rows, T tokens, V vocabulary, F figures of each token, of which the first is its nats.
"""

import itertools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from charlm.network.costs import TOKENS
from charlm.network.states import State, differ, join, put_rows, take_rows
from charlm.sampling.engine import Engine, NumpyEngine
from charlm.score import nats_of

ROWS = 128  # read side by side; an lstm 1x384 read a quarter more a second than with 64
WARMUP = 256
LEAST = 512  # a shorter chunk would mostly be warming up
LONG = 16 * LEAST  # a record of so many tokens is read in chunks
CONTEXT = 128  # tokens of each row that are read at once
TOLERANCE = 1e-3  # states so close predict the same to the fifth digit
# Some units hardly ever change, or hardly matter: in an lstm of tiny Shakespeare, states that 256
# and 900 tokens had led to were far apart, and predicted the same to the fifth digit.
NATS = 1e-5  # per token, on average: a difference so small does not show
# A gru there took several rounds of which each brought the nats a few times nearer.
TOGETHER = 8  # rounds in which all wrong chunks are read again; then the first, time and again
MEET = 256  # tokens until a chunk that is read again is first compared with what it was
STATE_BYTES = 1 << 24  # of all rows together; with a large state there are fewer rows
LOGITS = 1 << 18  # made into nats at once: few calls, and they stay in the cache
MOST_LOGITS = 1 << 23  # of all rows together; with a large vocabulary there are fewer rows

Before = tuple[int, State]  # the token before a text, and the state of one row before that token


class Reader(Protocol):
    """A network with its weights, ready to read many tokens of many rows."""

    xp: Any  # numpy or torch, whichever the states are of
    start: int
    figures: int  # F
    logits_per_token: int  # numbers that its head makes of one token
    batch_tokens: int  # of short records as many are read at once as have so many tokens

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""

    def read(
        self, inputs: np.ndarray, targets: np.ndarray | None, state: State, lengths: np.ndarray
    ) -> tuple[np.ndarray, State]:
        """The figures (F, B, T) of targets (B, T), each after the input of its place.

        Without targets they are 0: the state alone is wanted.

        Row b has the first `lengths[b]` of T tokens, and no more than the row before it; of what
        pads it nothing is to be asked. Also the next state of the rows that have all T.
        """


class SteppedReader:
    """An engine that reads one token of each row at a time.

    Beside the nats it finds the likeliest id and the nats of that one, if `favourites`.
    """

    xp = np
    batch_tokens = 0

    def __init__(self, engine: Engine, *, favourites: bool = False) -> None:
        self.start = engine.start
        self.figures = 3 if favourites else 1
        self.logits_per_token = engine.logits_per_token
        self.initial_state = engine.initial_state
        self._engine = engine
        # Of a large vocabulary the logits are never all there; of a small one the whole step is
        # what is recorded, and fast.
        alone = isinstance(engine, NumpyEngine)
        # Likeliest ids are found in the logits of all the vocabulary, but for a network's own.
        self._wide = engine.is_wide and (alone or not favourites)
        self._at_once = TOKENS if self._wide and alone else LOGITS // engine.vocabulary
        self._step = engine.features if self._wide else engine.step

    def read(
        self, inputs: np.ndarray, targets: np.ndarray | None, state: State, lengths: np.ndarray
    ) -> tuple[np.ndarray, State]:
        """The figures (1 or 3, B, T), and the next state; see `Reader`."""
        B, T = inputs.shape
        going = (lengths[:, None] > np.arange(T)).sum(axis=0)
        found = np.zeros((self.figures, B, T))
        block, rows = max(1, self._at_once // B), B
        for begin in range(0, T, block):
            end = min(begin + block, T)
            made = []
            for n, ids in zip(going[begin:end].tolist(), inputs.T[begin:end], strict=True):
                state = take_rows(state, slice(n)) if n < rows else state
                rows = n
                some, state = self._step(ids[:n], state)
                made.append(some)
            if targets is None:
                continue
            inside = np.arange(B) < going[begin:end, None]  # (T, B)
            figures = self._figures(np.concatenate(made), targets.T[begin:end][inside])
            found[:, :, begin:end].swapaxes(1, 2)[:, inside] = figures
        return found, take_rows(state, slice(int((lengths >= T).sum())))

    def _figures(self, logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The figures (1 or 3, N) of ids (N,) by logits (N, V), or by features (N, D)."""
        if self._wide:
            return np.stack(self._engine.costs(logits, ids)[: self.figures])
        if self.figures == 1:
            return nats_of(logits, ids)[None]
        best = logits.argmax(axis=-1)
        return np.stack([nats_of(logits, ids), best, nats_of(logits, best)])


def text_figures(
    reader: Reader,
    ids: np.ndarray,
    before: Before | None = None,
    advance: Callable[[int], None] = lambda tokens: None,
) -> tuple[np.ndarray, State]:
    """The figures (F, T), float64, of ids (T,), one text, and the state before the last of them.

    The text is read from its beginning, or after `before`. `advance` gets how many more tokens
    were read, those that are read again left out. Law: how it is cut changes nothing beyond
    float32's rounding and what NATS lets pass.
    """
    ids = np.asarray(ids)
    last, first = before or (reader.start, reader.initial_state(1))
    rows = max(1, min(rows_of(reader), len(ids) // LEAST))
    length = len(ids) // rows
    begins = np.arange(rows) * length
    edges = [0, *(MEET << i for i in range(length.bit_length()) if MEET << i < length), length]
    whole = np.empty((reader.figures, len(ids)))
    found = whole[:, : rows * length].reshape(reader.figures, rows, length)  # a view
    text = _Text(reader, ids, last)
    state = _warmed_up(text, begins, first)
    states = [state]  # of all rows at each edge
    for begin, end in pairwise(edges):
        found[..., begin:end], state = text.read(begins, begin, end, state, advance)
        states.append(state)
    for turn in itertools.count():
        expected = take_rows(states[-1], [0, *range(rows - 1)])
        wrong = np.flatnonzero(_apart(states[0], expected)[1:]) + 1
        if not len(wrong):
            break
        # What a cell never forgets comes one chunk farther with each round, however many rows
        # are read in it; then one row at a time is the least work.
        again = wrong if turn < TOGETHER else wrong[:1]
        state = take_rows(expected, again)
        states[0] = put_rows(reader.xp, states[0], again, state)
        for i, (begin, end) in enumerate(pairwise(edges), 1):
            new, state = text.read(begins[again], begin, end, state)
            changed = np.abs(new[0] - found[0, again, begin:end]).mean(axis=1) > NATS
            found[:, again, begin:end] = new
            other = changed & _apart(take_rows(states[i], again), state)
            states[i] = put_rows(reader.xp, states[i], again, state)
            again, state = again[other], take_rows(state, np.flatnonzero(other))
            if not len(again):
                break
    # What cannot be divided among the rows, fewer tokens than there are rows.
    rest, state = text.read(
        np.array([rows * length]),
        0,
        len(ids) - rows * length,
        take_rows(states[-1], [rows - 1]),
        advance,
    )
    whole[:, rows * length :] = rest[:, 0]
    return whole, state


def record_figures(
    reader: Reader,
    ids: np.ndarray,
    begins: np.ndarray,
    before: Before | None = None,
    advance: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """The figures (F, T), float64, of ids (T,), of which a record begins at each of `begins`.

    Every record is read from the beginning, or after `before`. Law: a record's figures do not
    depend on the others, but for rounding.
    """
    ids = np.asarray(ids)
    found = np.empty((reader.figures, len(ids)))
    lengths = np.diff(begins, append=len(ids))
    for record in np.flatnonzero(lengths >= LONG):
        whole = slice(begins[record], begins[record] + lengths[record])
        found[:, whole], _ = text_figures(reader, ids[whole], before, advance)
    last, first = before or (reader.start, reader.initial_state(1))
    order = np.flatnonzero((lengths > 0) & (lengths < LONG))
    order = order[np.argsort(-lengths[order], kind="stable")]
    while len(order):
        # The longest first, so that those that go on are the first.
        size = max(rows_of(reader), reader.batch_tokens // int(lengths[order[0]]))
        group, order = order[:size], order[size:]
        state = take_rows(first, [0] * len(group))
        for begin in range(0, int(lengths[group[0]]), CONTEXT):
            group = group[lengths[group] > begin]
            left = np.minimum(lengths[group] - begin, CONTEXT)
            places = begins[group, None] + np.arange(begin, begin + left[0])  # (B, T)
            inside = np.arange(left[0]) < left[:, None]
            inputs = ids[np.clip(places - 1, 0, len(ids) - 1)].astype(np.int64)
            if begin == 0:
                inputs[:, 0] = last
            targets = ids[np.minimum(places, len(ids) - 1)].astype(np.int64)
            state = take_rows(state, slice(len(group)))
            new, state = reader.read(inputs, targets, state, left)
            found[:, places[inside]] = new[:, inside]
            advance(int(left.sum()))
    return found


def after(reader: Reader, opening: Sequence[int]) -> Before | None:
    """Where a text begins that comes after those ids; None where there are none."""
    if not len(opening):
        return None
    inputs = np.array([[reader.start, *opening[:-1]]])
    _, state = reader.read(inputs, None, reader.initial_state(1), np.array([len(opening)]))
    return opening[-1], state


def text_nats(
    engine: Engine,
    ids: np.ndarray,
    opening: Sequence[int] = (),
    advance: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """The negative log-likelihood (T,), float64, of each of ids (T,), one text after `opening`."""
    reader = SteppedReader(engine)
    return text_figures(reader, ids, after(reader, opening), advance)[0][0]


def records_nats(
    engine: Engine,
    ids: np.ndarray,
    boundary: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """The negative log-likelihood (T,), float64, of each of ids (T,), record by record.

    Every record is read from the beginning; the boundary that ends it is predicted too.
    """
    begins = record_begins(ids, boundary)
    return record_figures(SteppedReader(engine), ids, begins, advance=advance)[0]


def cold_nats(
    engine: Engine,
    ids: np.ndarray,
    window: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """The nats (N, window) of consecutive windows of ids, each predicted from a cold start.

    A window is read from the initial state, after the start symbol and the one token before it,
    which is not scored. All whole windows are read, or a shorter one where there is none; ids must
    be two at least.
    """
    ids, reader = np.asarray(ids), SteppedReader(engine)
    window = min(window, len(ids) - 1)
    begins = np.arange((len(ids) - 1) // window) * window
    found = []
    for at in range(0, len(begins), rows_of(reader)):
        places = begins[at : at + rows_of(reader), None] + np.arange(window + 1)
        read = ids[places].astype(np.int64)
        inputs = np.concatenate([np.full((len(read), 1), reader.start), read[:, :-1]], axis=1)
        lengths = np.full(len(read), window + 1)
        new, _ = reader.read(inputs, read, reader.initial_state(len(read)), lengths)
        found.append(new[0, :, 1:])
        advance(found[-1].size)
    return np.concatenate(found)


def record_begins(ids: np.ndarray, boundary: int) -> np.ndarray:
    """Where each record of ids begins; what follows the last boundary is one without an end."""
    begins = np.concatenate([[0], np.flatnonzero(np.asarray(ids) == boundary) + 1])
    return begins[begins < len(ids)]


def rows_of(reader: Reader) -> int:
    """How many rows are read side by side at most."""
    state = reader.initial_state(1)
    size_bytes = sum(part.nbytes for layer in state for part in layer)
    by_state = STATE_BYTES // max(1, size_bytes)
    return max(1, min(ROWS, by_state, MOST_LOGITS // reader.logits_per_token))


class _Text:
    """The ids of one text, which `last` stands before, and what reads them."""

    def __init__(self, reader: Reader, ids: np.ndarray, last: int) -> None:
        self.reader = reader
        self.ids = ids
        self.last = last

    def read(
        self,
        firsts: np.ndarray,
        begin: int,
        end: int,
        state: State,
        advance: Callable[[int], None] = lambda tokens: None,
        *,
        fresh: bool = False,
    ) -> tuple[np.ndarray, State]:
        """The figures (F, B, end - begin) of ids[first + begin : first + end] of each row.

        Also the state after all but the last. Where the rows are `fresh` each first token follows
        the start symbol, and the figures are not worked out.
        """
        rows = len(firsts)
        found = np.empty((self.reader.figures, rows, end - begin))
        for at in range(begin, end, CONTEXT):
            places = firsts[:, None] + np.arange(at, min(at + CONTEXT, end))  # (B, T)
            targets = None if fresh else self.ids[places].astype(np.int64)
            inputs = self.ids[np.maximum(places - 1, 0)].astype(np.int64)
            inputs[places == 0] = self.last
            if fresh and at == begin:
                inputs[:, 0] = self.reader.start
            lengths = np.full(rows, places.shape[1])
            new, state = self.reader.read(inputs, targets, state, lengths)
            found[..., at - begin : at - begin + places.shape[1]] = new
            advance(places.size)
        return found, state


def _warmed_up(text: _Text, begins: np.ndarray, first: State) -> State:
    """The state of each row before it reads the first of its tokens; that of row 0 is `first`."""
    if len(begins) == 1:
        return first
    state = text.reader.initial_state(len(begins) - 1)
    steps = min(WARMUP, int(begins[1]))
    _, state = text.read(begins[1:] - steps, 0, steps, state, fresh=True)
    return join(text.reader.xp, [first, state])


def _apart(state: State, other: State) -> np.ndarray:
    """Whether each row (B,) of a state is another one than in `other`."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is not a number
        return np.array(differ(state, other, TOLERANCE))
