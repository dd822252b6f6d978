"""The sampling loop: ids in, ids out. Knows neither text nor tokenizer.

Row k draws from a generator of its own, made from (seed, k), so what it draws does not depend on
the rows beside it.
"""

from collections.abc import Callable, Iterable

import numpy as np

from charlm.sampling.engine import Engine, State, take_rows
from charlm.sampling.processors import Processor


def read(
    engine: Engine, ids: Iterable[int], state: State | None = None
) -> tuple[np.ndarray, State]:
    """The logits (1, V) of what follows ids, and the state after them.

    Without a state it reads from the beginning, with the network's start before ids; with one,
    ids must not be empty.
    """
    if state is None:
        logits, state = engine.step(np.array([engine.start]), engine.initial_state(1))
    for id in ids:
        logits, state = engine.step(np.array([id]), state)
    return logits, state


def generate(
    engine: Engine,
    logits: np.ndarray,
    state: State,
    *,
    rows: list[int],
    seed: int,
    processors: list[Processor],
    greedy: bool,
    listen: Callable[[int, int], bool],
) -> None:
    """Continues one beginning, given by its logits (1, V) and state, once for each of `rows`.

    Every id drawn goes to `listen(row, id)`, which returns whether the row goes on.
    """
    rows = list(rows)
    draws = [np.random.default_rng([seed, row]) for row in rows]
    logits = np.repeat(logits, len(rows), axis=0)
    state = take_rows(state, [0] * len(rows))
    while rows:
        for process in processors:
            logits = process(logits)
        ids = logits.argmax(axis=-1) if greedy else draw(logits, draws)
        going = []
        for i, (row, id) in enumerate(zip(rows, ids.tolist(), strict=True)):
            if listen(row, id):
                going.append(i)
        if len(going) < len(rows):
            rows = [rows[i] for i in going]
            draws = [draws[i] for i in going]
            ids, state = ids[going], take_rows(state, going)
        if rows:
            logits, state = engine.step(ids, state)


def draw(logits: np.ndarray, draws: list[np.random.Generator]) -> np.ndarray:
    """One id (B,) for each row of logits (B, V), row i with the generator draws[i]."""
    p = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    cumulative = p.cumsum(axis=-1)
    totals = cumulative[:, -1]
    # The first id whose cumulative probability is above the target is never one of probability 0,
    # as long as rounding does not lift the target to the total.
    targets = np.minimum([rng.random() for rng in draws] * totals, np.nextafter(totals, 0))
    return (cumulative <= targets[:, None]).sum(axis=-1)
