"""One draw: an id from logits, and how far it was from being another."""

import math

import numpy as np


def choose(logits: np.ndarray, uniforms: np.ndarray, greedy: bool = False) -> np.ndarray:
    """One id (B,) for each row of logits (B, V).

    It is drawn with a number from [0, 1) for each row; or, greedily, it is the likeliest.
    """
    if len(logits) == 1:
        return np.array([choose_one(logits[0], float(uniforms[0]), greedy)])
    if greedy:
        return logits.argmax(axis=-1)
    cumulative = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    cumulative = cumulative.cumsum(axis=-1)
    return (cumulative <= _targets(cumulative, uniforms)).sum(axis=-1)


def choose_one(logits: np.ndarray, u: float, greedy: bool = False) -> int:
    """The same for one row (V,), of which it is the number of operations that counts."""
    if greedy:
        return int(logits.argmax())
    cumulative = np.add.accumulate(np.exp(logits - logits[logits.argmax()], dtype=np.float64))
    total = cumulative.item(-1)
    target = min(u * total, math.nextafter(total, 0.0))
    # NaN lies after all numbers, so the target would be past the end: the first is taken, as above.
    return int(cumulative.searchsorted(target, "right")) % len(logits)


def margins_of(logits: np.ndarray, uniforms: np.ndarray, greedy: bool = False) -> np.ndarray:
    """By how much (B,) it is the id that `choose` returns and no other.

    The margin is the probability between the draw and another id; greedily, a quarter of the share
    by which the likeliest is ahead. So no draw changes where no logit moves by two margins or more.
    """
    p = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    if greedy:
        p[np.arange(len(p)), logits.argmax(axis=-1)] = 0
        return (1 - p.max(axis=-1)) / 4
    cumulative = p.cumsum(axis=-1)
    totals = cumulative[:, -1]
    edges = np.abs(cumulative - _targets(cumulative, uniforms))
    # What lies past the last id can't be drawn, so that edge is none.
    edges[cumulative >= totals[:, None]] = np.inf
    return edges.min(axis=-1) / totals


def _targets(cumulative: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Where (B, 1) in the cumulative probabilities (B, V), which end anywhere, the draws fall."""
    totals = cumulative[:, -1]
    # The first id whose cumulative probability is above the target is never one of probability 0,
    # as long as rounding does not lift the target to the total.
    return np.minimum(uniforms * totals, np.nextafter(totals, 0))[:, None]
