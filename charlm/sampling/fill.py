"""Filling gaps with a network that reads both sides of them: ids in, ids out.

A gap of n symbols is filled from left to right: symbol i is drawn given all that stands before it,
what was filled in included, and what begins n - i places on. By the chain rule that is one draw of
the whole gap given everything else.

Where there are several gaps, none can see what is not there yet. So they are filled once from left
to right, each seeing only the known text on its right, and then again in further passes, each given
all others as they are now. That is Gibbs sampling, a gap at a time: from pass to pass the gaps come
closer to a draw of all of them together, given the known text.

Source: Geman and Geman 1984, "Stochastic relaxation, Gibbs distributions, and the Bayesian
restoration of images".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from charlm.network import Bidirectional
from charlm.network.states import put_rows, take_rows
from charlm.sampling.draws import choose
from charlm.sampling.generate import BATCH, rows_for
from charlm.sampling.processors import History, Processor, ban
from charlm.sampling.sides import Reading, Side
from charlm.score import nats_of

# Of a longer text between two gaps so much is read beside each, from the start, as in training.
# What lay 64 back or farther changed a gru's prediction by less than 1e-6 bits; attention remembers
# 512 symbols unless told.
REACH = 1024
FOLLOWING = 16  # known symbols after a gap that take part in choosing its length


@dataclass(frozen=True)
class Gapped:
    """A text with gaps: the ids `known[g]` stand before gap g, and the last after all gaps.

    Gap g begins with none of the ids `not_first[g]`.
    """

    known: list[np.ndarray]
    not_first: list[list[int]]


@dataclass(frozen=True)
class Drawn:
    """What a gap was filled with, and its negative log-likelihood in nats.

    That is given what was seen on both sides when it was drawn, and before any processor.
    """

    ids: list[int]
    nats: float


def draws(gaps: int, samples: int, passes: int) -> int:
    """How many gaps `Filler.fill` fills in all samples and passes."""
    return gaps * samples * _turns(gaps, passes)


def _turns(gaps: int, passes: int) -> int:
    return 1 + (passes if gaps > 1 else 0)


class Filler:
    """A bidirectional network with its weights, ready to fill gaps.

    `processors` bend the distributions that are drawn from; `greedy` takes the likeliest.
    """

    def __init__(
        self,
        network: Bidirectional,
        weights: dict[str, np.ndarray],
        *,
        processors: Sequence[Processor] = (),
        greedy: bool = False,
    ) -> None:
        self._network = network
        self._w = network.arrange(weights)
        self._left = _Side(network.stack, self._w["stack"], self._w["embedding"])
        self._right = _Side(network.right, self._w["right"], self._w["embedding"])
        self._processors = processors
        self._greedy = greedy

    def fill(
        self,
        text: Gapped,
        lengths: Sequence[Sequence[int]],
        *,
        samples: int = 1,
        seed: Sequence[int] = (0,),
        passes: int = 0,
        tries: int = 1,
        advance: Callable[[int], object] = lambda gaps: None,
    ) -> Iterator[list[Drawn]]:
        """What fills each gap of `text`, `samples` times; gap g has one of `lengths[g]` symbols.

        Each length is drawn `tries` times, and of all draws the one is kept that reads best from
        left to right together with the FOLLOWING known symbols, which are the same for all. Where
        none follow, nothing tells where the gap ends, and it has the last of its lengths.

        Every draw has a generator made from `seed`, its sample, pass, gap, length and try. Law:
        what is drawn for one of them does not depend on which others there are.

        `advance` gets how many more of `draws` gaps were filled.
        """
        at_once = rows_for(self._network.vocabulary, BATCH)
        for first in range(0, samples, at_once):
            part = range(first, min(first + at_once, samples))
            once = 1 if self._greedy else tries
            gaps = self._gaps(text, lengths, part, seed, passes, once, advance)
            yield from map(list, zip(*gaps, strict=True))

    def _gaps(
        self,
        text: Gapped,
        lengths: Sequence[Sequence[int]],
        samples: range,
        seed: Sequence[int],
        passes: int,
        tries: int,
        advance: Callable[[int], object],
    ) -> list[list[Drawn]]:
        """For each gap what fills it in each sample (B)."""
        gaps: list[list[Drawn]] = []
        # A gap that is alone was given everything the first time.
        for turn in range(_turns(len(lengths), passes)):
            rights = self._read_right(text, gaps)
            left = self._left.begin()
            for g, right in enumerate(rights):
                left = _widened(self._left.read(left, text.known[g]), len(samples))
                following = list(islice(chain.from_iterable(text.known[g + 1 :]), FOLLOWING))
                if turn == 0:
                    gaps.append([])
                    tried = [lengths[g] if following else lengths[g][-1:]] * len(samples)
                else:
                    tried = [[len(drawn.ids)] for drawn in gaps[g]]
                place = _Place(left, right, text.not_first[g])
                keys = [[*seed, sample, turn, g] for sample in samples]
                gaps[g] = self._best(place, tried, keys, following, tries)
                advance(len(samples))
                left = self._left.read_rows(left, _padded([drawn.ids for drawn in gaps[g]]))
        return gaps

    def _read_right(self, text: Gapped, gaps: list[list[Drawn]]) -> list[np.ndarray | None]:
        """The right stack's outputs (1 or B, D) at each gap, None where nothing follows.

        It has read the known text and, in a further pass, the gaps as they are.
        """
        reading, anything = self._right.begin(), False
        found: list[np.ndarray | None] = []
        for g in reversed(range(len(text.not_first))):
            if g + 1 < len(gaps):
                ids = _padded([drawn.ids[::-1] for drawn in gaps[g + 1]])
                reading, anything = self._right.read_rows(reading, ids), True
            reading = self._right.read(reading, text.known[g + 1][::-1])
            anything = anything or len(text.known[g + 1]) > 0
            found.append(_output(reading) if anything else None)
        return found[::-1]

    def _best(
        self,
        place: "_Place",
        tried: list[Sequence[int]],
        keys: list[list[int]],
        following: list[int],
        tries: int,
    ) -> list[Drawn]:
        """For each sample the draw at `place` that reads best, of the lengths `tried`."""
        wanted = [(sample, length) for sample, lengths in enumerate(tried) for length in lengths]
        rows = [(*row, turn) for row in wanted for turn in range(tries)]
        best: dict[int, tuple[float, Drawn]] = {}
        at_once = rows_for(self._network.vocabulary, BATCH)
        for begin in range(0, len(rows), at_once):
            part = rows[begin : begin + at_once]
            samples = [sample for sample, _, _ in part]
            seen = place.rows(samples)
            draws = [np.random.default_rng([*keys[sample], *key]) for sample, *key in part]
            found = self._draw(seen, np.array([length for _, length, _ in part]), draws)
            # Of many draws a good part are alike, and need to be read but once.
            own = {(samples[i], *drawn.ids): i for i, drawn in enumerate(found)}
            kept, nats = list(own.values()), np.zeros(len(own))
            if len(rows) > len(tried):
                ids = _padded([[*found[i].ids, *following] for i in kept])
                nats = self._nats(take_rows(seen.left, kept), ids)
            for i, cost in zip(kept, nats, strict=True):
                if samples[i] not in best or cost < best[samples[i]][0]:
                    best[samples[i]] = cost, found[i]
        return [drawn for _, drawn in best.values()]

    def _draw(
        self, place: "_Place", lengths: np.ndarray, draws: list[np.random.Generator]
    ) -> list[Drawn]:
        """The gap at `place` (B rows), drawn in each of the lengths (B)."""
        left, columns, nats = place.left, [], []
        histories = [History() for _ in draws]
        for t in range(lengths.max()):
            # A row that is at its end goes on beside the others; what it draws is cut off below.
            logits = self._logits(left, place.right, np.maximum(lengths - t, 0))
            bent = logits if t else ban(place.not_first)(logits, histories)
            for process in self._processors:
                bent = process(bent, histories)
            ids = choose(bent, np.array([one.random() for one in draws]), self._greedy)
            for history, id in zip(histories, ids.tolist(), strict=True):
                history.ids.append(id)
            columns.append(ids)
            nats.append(nats_of(logits, ids))
            left = self._left.step(left, ids)
        rows = zip(lengths, np.stack(columns, 1), np.stack(nats, 1), strict=True)
        return [Drawn(ids[:length].tolist(), each[:length].sum()) for length, ids, each in rows]

    def _nats(self, left: Reading, own: np.ndarray) -> np.ndarray:
        """The negative log-likelihood (B,) of each row's own ids (B, T), from the left alone."""
        nats = np.zeros(len(own))
        for ids in own.T:
            nats += np.where(ids >= 0, nats_of(self._logits(left, None, ids), ids), 0)
            left = self._left.step(left, ids)
        return nats

    def _logits(self, left: Reading, right: np.ndarray | None, distances: np.ndarray) -> np.ndarray:
        output = _output(left)
        if right is None:
            right, distances = np.zeros_like(output), np.zeros_like(distances)
        return self._network.merge(np, self._w, output, right, distances)


