"""Samples as text: a prompt in, characters out as soon as they are certain."""

from collections.abc import Callable
from functools import partial

import numpy as np

from charlm.config import SamplingConfig
from charlm.sampling import processors
from charlm.sampling.engine import Engine
from charlm.sampling.generate import generate, read
from charlm.tokenizer import Tokenizer

DEFAULT_LENGTH = 500
RECORD_LENGTH = 10_000  # where a model may never come to a record's end
BATCH = 64  # rows drawn side by side


class Sample:
    """One sample's text as it grows, up to a length in characters, a stop string or its record.

    `emit` gets the text in pieces; bytes that are not UTF-8 come as lone surrogates, from which
    "surrogateescape" makes the same bytes again. A stop string is not part of the text, so what may
    yet turn out to begin one is held back. `stopped` says why it ended: "length", "stop" or
    "record".
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        length: int | None,
        stops: tuple[str, ...],
        emit: Callable[[str], None],
    ) -> None:
        self.stopped: str | None = None
        self._boundary = tokenizer.boundary
        self._decoder = tokenizer.decoder("surrogateescape")
        self._room = length
        self._stops = stops
        self._emit = emit
        self._held = ""

    def hear(self, id: int) -> bool:
        """Takes the next id; returns whether the sample goes on."""
        if id == self._boundary:
            self._take(self._decoder.close())
            self._end("record")
        else:
            self._take(self._decoder.feed(id))
        return self.stopped is None

    def _take(self, text: str) -> None:
        if self._room is not None:
            text = text[: self._room]
            self._room -= len(text)
        text = self._held + text
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._held = text[: min(found)]
            self._end("stop")
            return
        certain = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[certain:]
        if certain:
            self._emit(text[:certain])
        if self._room == 0:
            self._end("length")

    def _end(self, why: str) -> None:
        if self.stopped is None:
            if self._held:
                self._emit(self._held)
            self.stopped = why


def opening(tokenizer: Tokenizer, records: str, prompt: np.ndarray) -> np.ndarray:
    """The ids read before the first draw: the prompt, or without one a line's beginning.

    A model of records begins at the beginning of a record by itself. Any other was trained from
    the middle of its text, and begins more naturally after a newline, where it knows one.
    """
    if len(prompt) or records != "none":
        return prompt
    newline = [id for id, piece in enumerate(tokenizer.pieces) if piece == b"\n"]
    return np.array(newline[:1], dtype=np.int64)


def sample_texts(
    engine: Engine,
    tokenizer: Tokenizer,
    beginning: np.ndarray,
    config: SamplingConfig,
    *,
    seed: int,
    length: int | None,
    stops: tuple[str, ...] = (),
    emit: Callable[[int, str], None],
    ended: Callable[[int, str], None],
) -> None:
    """Draws `config.samples` samples after the ids `beginning`.

    `emit(k, text)` gets sample k's text, in order: the first sample that has not ended is emitted
    as it is made, the ones drawn beside it are kept until their turn; then `ended(k, why)`.
    """
    if length == 0:
        for k in range(config.samples):
            ended(k, "length")
        return
    logits, state = read(engine, beginning)
    bends = processors.pipeline(config)
    if tokenizer.unknown is not None:
        bends.insert(0, processors.ban([tokenizer.unknown]))  # it stands for no text
    for first in range(0, config.samples, BATCH):
        rows = range(first, min(first + BATCH, config.samples))
        samples = _InTurn(tokenizer, rows, length, stops, emit, ended)
        generate(
            engine,
            logits,
            state,
            rows=list(rows),
            seed=seed,
            processors=bends,
            greedy=config.greedy or config.temperature == 0,
            listen=samples.hear,
        )


class _InTurn:
    """Samples drawn side by side and told one after another.

    The first that has not ended is let through at once; the others' text is kept for their turn.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: range,
        length: int | None,
        stops: tuple[str, ...],
        emit: Callable[[int, str], None],
        ended: Callable[[int, str], None],
    ) -> None:
        self._turn = rows.start
        self._emit = emit
        self._ended = ended
        self._kept: dict[int, list[str]] = {}
        self._samples = {k: Sample(tokenizer, length, stops, partial(self._tell, k)) for k in rows}

    def hear(self, k: int, id: int) -> bool:
        """Gives sample k its next id; returns whether it goes on."""
        going = self._samples[k].hear(id)
        while (turn := self._samples.get(self._turn)) and turn.stopped is not None:
            self._ended(self._turn, turn.stopped)
            self._turn += 1
            for text in self._kept.pop(self._turn, []):
                self._emit(self._turn, text)
        return going

    def _tell(self, k: int, text: str) -> None:
        if k == self._turn:
            self._emit(k, text)
        else:
            self._kept.setdefault(k, []).append(text)


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
