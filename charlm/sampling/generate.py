"""The sampling loop: ids in, ids out. Knows neither text nor tokenizer.

Rows are read and drawn side by side, and as one ends the next takes its place. Row k draws from a
generator of its own, made from (seed, k), and what it draws depends on (seed, k) and its prompt
alone, not on the rows beside it: see steady.py.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from charlm.sampling.engine import Engine, State, take_rows
from charlm.sampling.processors import History, Processor
from charlm.sampling.steady import ROUNDING, Steady, is_near

BATCH = 64  # rows side by side


@dataclass(frozen=True)
class Place:
    """Where a text is: the logits (1, V) of what comes next, and the state of one row."""

    logits: np.ndarray
    state: State


@dataclass
class Row:
    """A text to be drawn with the generator of (seed, k), after `prompt`.

    The prompt is read after `place`, or without one from the beginning. `nats` is what was drawn so
    far costs by the model's own distribution, before any processor, where a Drawing counts that.
    """

    k: int
    prompt: Sequence[int] = ()
    place: Place | None = None
    nats: float = 0.0
    history: History = field(default_factory=History)


# Gets a row, the id it drew and the model's logits (V,) there; returns whether the row goes on.
Listen = Callable[[Row, int, np.ndarray], bool]
# Gets a row, the model's logits (V,) and a number from [0, 1); returns whether the row ends here.
Ends = Callable[[Row, np.ndarray, float], bool]


@dataclass(frozen=True)
class Drawing:
    """How ids are drawn: `processors` bend the distribution, `greedy` takes the likeliest.

    `ends`, where there is one, is asked before every draw whether the row ends there. `costs` says
    that each row's nats are counted, which takes a single row as long as drawing.
    """

    seed: int
    processors: Sequence[Processor] = ()
    greedy: bool = False
    ends: Ends | None = None
    costs: bool = False

    def bend(self, logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        """The logits (B, V) that are drawn from."""
        for process in self.processors:
            logits = process(logits, histories)
        return logits


def read(engine: Engine, ids: Iterable[int], place: Place | None = None) -> Place:
    """The place after ids, read from `place`, or from the beginning with the start before them."""
    if place is None:
        place = Place(*engine.step(np.array([engine.start]), engine.initial_state(1)))
    for id in ids:
        place = Place(*engine.step(np.array([id]), place.state))
    return place


def generate(
    engine: Engine,
    rows: Iterable[Row],
    drawing: Drawing,
    listen: Listen,
    ended: Callable[[Row], None] = lambda row: None,
) -> None:
    """Draws all rows, BATCH of them at a time.

    Every id drawn goes to `listen`, which says whether its row goes on; then `ended(row)`.
    """
    for _ in generating(engine, rows, drawing, listen, ended):
        pass


def generating(
    engine: Engine,
    rows: Iterable[Row],
    drawing: Drawing,
    listen: Listen,
    ended: Callable[[Row], None],
) -> Iterator[None]:
    """What `generate` does, with a pause after every step of all rows."""
    waiting = iter(rows)
    batch = _Batch(engine, drawing)
    while True:
        while len(batch.rows) < BATCH and (row := next(waiting, None)) is not None:
            batch.add(row)
        if not batch.rows:
            return
        batch.advance(listen, ended)
        yield


class _Alive:
    """A row in a batch: its generator, and the ids that it has yet to read."""

    def __init__(self, row: Row, start: int, seed: int) -> None:
        self.row = row
        self.random = np.random.default_rng([seed, row.k])
        self.todo = deque(row.prompt if row.place is not None else [start, *row.prompt])


class _Batch:
    """The rows that are drawn side by side, their logits and their state."""

    def __init__(self, engine: Engine, drawing: Drawing) -> None:
        self._engine = engine
        self._drawing = drawing
        self._steady = Steady(engine)
        self.rows: list[_Alive] = []
        self._logits = np.empty((0, engine.vocabulary), dtype=np.float32)
        self._state: State | None = None

    def add(self, row: Row) -> None:
        """Takes a row in."""
        # Before anything was read the logits are never looked at.
        nothing = np.zeros((1, self._engine.vocabulary), dtype=np.float32)
        place = row.place or Place(nothing, self._engine.initial_state(1))
        self.rows.append(_Alive(row, self._engine.start, self._drawing.seed))
        self._steady.add(place.state)
        self._logits = np.concatenate((self._logits, place.logits))
        states = [place.state] if self._state is None else [self._state, place.state]
        self._state = self._engine.join(states)

    def advance(self, listen: Listen, ended: Callable[[Row], None]) -> None:
        """Every row reads one more id of its prompt, or draws one."""
        # Lists, as of one row or a few they are faster than arrays.
        ids = [alive.todo.popleft() if alive.todo else None for alive in self.rows]
        drawn = [i for i, id in enumerate(ids) if id is None]
        over = set()
        if drawn:
            found = self._draw(drawn)
            if self._drawing.costs:
                self._count(drawn, found)
            for i, id in zip(drawn, found, strict=True):
                ids[i] = id
                row = self.rows[i].row
                if id >= 0:
                    row.history.ids.append(id)
                if id < 0 or not listen(row, id, self._logits[i]):
                    over.add(i)
                    ended(row)
        if over:
            going = [i for i in range(len(ids)) if i not in over]
            ids = [ids[i] for i in going]
            self._keep(np.array(going, dtype=np.int64))
        if self.rows:
            self._logits, self._state = self._engine.step(np.array(ids), self._state)
            self._steady.stepped(ids, self._state)

    def _count(self, drawn: list[int], ids: list[int]) -> None:
        """Adds to each of the rows `drawn` what its id costs; -1 is none."""
        costs = nats_of(self._logits[drawn], np.array(ids))
        for i, id, nats in zip(drawn, ids, costs.tolist(), strict=True):
            if id >= 0:
                self.rows[i].row.nats += nats

    def _draw(self, drawn: list[int]) -> list[int]:
        """The next id of each of the rows `drawn`, -1 for a row that ends here."""
        drawing, alive = self._drawing, [self.rows[i] for i in drawn]
        uniforms = np.array([one.random.random() for one in alive])
        logits = self._logits if len(drawn) == len(self.rows) else self._logits[drawn]
        histories = [one.row.history for one in alive]
        bent = drawing.bend(logits, histories)
        ids = choose(bent, uniforms, drawing.greedy)
        again = [i for i in drawn if not self._steady.is_exact(i)]
        if again:
            margins = margins_of(bent, uniforms, drawing.greedy)
            near = is_near(drawing.bend, logits, histories, bent, margins)
            for at in np.flatnonzero(near).tolist():
                i = drawn[at]
                if self._steady.is_exact(i):
                    continue
                self._logits[i : i + 1], state = self._steady.read_again(i)
                self._put(i, state)
                bent = drawing.bend(self._logits[i : i + 1], [histories[at]])
                ids[at] = choose(bent, uniforms[at : at + 1], drawing.greedy)[0]
        if drawing.ends is not None:
            for at, (i, one) in enumerate(zip(drawn, alive, strict=True)):
                if self._ends(i, one):
                    ids[at] = -1
        return ids.tolist()

    def _ends(self, i: int, alive: _Alive) -> bool:
        """Whether row i ends before its next draw."""
        u, ends = alive.random.random(), self._drawing.ends
        if not self._steady.is_exact(i):
            off = ROUNDING * float(np.ptp(self._logits[i]))
            if len({ends(alive.row, self._logits[i], u + d) for d in (-off, off)}) > 1:
                self._logits[i : i + 1], state = self._steady.read_again(i)
                self._put(i, state)
        return ends(alive.row, self._logits[i], u)

    def _put(self, i: int, state: State) -> None:
        rows = list(range(len(self.rows)))
        rows[i] = len(rows)
        self._state = take_rows(self._engine.join([self._state, state]), rows)

    def _keep(self, rows: np.ndarray) -> None:
        self.rows = [self.rows[i] for i in rows]
        self._steady.keep(rows)
        self._logits = self._logits[rows]
        self._state = take_rows(self._state, rows) if len(rows) else None


def choose(logits: np.ndarray, uniforms: np.ndarray, greedy: bool = False) -> np.ndarray:
    """One id (B,) for each row of logits (B, V).

    It is drawn with a number from [0, 1) for each row; or, greedily, it is the likeliest.
    """
    if greedy:
        return logits.argmax(axis=-1)
    cumulative = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    cumulative = cumulative.cumsum(axis=-1)
    return (cumulative <= _targets(cumulative, uniforms)).sum(axis=-1)


def margins_of(logits: np.ndarray, uniforms: np.ndarray, greedy: bool = False) -> np.ndarray:
    """By how much (B,) it is the id that `choose` returns and no other.

    The margin is the probability between the draw and another id; greedily, a quarter of the share
    by which the likeliest is ahead. So no draw changes where no logit moves by two margins or more.
    """
    p = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    if greedy:
        p[np.arange(len(p)), logits.argmax(axis=-1)] = 0
        return (1 - p.max(axis=-1)) / 4
    cumulative = p.cumsum(axis=-1)
    totals = cumulative[:, -1]
    edges = np.abs(cumulative - _targets(cumulative, uniforms))
    # What lies past the last id can't be drawn, so that edge is none.
    edges[cumulative >= totals[:, None]] = np.inf
    return edges.min(axis=-1) / totals


def _targets(cumulative: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Where (B, 1) in the cumulative probabilities (B, V), which end anywhere, the draws fall."""
    totals = cumulative[:, -1]
    # The first id whose cumulative probability is above the target is never one of probability 0,
    # as long as rounding does not lift the target to the total.
    return np.minimum(uniforms * totals, np.nextafter(totals, 0))[:, None]


def nats_of(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The negative log-likelihood (B,) of ids (B,) by logits (B, V), float64."""
    shifted = np.subtract(logits, logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(ids)), ids]
