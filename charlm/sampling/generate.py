"""The sampling loop: ids in, ids out. Knows neither text nor tokenizer.

Rows are read and drawn side by side, and as one ends the next takes its place. Row k draws from a
generator of its own, made from (seed, k), and what it draws depends on (seed, k), on its prompt and
on how it is drawn alone, not on the rows beside it: see steady.py.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from charlm.network.states import State, take_rows
from charlm.sampling.draws import choose, choose_one, margins_of
from charlm.sampling.engine import Engine
from charlm.sampling.processors import History, Processor
from charlm.sampling.steady import ROUNDING, Steady, is_near
from charlm.score import nats_of

BATCH = 64  # rows side by side
MOST_LOGITS = 1 << 22  # of all rows together; with a large vocabulary there are fewer rows


@dataclass(frozen=True)
class Place:
    """Where a text is: the logits (1, V) of what comes next, and the state of one row.

    Where it was read beside others rounding is in both; then reading `since` from the state `exact`
    leads to the same place without it.
    """

    logits: np.ndarray
    state: State
    exact: State | None = None
    since: Sequence[int] = ()


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
    that each row's nats are counted, which takes a single row as long as drawing. Where it is not
    `steady`, rounding may decide a draw, and so may the rows beside it.
    """

    seed: int
    processors: Sequence[Processor] = ()
    greedy: bool = False
    ends: Ends | None = None
    costs: bool = False
    steady: bool = True

    @property
    def kind(self) -> tuple[int, bool]:
        """What is the same for drawings whose rows can be drawn at once."""
        return id(self.processors), self.greedy

    def bend(self, logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        """The logits (B, V) that are drawn from."""
        for process in self.processors:
            logits = process(logits, histories)
        return logits


def rows_for(vocabulary: int, most: int = BATCH) -> int:
    """How many rows are drawn side by side from so large a vocabulary."""
    return max(1, min(most, MOST_LOGITS // vocabulary))


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
    """Draws all rows, up to BATCH of them at a time.

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
    batch, most = Batch(engine), rows_for(engine.vocabulary)
    while True:
        while len(batch.rows) < most and (row := next(waiting, None)) is not None:
            batch.add(row, drawing)
        if not batch.rows:
            return
        ids, drawn = batch.next_ids()
        over = []
        for i in drawn:
            row = batch.rows[i]
            if ids[i] < 0 or not listen(row, ids[i], batch.logits[i]):
                over.append(i)
                ended(row)
        batch.go_on(ids, over)
        yield


class _Alive:
    """How a row in a batch is drawn, its generator, and the ids that it has yet to read."""

    def __init__(self, row: Row, drawing: Drawing, start: int) -> None:
        self.drawing = drawing
        bits = np.random.PCG64([drawing.seed, row.k])
        # A row that was put off has taken these numbers already.
        bits.advance(len(row.history.ids) * (1 if drawing.ends is None else 2))
        self.random = np.random.Generator(bits)
        self.todo = deque(row.prompt if row.place is not None else [start, *row.prompt])


class Batch:
    """Rows that are read and drawn side by side; they come and go between two steps.

    A step is `next_ids`, which says what each of `rows` reads next, and then `go_on`. `logits`
    (B, V) are of what each is to read, and mean nothing while a row has read nothing.

    A row whose draw rounding might decide is read again at once, unless that takes more than
    `patience` steps, for which all would have to wait. Then it is in `put_off` and draws nothing:
    it is to leave, and to come back when its place is exact.
    """

    def __init__(self, engine: Engine, patience: int | None = None) -> None:
        self.rows: list[Row] = []
        self.put_off: list[int] = []
        self.logits = np.empty((0, engine.vocabulary), dtype=np.float32)
        self._engine = engine
        self._patience = patience
        self._alive: list[_Alive] = []
        self._steady = Steady(engine)
        self._state: State | None = None

    def add(self, row: Row, drawing: Drawing) -> None:
        """Takes a row in."""
        nothing = np.zeros((1, self._engine.vocabulary), dtype=np.float32)
        place = row.place or Place(nothing, self._engine.initial_state(1))
        self.rows.append(row)
        self._alive.append(_Alive(row, drawing, self._engine.start))
        self._steady.add(place.exact or place.state, place.since)
        self.logits = np.concatenate((self.logits, place.logits))
        states = [place.state] if self._state is None else [self._state, place.state]
        self._state = self._engine.join(states)

    def has_read(self, i: int) -> bool:
        """Whether row i has read its prompt."""
        return not self._alive[i].todo

    def place(self, i: int) -> Place:
        """Where row i is."""
        exact, since = self._steady.base(i)
        return Place(self.logits[i : i + 1].copy(), take_rows(self._state, [i]), exact, since)

    def next_ids(self) -> tuple[list[int], list[int]]:
        """What each row reads next, and which rows have drawn it; -1 for a row that ends here."""
        self.put_off = []
        if self._is_alone():
            return [self._draw_alone()], [0]
        # Lists, as of one row or a few they are faster than arrays.
        drawn = [i for i, alive in enumerate(self._alive) if not alive.todo]
        ids = [alive.todo.popleft() if alive.todo else -1 for alive in self._alive]
        alike: dict[tuple[int, bool], list[int]] = {}
        for i in drawn:
            alike.setdefault(self._alive[i].drawing.kind, []).append(i)
        for some in alike.values():
            for i, id in zip(some, self._draw(some), strict=True):
                ids[i] = id
                if id >= 0:
                    self.rows[i].history.ids.append(id)
        return ids, [i for i in drawn if i not in self.put_off] if self.put_off else drawn

    def go_on(self, ids: list[int], over: Collection[int] = ()) -> None:
        """All rows but those that are `over`, which leave, read their ids."""
        if over:
            gone = set(over)
            ids = [id for i, id in enumerate(ids) if i not in gone]
            self.remove(gone)
        if self.rows:
            self.logits, self._state = self._engine.step(np.array(ids), self._state)
            self._steady.stepped(ids, self._state)

    def remove(self, gone: Collection[int]) -> None:
        """Those rows leave."""
        going = [i for i in range(len(self.rows)) if i not in gone]
        self.rows = [self.rows[i] for i in going]
        self._alive = [self._alive[i] for i in going]
        self._steady.keep(going)
        self.logits = self.logits[going]
        self._state = take_rows(self._state, going) if going else None

    def _count(self, drawn: list[int], ids: list[int]) -> None:
        """Adds to each of the rows `drawn` what its id costs; -1 is none."""
        costs = nats_of(self.logits[drawn], np.array(ids))
        for i, id, nats in zip(drawn, ids, costs.tolist(), strict=True):
            if id >= 0:
                self.rows[i].nats += nats

    def _is_alone(self) -> bool:
        """Whether there is one row, as it would be alone, whose next id is drawn in any case."""
        if len(self.rows) != 1 or not self._steady.is_exact(0):
            return False
        [one] = self._alive
        return not one.todo and one.drawing.ends is None

    def _draw_alone(self) -> int:
        """The next id of that row; of a single one the number of operations is what counts."""
        [one], [row] = self._alive, self.rows
        bent = one.drawing.bend(self.logits, [row.history])
        id = choose_one(bent[0], one.random.random(), one.drawing.greedy)
        row.history.ids.append(id)
        if one.drawing.costs:
            self._count([0], [id])
        return id

    def _draw(self, drawn: list[int]) -> list[int]:
        """The next id of each of the rows `drawn`, all of one kind; -1 for a row that ends here."""
        alive = [self._alive[i] for i in drawn]
        drawing = alive[0].drawing
        uniforms = np.array([one.random.random() for one in alive])
        logits = self.logits if len(drawn) == len(self.rows) else self.logits[drawn]
        histories = [self.rows[i].history for i in drawn]
        bent = drawing.bend(logits, histories)
        ids = choose(bent, uniforms, drawing.greedy)
        unsure = {i for i in drawn if self._is_unsure(i)}
        if unsure:
            margins = margins_of(bent, uniforms, drawing.greedy)
            near = is_near(drawing.bend, logits, histories, bent, margins)
            for at in np.flatnonzero(near).tolist():
                i = drawn[at]
                if i not in unsure:
                    continue
                if self._patience is not None and self._steady.behind(i) > self._patience:
                    self.put_off.append(i)
                    ids[at] = -1
                    continue
                self._read_again(i)
                bent = drawing.bend(self.logits[i : i + 1], [histories[at]])
                ids[at] = choose(bent, uniforms[at : at + 1], drawing.greedy)[0]
        for at, (i, one) in enumerate(zip(drawn, alive, strict=True)):
            if one.drawing.ends is not None and self._ends(i, one.drawing.ends):
                ids[at] = -1
        found: list[int] = ids.tolist()
        if drawing.costs:
            self._count(drawn, found)
        return found

    def _ends(self, i: int, ends: Ends) -> bool:
        """Whether row i ends before its next draw."""
        u = self._alive[i].random.random()
        if self._is_unsure(i):
            off = ROUNDING * float(np.ptp(self.logits[i]))
            if len({ends(self.rows[i], self.logits[i], u + d) for d in (-off, off)}) > 1:
                self._read_again(i)
        return ends(self.rows[i], self.logits[i], u)

    def _is_unsure(self, i: int) -> bool:
        """Whether rounding might decide what row i draws, and must not."""
        return self._alive[i].drawing.steady and not self._steady.is_exact(i)

    def _read_again(self, i: int) -> None:
        """Row i is exact from here on."""
        self.logits[i : i + 1], state = self._steady.read_again(i)
        rows = list(range(len(self.rows)))
        rows[i] = len(rows)
        self._state = take_rows(self._engine.join([self._state, state]), rows)