class _Side(Side):
    """A side that reads texts of many rows."""

    def read(self, reading: Reading, ids: np.ndarray) -> Reading:
        """The reading after ids (T,), the same for all rows; one row after more than REACH."""
        if len(ids) > REACH:
            reading, ids = self.begin(), ids[-REACH:]
        for id in ids:
            reading = self.step(reading, np.full(len(_output(reading)), id))
        return reading

    def read_rows(self, reading: Reading, own: np.ndarray) -> Reading:
        """The reading after each row's own ids (B, T)."""
        reading = _widened(reading, len(own))
        for ids in own.T:
            rows = np.flatnonzero(ids >= 0)
            moved = self.step(take_rows(reading, rows), ids[rows])
            reading = put_rows(np, reading, rows, moved)
        return reading


@dataclass(frozen=True)
class _Place:
    """A gap: the reading before it, the right stack's outputs after it, what it can't begin with.

    The outputs (1 or B, D) are None where nothing follows.
    """

    left: Reading
    right: np.ndarray | None
    not_first: list[int]

    def rows(self, rows: list[int]) -> "_Place":
        right = self.right
        if right is not None:
            right = np.broadcast_to(right, _output(self.left).shape)[rows]
        return _Place(take_rows(self.left, rows), right, self.not_first)


def _output(reading: Reading) -> np.ndarray:
    return reading[0][0]


def _widened(reading: Reading, rows: int) -> Reading:
    """The reading in that many rows, made from one or from as many."""
    return take_rows(reading, np.arange(rows) % len(_output(reading)))


def _padded(own: list[list[int]]) -> np.ndarray:
    """Rows of ids (B, T), each followed by -1 to the length of the longest."""
    found = np.full((len(own), max(map(len, own))), -1)
    for row, ids in zip(found, own, strict=True):
        row[: len(ids)] = ids
    return found
