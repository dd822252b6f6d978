"""A model's effective memory: how well it predicts from no more than the last k symbols.

The same symbols are predicted with every k, each from a cold start k symbols before it, so that the
figures differ by what the model could see and by nothing else.

Source: Khandelwal et al. 2018 (arXiv:1805.04623), "Sharp Nearby, Fuzzy Far Away", sec. 4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.amounts import counted
from charlm.errors import DataError
from charlm.sampling.engine import Engine
from charlm.sampling.generate import rows_for
from charlm.score import nats_of

ROWS = 512  # symbols that are predicted, evenly spaced over the text
CLOSE = 0.01  # of the loss: what lies farther back is worth less than this


@dataclass(frozen=True)
class Seen:
    """The mean nats per symbol where the model sees no more than the last `symbols`."""

    symbols: int
    nats: float


def tokens_read(ids: np.ndarray, back: int) -> int:
    """How many tokens `by_context` reads."""
    return len(_targets(ids, back)) * sum(symbols + 1 for symbols in _contexts(back))


def by_context(
    engine: Engine,
    ids: np.ndarray,
    back: int,
    advance: Callable[[int], object] = lambda tokens: None,
) -> list[Seen]:
    """The loss with 0, 1, 2, 4, ... and `back` symbols to see, of one running text of ids (T,).

    `advance` gets how many more tokens were read. Raises DataError for a text of fewer than
    2 * back symbols.
    """
    if len(ids) < 2 * back:
        raise DataError(
            f"the text has {counted(len(ids), 'symbol')}, and seeing {back:,} takes"
            f" {2 * back:,}; give a longer text, or a lower --back."
        )
    targets, found = _targets(ids, back), []
    for symbols in _contexts(back):
        at_once = rows_for(engine.vocabulary, ROWS)
        nats = [
            _nats(engine, ids, targets[begin : begin + at_once], symbols, advance)
            for begin in range(0, len(targets), at_once)
        ]
        found.append(Seen(symbols, float(np.concatenate(nats).mean())))
    return found


def _targets(ids: np.ndarray, back: int) -> np.ndarray:
    return np.unique(np.linspace(back, len(ids) - 1, ROWS).astype(int))


def _contexts(back: int) -> list[int]:
    return [0, *(1 << i for i in range(back.bit_length()) if 1 << i < back), back]


def _nats(
    engine: Engine,
    ids: np.ndarray,
    targets: np.ndarray,
    symbols: int,
    advance: Callable[[int], object],
) -> np.ndarray:
    """The nats (B,) of ids[targets], each predicted from so many symbols before it."""
    state = engine.initial_state(len(targets))
    logits, state = engine.step(np.full(len(targets), engine.start), state)
    advance(len(targets))
    for before in range(symbols, 0, -1):
        logits, state = engine.step(ids[targets - before].astype(np.int64), state)
        advance(len(targets))
    return nats_of(logits, ids[targets].astype(np.int64))


def effective(curve: list[Seen]) -> int:
    """The fewest symbols with which the loss is within CLOSE of that with the most."""
    most = curve[-1].nats
    return next(seen.symbols for seen in curve if seen.nats <= most * (1 + CLOSE))
