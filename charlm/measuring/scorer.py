"""How well a model predicts texts, each by itself: many short ones side by side, on numpy.

A text is a record, and its end is part of it. A model of records predicts the boundary there. Any
other reads the text after a newline and predicts the newline that ends it, where it knows one.

What a bidirectional model gives is no code length; see `both_sides`. A model that adapts reads the
texts in order, and one after another.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np

from charlm.adaptation import Reader, reader_of
from charlm.config import PLAINLY, AdaptationConfig
from charlm.measuring.both_sides import BothSides
from charlm.measuring.parallel import (
    ROWS,
    SteppedReader,
    after,
    record_figures,
    text_figures,
)
from charlm.measuring.rows import Rows
from charlm.measuring.symbols import Symbolizer, Symbols
from charlm.model_file import Model
from charlm.network import Bidirectional
from charlm.sampling.engine import Engine, engine_of
from charlm.sampling.generate import Place, read, rows_for
from charlm.sampling.text import opening
from charlm.score import Score

WINDOW = 4096  # texts that are sorted by length together, or
WINDOW_CHARS = 1 << 18  # so many characters of them


@dataclass(frozen=True)
class Scored:
    """A text's score, and what it is made of: its `ids` (T,) and the `nats` (T,) of each.

    A symbol that was not read has the id -1, and `unknown` has the own text of each one outside
    the vocabulary, by its place. `favourites` (T,) are the likeliest ids at each place, -1 where
    nothing is read, and `favourite_nats` (T,) what those would have cost, or None where nobody
    asked.
    """

    score: Score
    ids: np.ndarray
    nats: np.ndarray
    favourites: np.ndarray | None = None
    favourite_nats: np.ndarray | None = None
    unknown: dict[int, str] = field(default_factory=dict)


Watch = Callable[[int], AbstractContextManager[Callable[[int], object]]]


def unwatched(tokens: int) -> AbstractContextManager[Callable[[int], object]]:
    """For who need not know how far a reading is."""
    return nullcontext(lambda tokens: None)


class Scorer:
    """A model, ready to score texts. `end` is the id that ends each of them, or None.

    `unknown`, one of config.UNKNOWN_POLICIES or None, says what becomes of symbols outside the
    vocabulary, as in `Symbolizer`. They are counted in any case, and what is not read costs
    NAMING_NATS a character, so that a text is not the better for it. `config` says what a
    left-to-right model learns from the texts, each symbol after it was scored. `watch` is entered
    for each reading of so many tokens, and what it gives hears how many more were read.
    """

    def __init__(
        self,
        model: Model,
        unknown: str | None = None,
        config: AdaptationConfig = PLAINLY,
        *,
        favourites: bool = False,
        watch: Watch = unwatched,
    ) -> None:
        tokenizer = model.tokenizer
        self._symbolizer = Symbolizer(tokenizer, model.records, unknown)
        self._favourites = favourites
        self._vocabulary = tokenizer.vocabulary
        newline = opening(tokenizer, model.records)
        by_record = model.records != "none"
        self.end: int | None = tokenizer.boundary if by_record else tokenizer.newline
        self._one_by_one = not config.off
        self._reader: BothSides | _FromLeft | _Learning
        if self._one_by_one:
            adapting = reader_of(model.network, model.weights, config, model.counts)
            self._reader = _Learning(adapting, newline, watch)
        elif isinstance(model.network, Bidirectional):
            self._reader = BothSides(model.network, model.weights, newline, ends=by_record)
        else:
            engine = engine_of(model)
            self._reader = _FromLeft(engine, newline, watch, favourites=favourites)

    def check(self, text: str) -> None:
        """Raises DataError where a symbol of the text is outside the vocabulary and may not be."""
        self._symbolizer.symbols(text)

    def score(
        self, texts: Iterable[str], ends: Iterable[str | None] | None = None
    ) -> Iterator[Scored]:
        """What each text scores when it is read by itself, in order.

        `ends` has what ended each in its file; None stands for what usually does. Reads up to
        WINDOW texts ahead, so that texts of one length are read side by side; who can't wait for
        them hands over what there is. Law: a text's score does not depend on those beside it, but
        for rounding; a model that adapts reads one by one, and has learned from those before it.
        """
        pairs = zip(texts, itertools.repeat(None) if ends is None else ends, strict=False)
        if self._one_by_one:
            yield from (self.read_on(text, end=end)[0] for text, end in pairs)
            return
        for window in _windows(pairs):
            symbols = [self._symbolizer.symbols(text, end) for text, end in window]
            found: dict[int, Scored] = {}
            order = sorted(range(len(window)), key=[-len(one.read) for one in symbols].__getitem__)
            at_once = rows_for(self._vocabulary, ROWS)
            for first in range(0, len(order), at_once):
                part = order[first : first + at_once]
                rows = Rows([symbols[k].read for k in part], favourites=self._favourites)
                self._reader.read(rows)
                for row, k in enumerate(part):
                    found[k] = _scored(rows, row, symbols[k])
            yield from (found[k] for k in range(len(window)))

    def read_on(
        self, text: str, before: Place | None = None, end: str | None = None
    ) -> tuple[Scored, Place]:
        """What `text` scores after what was read before it, and the place it leads to.

        Without `before` it is the first, and `end` is as in `score`. Not for a bidirectional model,
        which reads nothing on. Law: the texts of a stream score together what the stream scores in
        one piece.
        """
        assert not isinstance(self._reader, BothSides)
        symbols = self._symbolizer.symbols(text, end)
        rows = Rows([symbols.read], favourites=self._favourites)
        place = self._reader.read_on(rows, before)
        return _scored(rows, 0, symbols), place


class _FromLeft:
    """A left-to-right network that reads texts, each of which stands after `opening`."""

    def __init__(
        self, engine: Engine, opening: list[int], watch: Watch, *, favourites: bool
    ) -> None:
        self._engine = engine
        self._reader = SteppedReader(engine, favourites=favourites)
        self._opening = opening
        self._before = after(self._reader, opening)
        self._watch = watch

    def read(self, rows: Rows) -> None:
        """Fills in what was expected at every place of `rows`."""
        with self._watch(len(rows.ids)) as advance:
            figures = record_figures(self._reader, rows.ids, rows.begins, self._before, advance)
        rows.fill(figures)

    def read_on(self, rows: Rows, before: Place | None) -> Place:
        """Fills in what was expected in the one text of `rows`, and gives the place after it."""
        at = before or read(self._engine, self._opening)
        if not len(rows.ids):
            return at
        rows.put(np.array([0]), at.logits)
        last, state = rows.ids[-1:], at.state
        if len(rows.ids) > 1:
            text, first = rows.ids[1:], (rows.ids[0], state)
            with self._watch(len(text)) as advance:
                figures, state = text_figures(self._reader, text, first, advance)
            rows.fill(figures, 1)
        return read(self._engine, last, Place(at.logits, state))


class _Learning:
    """What `_FromLeft` is, by a reader that learns from every text that it reads."""

    def __init__(self, reader: Reader, opening: list[int], watch: Watch) -> None:
        self._reader = reader
        self._opening = opening
        self._watch = watch

    def read_on(self, rows: Rows, before: Place | None) -> Place:
        """Fills in what was expected in the one text of `rows`, and gives the place after it."""
        if before is None:
            self._reader.end()
            for id in self._opening:
                self._reader.given(id)
        at = 0
        with self._watch(len(rows.ids)) as advance:
            if rows.favourites is None:
                for nats in self._reader.nats_of_all(rows.ids):
                    rows.nats[at : at + len(nats)] = nats
                    at += len(nats)
                    advance(len(nats))
            else:
                for logits in self._reader.read_all(rows.ids):
                    rows.put(np.arange(at, at + len(logits)), logits)
                    at += len(logits)
                    advance(len(logits))
        return self._reader.place


def _scored(rows: Rows, row: int, symbols: Symbols) -> Scored:
    nats = symbols.priced(rows.of(row, rows.nats))
    best, best_nats = rows.of(row, rows.favourites), rows.of(row, rows.favourite_nats)
    if best is not None and len(best) < len(nats):
        # Where nothing is read the same is expected as at the next place at which something is.
        places = np.cumsum(symbols.ids >= 0) - (symbols.ids >= 0)
        best = np.append(best, -1)[places]
        best_nats = np.append(best_nats, np.nan)[places]
    return Scored(symbols.score(nats), symbols.ids, nats, best, best_nats, symbols.unknown)


def _windows(
    pairs: Iterable[tuple[str, str | None]],
) -> Iterator[list[tuple[str, str | None]]]:
    window: list[tuple[str, str | None]] = []
    chars = 0
    for text, end in pairs:
        window.append((text, end))
        chars += len(text)
        if len(window) == WINDOW or chars >= WINDOW_CHARS:
            yield window
            window, chars = [], 0
    if window:
        yield window
