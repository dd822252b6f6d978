"""The order in which a split is read: batches of rows, each row one stream of text.

A stream's position is a few numbers (`state_dict`), so that a run can go on exactly where it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.corpus import Corpus
from charlm.errors import ConfigError

IGNORED = -100  # the target of a position that only pads; torch's cross-entropy leaves it out


@dataclass(frozen=True)
class Batch:
    """One update's text: `inputs` and `targets` (B, T), int64; targets follow inputs by one.

    `fresh` (B,) says which rows begin anew: with `start` before their text and the initial state.
    `window` (B, T + ahead) is the text from the first target on, whether it counts or not, as far
    ahead as the streams were told to look; what lies past the text's or record's end is -1.
    """

    inputs: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray
    window: np.ndarray

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int((self.targets != IGNORED).sum())


class Streams(ABC):
    """Endless batches over a split, epoch after epoch; subclasses lay out one epoch."""

    def __init__(self, start: int, seed: int, ahead: int) -> None:
        self.start = start
        self.seed = seed
        self.ahead = ahead
        self.epoch = 0
        self.batches_done = 0  # in this epoch
        self._batches: Iterator[Batch] | None = None

    def next(self) -> Batch:
        """The next batch; a new epoch begins when one ends."""
        if self._batches is None:
            self._batches = self.batches(self.batches_done)
        batch = next(self._batches, None)
        if batch is None:
            self.epoch += 1
            self.batches_done = 0
            self._batches = self.batches(0)
            batch = next(self._batches)
        self.batches_done += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain data."""
        return {"epoch": self.epoch, "batches_done": self.batches_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a position that `state_dict` gave."""
        self.epoch, self.batches_done = state["epoch"], state["batches_done"]
        self._batches = None

    @abstractmethod
    def epoch_batches(self) -> int:
        """How many batches the current epoch has."""

    @abstractmethod
    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of the current epoch from number `first` on."""


class ContiguousStreams(Streams):
    """Rows side by side, each reading its own contiguous part of the text, T steps at a time.

    Now and then a row begins anew in the middle of its text. Without that, a model has hardly ever
    seen its own initial state, and some prompts lead it from there into states it never leaves.
    Law: an epoch has every token as a target exactly once.

    With `vary`, contexts differ in length, a little and one in twenty by half, so that a text is
    not always cut in the same places. Source: Merity, Keskar and Socher 2017
    (arXiv:1708.02182), sec. 4.1.
    """

    # The share of contexts with which a row begins anew: often enough to learn it within a minute,
    # rarely enough that a state is carried over some 50 contexts.
    RESTARTS = 0.02
    # Of contexts that vary: how many are half as long, the deviation of their length as a share,
    # which makes 5 of the source's 70, and the least of it.
    HALVES, SPREAD, LEAST = 0.05, 1 / 14, 5

    def __init__(
        self,
        ids: np.ndarray,
        *,
        rows: int,
        context: int,
        start: int,
        seed: int = 0,
        ahead: int = 0,
        vary: bool = False,
    ) -> None:
        super().__init__(start, seed, ahead)
        self.ids = ids
        self.context = context
        self.vary = vary
        # A short text is read in fewer rows, so that a row has a context to learn from.
        rows = max(1, min(rows, len(ids) // context))
        edges = np.arange(rows + 1) * len(ids) // rows
        self.firsts, self.ends = edges[:-1, None], edges[1:, None]  # (B, 1)
        self.length = int((self.ends - self.firsts).max())

    def epoch_batches(self) -> int:
        """How many batches this epoch has; if contexts vary, another one has a few others."""
        return len(self._begins())

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on."""
        edges = np.append(self._begins(), self.length)
        for number in range(first, len(edges) - 1):
            offsets = np.arange(edges[number], edges[number + 1])
            positions = self.firsts + offsets  # (B, T)
            inside = positions < self.ends  # rows differ in length by one
            targets = self.ids[np.minimum(positions, self.ends - 1)].astype(np.int64)
            inputs = self.ids[np.maximum(positions - 1, 0)].astype(np.int64)
            rng = np.random.default_rng([self.seed, self.epoch, number])
            fresh = rng.random(len(self.firsts)) < (self.RESTARTS if number else 1.0)
            inputs[fresh, 0] = self.start
            targets = np.where(inside, targets, IGNORED)
            window = window_of(self.ids, positions, self.ahead, len(self.ids))
            yield Batch(inputs, targets, fresh, window)

    def _begins(self) -> np.ndarray:
        """Where in its rows each context of this epoch begins."""
        if not self.vary:
            return np.arange(0, self.length, self.context)
        # A stream of its own beside that of restarts, which has a batch's number at its end.
        rng = np.random.default_rng([self.seed, self.epoch])
        least = min(self.LEAST, self.context)
        at_most = self.length // least + 1
        middles = np.where(rng.random(at_most) < self.HALVES, self.context / 2, self.context)
        lengths = rng.normal(middles, self.SPREAD * self.context).astype(np.int64)
        lengths = np.maximum(lengths, least)
        begins = np.concatenate([[0], np.cumsum(lengths)])
        return begins[begins < self.length]


class RecordStreams(Streams):
    """Records kept apart: every row reads one record, from `start` to its boundary.

    Records of similar length share a batch, so that little is padding; how many depends on their
    length, so that a batch holds about `rows * context` tokens. Records longer than the context
    are read in pieces with the state carried on. Law: an epoch has every token as a target once.
    """

    # Sorting by length only within windows of this many records keeps the order random.
    WINDOW = 4096

    def __init__(
        self,
        ids: np.ndarray,
        *,
        boundary: int,
        rows: int,
        context: int,
        start: int,
        seed: int = 0,
        ahead: int = 0,
        shuffled: bool = True,
    ) -> None:
        super().__init__(start, seed, ahead)
        self.ids = ids
        self.rows = rows
        self.context = context
        self.shuffled = shuffled
        self.ends = _positions(ids, boundary) + 1
        if len(ids) and (not len(self.ends) or self.ends[-1] != len(ids)):
            self.ends = np.append(self.ends, len(ids))
        self.firsts = np.concatenate([[0], self.ends[:-1]])

    def epoch_batches(self) -> int:
        """How many batches this epoch has; another order of the records may take a few others."""
        return sum(self._pieces(group) for group in self._groups())

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches of the current epoch from number `first` on."""
        done = 0
        for group in self._groups():
            pieces = self._pieces(group)
            for piece in range(max(first - done, 0), pieces):
                yield self._batch(group, piece)
            done += pieces

    def _groups(self) -> Iterator[np.ndarray]:
        """The records of each group of rows, as indices, in the order of this epoch."""
        lengths = self.ends - self.firsts
        order = np.arange(len(lengths))
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.shuffled:
            rng.shuffle(order)
        for begin in range(0, len(order), self.WINDOW):
            window = order[begin : begin + self.WINDOW]
            window = window[np.argsort(-lengths[window], kind="stable")]
            groups, used = [], 0
            while used < len(window):
                # The longest first, so that a group's size follows from its first record.
                longest = min(int(lengths[window[used]]), self.context)
                size = max(self.rows, self.rows * self.context // longest)
                groups.append(window[used : used + size])
                used += size
            turns = rng.permutation(len(groups)) if self.shuffled else range(len(groups))
            yield from (groups[turn] for turn in turns)

    def _pieces(self, group: np.ndarray) -> int:
        """How many contexts the longest record of a group takes."""
        return -(-int((self.ends[group] - self.firsts[group]).max()) // self.context)

    def _batch(self, group: np.ndarray, piece: int) -> Batch:
        firsts, ends = self.firsts[group, None], self.ends[group, None]
        begin = piece * self.context
        length = min(self.context, int((ends - firsts).max()) - begin)
        positions = firsts + np.arange(begin, begin + length)  # (B, T)
        inside = positions < ends
        targets = self.ids[np.minimum(positions, ends - 1)].astype(np.int64)
        inputs = self.ids[np.clip(positions - 1, 0, len(self.ids) - 1)].astype(np.int64)
        if piece == 0:
            inputs[:, 0] = self.start
        fresh = np.full(len(group), piece == 0)
        window = window_of(self.ids, positions, self.ahead, ends)
        return Batch(inputs, np.where(inside, targets, IGNORED), fresh, window)


def window_of(
    ids: np.ndarray, positions: np.ndarray, ahead: int, ends: np.ndarray | int
) -> np.ndarray:
    """The ids (B, T + ahead) at positions (B, T) and those after them, -1 from `ends` on."""
    after = positions[:, -1:] + 1 + np.arange(ahead)
    positions = np.concatenate([positions, after], axis=1)
    found = ids[np.minimum(positions, len(ids) - 1)].astype(np.int64)
    return np.where(positions < ends, found, -1)


def streams_of(
    corpus: Corpus,
    split: str,
    *,
    rows: int,
    context: int,
    seed: int,
    ahead: int = 0,
    vary: bool = False,
) -> Streams:
    """The streams of a corpus's split: by record where it has records, else contiguous.

    Raises ConfigError where contexts are to vary and the lengths are those of records.
    """
    ids, tokenizer = corpus.ids(split), corpus.tokenizer
    start = tokenizer.vocabulary
    if corpus.records == "none" or tokenizer.boundary is None:
        return ContiguousStreams(
            ids, rows=rows, context=context, start=start, seed=seed, ahead=ahead, vary=vary
        )
    if vary:
        raise ConfigError(
            f"vary_context is for one running text, and {corpus.path} has records, each of a"
            " length of its own; leave it out."
        )
    return RecordStreams(
        ids,
        boundary=tokenizer.boundary,
        rows=rows,
        context=context,
        start=start,
        seed=seed,
        ahead=ahead,
    )


def _positions(ids: np.ndarray, wanted: int, chunk: int = 1 << 24) -> np.ndarray:
    """Where `wanted` stands in ids, found a chunk at a time so that a big file stays on disk."""
    found = [
        np.flatnonzero(ids[begin : begin + chunk] == wanted) + begin
        for begin in range(0, len(ids), chunk)
    ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
