"""A passage of a text: each character with how well it was predicted, and the units after it.

It is read by itself, as `charlm score` reads a text, so that its nats are those of that command.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.inspection.units import Units
from charlm.inspection.walking import places
from charlm.measuring.scorer import Scorer, Watch, unwatched
from charlm.model_file import Model
from charlm.network import Bidirectional
from charlm.sampling.text import opening
from charlm.score import log_softmax

SYMBOLS = 1000  # of the passage
LIKELIEST = 5  # symbols told of at each place


@dataclass(frozen=True)
class Piece:
    """A character, or what else a symbol stands for, and the `nats` that its symbols cost.

    `likeliest` has the ids that were the likeliest there, and the probability of each.
    """

    text: str
    nats: float
    likeliest: list[tuple[int, float]]


@dataclass(frozen=True)
class Passage:
    """The pieces (P) of a passage, and the values (P, N) after each of the units asked for."""

    pieces: list[Piece]
    units: np.ndarray

    @property
    def nats(self) -> float:
        """What the whole passage costs, its end among it."""
        return sum(piece.nats for piece in self.pieces)


def choose(model: Model, ids: np.ndarray) -> np.ndarray:
    """The first whole lines, or the first records, of ids (T,): a text of SYMBOLS ids at most.

    It lacks the end that `score` puts after a text. Where no line ends, it is cut off.
    """
    ids = ids[: 2 * SYMBOLS].astype(np.int64)
    if model.records != "none":
        ids = ids[:SYMBOLS]
        ends = np.flatnonzero(ids == model.tokenizer.boundary)
        return ids[: ends[-1]] if len(ends) else ids
    newline = opening(model.tokenizer, model.records)
    ends = np.flatnonzero(np.isin(ids, newline))
    # A split may begin in the middle of a line, and some lines are empty.
    begins = ends[:-1][np.diff(ends) > 1] + 1
    begin = int(begins[0]) if len(begins) and begins[0] < SYMBOLS else 0
    fitting = ends[(ends > begin) & (ends <= begin + SYMBOLS)]
    return ids[begin : int(fitting[-1]) if len(fitting) else begin + SYMBOLS]


def read(model: Model, ids: np.ndarray, units: list[int], watch: Watch = unwatched) -> Passage:
    """The passage of those ids, read by itself, and its end; `units` are told by number.

    A bidirectional model tells what it expects given all the rest, one symbol each, and no units.
    `watch` is as in `facts.gather`.
    """
    if isinstance(model.network, Bidirectional):
        return _read_both_sides(model, ids)
    begun = opening(model.tokenizer, model.records)
    end = begun if model.records == "none" else [model.tokenizer.boundary]
    ids = np.append(ids, np.array(end, ids.dtype))
    named, values, costs, likeliest = Units(model.network), [], [], []
    with watch(len(ids)) as advance:
        for id, (logits, state) in zip(ids.tolist(), places(model, ids, begun), strict=True):
            nats = -log_softmax(logits[None])[0]
            costs.append(float(nats[id]))
            best = np.argsort(nats, kind="stable")[:LIKELIEST].tolist()
            likeliest.append([(each, float(np.exp(-nats[each]))) for each in best])
            values.append(named.values(state)[units])
            advance(1)
    wholes = list(_pieces(model, ids, costs, likeliest))
    kept = np.array([values[last] for last, _ in wholes]).reshape(len(wholes), len(units))
    return Passage([piece for _, piece in wholes], kept)


def _read_both_sides(model: Model, ids: np.ndarray) -> Passage:
    text = model.tokenizer.decode(ids, "surrogateescape")
    (scored,) = Scorer(model, "replace", favourites=True).score([text])
    probabilities = np.exp(-scored.favourite_nats).tolist()
    likeliest = [[each] for each in zip(scored.favourites.tolist(), probabilities, strict=True)]
    wholes = _pieces(model, scored.ids, scored.nats.tolist(), likeliest)
    return Passage([piece for _, piece in wholes], np.empty((0, 0)))


def _pieces(
    model: Model, ids: np.ndarray, costs: list[float], likeliest: list[list[tuple[int, float]]]
) -> Iterator[tuple[int, Piece]]:
    """Each piece with the place of its last symbol; of several, the first tells what was likely."""
    tokenizer = model.tokenizer
    decoder = tokenizer.decoder("surrogateescape")
    owed, first = 0.0, 0
    for place, id in enumerate(ids.tolist()):
        owed += costs[place]
        text = "\n" if id == tokenizer.boundary else decoder.feed(id)
        if id == tokenizer.unknown:
            text = text or tokenizer.symbol(id)
        if place == len(ids) - 1:
            text += decoder.close()
        if text or place == len(ids) - 1:
            yield place, Piece(text, owed, likeliest[first])
            owed, first = 0.0, place + 1
