"""Samples as text: rows in, characters out as soon as they are certain."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from charlm.config import SamplingConfig
from charlm.sampling import processors
from charlm.sampling.engine import Engine
from charlm.sampling.generate import Drawing, Row, generating
from charlm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from charlm.sampling.matching import Matcher

DEFAULT_LENGTH = 500
RECORD_LENGTH = 10_000  # where a model may never come to a record's end
WINDOW = 1024  # rows of which texts are kept until their turn comes


@dataclass(frozen=True)
class Manner:
    """How samples are drawn, and where each ends.

    That is after `length` characters, before one of the texts `stops`, after so many `lines`, where
    its record ends, or where `matcher` says that it is whole. `costs` says that each
    Row.nats is counted.
    """

    config: SamplingConfig
    seed: int
    length: int | None = None
    stops: tuple[str, ...] = ()
    lines: int | None = None
    banned: Sequence[int] = ()
    matcher: "Matcher | None" = None
    costs: bool = False

    def drawing(self, tokenizer: Tokenizer) -> Drawing:
        """What the sampling loop wants to know of it."""
        config, matcher = self.config, self.matcher
        # The unknown stands for no text.
        unknown = {tokenizer.unknown} - {None}
        bends = processors.pipeline(config, match=matcher, banned=self.banned or sorted(unknown))
        greedy = config.greedy or config.temperature == 0
        ends = None
        if matcher is not None:

            def ends(row: Row, logits: np.ndarray, u: float) -> bool:
                return matcher.ends(logits, row.history, 0.5 if greedy else u)

        return Drawing(self.seed, bends, greedy, ends, self.costs)


class Sample:
    """One sample's text as it grows.

    `emit` gets the text in pieces; bytes that are not UTF-8 come as lone surrogates, from which
    "surrogateescape" makes the same bytes again. A stop string is not part of the text, so what may
    yet turn out to begin one is held back. `stopped` says why it ended: "length", "stop", "lines",
    "record" or "match". `chars` counts what was drawn, with a record's end.
    """

    def __init__(self, tokenizer: Tokenizer, manner: Manner, emit: Callable[[str], None]) -> None:
        self.stopped: str | None = None
        self.chars = 0
        self._boundary = tokenizer.boundary
        self._decoder = tokenizer.decoder("surrogateescape")
        self._room = manner.length
        self._stops = manner.stops
        self._lines = manner.lines
        self._emit = emit
        self._held = ""

    def hear(self, id: int) -> bool:
        """Takes the next id; returns whether the sample goes on."""
        if id == self._boundary:
            self.chars += 1
            self._take(self._decoder.close())
            self.end("record")
        else:
            self._take(self._decoder.feed(id))
        return self.stopped is None

    def end(self, why: str) -> None:
        """Ends the sample for that reason, unless it has ended."""
        if self.stopped is None:
            if self._held:
                self._emit(self._held)
            self.stopped = why

    def _take(self, text: str) -> None:
        self.chars += len(text)
        if self._room is not None:
            text = text[: self._room]
            self._room -= len(text)
        if self._stops or self._lines is not None:
            text = self._certain(text)
        if text:
            self._emit(text)
        if self._lines == 0:
            self.end("lines")
        elif self._room == 0:
            self.end("length")

    def _certain(self, text: str) -> str:
        """What is surely the sample's of the text held back and this; a stop string ends it."""
        text = self._held + self._within_lines(text)
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = text[: min(found)]
            self.end("stop")
            return ""
        certain = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[certain:]
        return text[:certain]

    def _within_lines(self, text: str) -> str:
        """The text up to the end of the last line that there is room for, and what room is left."""
        if self._lines is None:
            return text
        pieces = text.split("\n", self._lines)
        self._lines -= len(pieces) - 1
        return text if self._lines else text[: len(text) - len(pieces[-1])]


def opening(tokenizer: Tokenizer, records: str) -> list[int]:
    """The ids read before a text, whether it is measured or goes on: a newline, or nothing.

    A model of records begins at the beginning of a record by itself. Any other was trained from
    the middle of its text, so what comes first in it says nothing of a text's beginning: that is
    read as what it is, a line's beginning, where the model knows a newline.
    """
    newline = tokenizer.newline if records == "none" else None
    return [] if newline is None else [newline]


def sample_texts(
    engine: Engine,
    tokenizer: Tokenizer,
    rows: Iterable[Row],
    manner: Manner,
    *,
    emit: Callable[[Row, str], None],
    ended: Callable[[Row, Sample], None],
    seen: Callable[[Row, int, np.ndarray], None] | None = None,
) -> None:
    """Draws the samples of `rows`, each of which has a number k of its own.

    `emit(row, text)` gets each row's text, in the order of `rows`: the first row that has not ended
    is emitted as it is made, what is drawn beside it is kept until its turn; then `ended(row,
    sample)`. `seen(row, id, logits)` gets every id as it is drawn, with the model's logits (V,).
    """
    for _ in sampling_texts(engine, tokenizer, rows, manner, emit=emit, ended=ended, seen=seen):
        pass


def sampling_texts(
    engine: Engine,
    tokenizer: Tokenizer,
    rows: Iterable[Row],
    manner: Manner,
    *,
    emit: Callable[[Row, str], None],
    ended: Callable[[Row, Sample], None],
    seen: Callable[[Row, int, np.ndarray], None] | None = None,
) -> Iterator[None]:
    """What `sample_texts` does, with a pause after every step of all rows."""
    rows = iter(rows)
    drawing = manner.drawing(tokenizer)
    while window := list(islice(rows, WINDOW)):
        turns = _InTurn(window, lambda tell: Sample(tokenizer, manner, tell), emit, ended)

        def listen(row: Row, id: int, logits: np.ndarray, turns: "_InTurn" = turns) -> bool:
            if seen is not None:
                seen(row, id, logits)
            sample = turns.sample(row)
            going = sample.hear(id)
            if going and manner.matcher is not None and manner.matcher.finished(row.history):
                sample.end("match")
            return sample.stopped is None

        if manner.length == 0:
            for row in window:
                turns.sample(row).end("length")
                turns.over(row)
        else:
            yield from generating(engine, window, drawing, listen, turns.over)


class _InTurn:
    """Samples drawn side by side and told one after another.

    The first that has not ended is let through at once; the others' text is kept for their turn.
    """

    def __init__(
        self,
        rows: list[Row],
        begin: Callable[[Callable[[str], None]], Sample],
        emit: Callable[[Row, str], None],
        ended: Callable[[Row, Sample], None],
    ) -> None:
        self._waiting = iter(rows)
        self._turn = next(self._waiting)
        self._begin = begin
        self._emit = emit
        self._ended = ended
        self._kept: dict[int, list[str]] = {}
        self._samples: dict[int, Sample] = {}

    def sample(self, row: Row) -> Sample:
        """The row's sample."""
        if row.k not in self._samples:
            self._samples[row.k] = self._begin(partial(self._tell, row))
        return self._samples[row.k]

    def over(self, row: Row) -> None:
        """The row draws no more."""
        self.sample(row).end("match")
        while self._turn is not None:
            sample = self._samples.get(self._turn.k)
            if sample is None or sample.stopped is None:
                return
            del self._samples[self._turn.k]
            self._ended(self._turn, sample)
            self._turn = next(self._waiting, None)
            if self._turn is not None:
                for text in self._kept.pop(self._turn.k, []):
                    self._emit(self._turn, text)

    def _tell(self, row: Row, text: str) -> None:
        if row is self._turn:
            self._emit(row, text)
        else:
            self._kept.setdefault(row.k, []).append(text)


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
