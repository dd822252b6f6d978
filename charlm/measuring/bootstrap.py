"""How sure a figure is: the percentile bootstrap of a ratio of sums.

What is drawn again, with replacement, is whole units: records, lines, or blocks of running text,
which depend on each other far less than neighbouring tokens do.

Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13; blocks: Künsch 1989,
"The jackknife and the bootstrap for general stationary observations".
"""

import math

import numpy as np

BLOCK = 256  # tokens: what lies farther apart hardly depends on each other
FEWEST = 16  # blocks; of fewer an interval says little, so a short text has shorter ones
MOST = 8192  # units; neighbours are joined where there are more, which takes nothing from the width
DRAWS = 1 << 20  # made at once


def interval(
    nats: np.ndarray,
    sizes: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The bounds of sum(nats) / sum(sizes) over units, nats (N,) and sizes (N,), at that level.

    NaN for fewer than two units, of which nothing can be said. Law: the same seed gives the same.
    """
    nats, sizes = _joined(np.asarray(nats, float)), _joined(np.asarray(sizes, float))
    count = len(nats)
    rng = np.random.default_rng(seed)
    found = []
    if count >= 2:
        at_once = max(1, DRAWS // count)
        for begin in range(0, resamples, at_once):
            shape = (min(at_once, resamples - begin), count)
            drawn = rng.integers(count, size=shape, dtype=np.int32)
            size = sizes[drawn].sum(axis=1)
            some = size > 0
            found.append(nats[drawn].sum(axis=1)[some] / size[some])
    ratios = np.concatenate(found) if found else np.empty(0)
    if not len(ratios):
        return math.nan, math.nan
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference(
    nats: np.ndarray, other: np.ndarray, sizes: np.ndarray, **settings: float
) -> tuple[float, float]:
    """The bounds of (sum(nats) - sum(other)) / sum(sizes): two models on the same units, paired.

    `settings` are those of `interval`. A unit is drawn for both at once, so that what makes it
    hard for both cancels.
    """
    return interval(np.asarray(nats) - np.asarray(other), sizes, **settings)


def block_begins(tokens: int) -> np.ndarray:
    """Where each block of a running text of so many tokens begins."""
    return np.arange(0, tokens, max(1, min(BLOCK, tokens // FEWEST)))


def _joined(values: np.ndarray) -> np.ndarray:
    if len(values) <= MOST:
        return values
    return np.add.reduceat(values, np.arange(MOST) * len(values) // MOST)
