"""A text read symbol by symbol, with what the model made of each."""

from collections.abc import Iterable, Iterator

import numpy as np

from charlm.model_file import Model
from charlm.network.states import State
from charlm.sampling.engine import engine_of
from charlm.sampling.generate import read
from charlm.score import nats_of


def places(
    model: Model, ids: np.ndarray, opening: Iterable[int] = ()
) -> Iterator[tuple[np.ndarray, State]]:
    """For each of ids (T,) the logits (V,) before it, and the state of one row after it.

    `opening` is read before the first of them. A model of records begins anew after each boundary.
    """
    engine = engine_of(model)
    boundary = None if model.records == "none" else model.tokenizer.boundary
    at = begun = read(engine, opening)
    for id in ids.tolist():
        logits = at.logits[0]
        at = read(engine, [id], at)
        yield logits, at.state
        if id == boundary:
            at = begun


def walk(
    model: Model, ids: np.ndarray, opening: Iterable[int] = ()
) -> Iterator[tuple[float, State]]:
    """For each of ids (T,) its nats given those before it, and the state of one row after it.

    Law: the nats are those of `charlm eval`.
    """
    for id, (logits, state) in zip(ids, places(model, ids, opening), strict=True):
        yield float(nats_of(logits[None], np.array([id], np.int64))[0]), state


def texts_of(model: Model, ids: np.ndarray) -> list[str]:
    """The text that each of ids (T,) adds, "" where a character is not whole; a newline for the
    end of a record."""
    tokenizer = model.tokenizer
    feed = tokenizer.decoder("surrogateescape").feed
    return ["\n" if id == tokenizer.boundary else feed(id) for id in ids.tolist()]
