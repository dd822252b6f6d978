"""Which units a report shows: those that track something, and others spread over the network."""

from collections.abc import Callable, Iterator

import numpy as np

from charlm.inspection.tracking import LEAST_SYMBOLS, Tracking, best
from charlm.inspection.units import Units
from charlm.inspection.walking import texts_of, walk
from charlm.measuring.scorer import Watch, unwatched
from charlm.model_file import Model

MOST = 256  # units of a page: with 1,000 characters, 340 kB of it
READ = 5000  # symbols in which they may track something


def choose(
    model: Model, ids: np.ndarray, watch: Watch = unwatched
) -> tuple[list[int], list[Tracking]]:
    """The units, by number and in order, and what some of them track in ids (T,).

    `watch` is as in `facts.gather`.
    """
    units, ids = Units(model.network), ids[:READ]
    found: list[Tracking] = []
    if len(ids) >= LEAST_SYMBOLS:
        with watch(len(ids)) as advance:
            found = best(texts_of(model, ids), _values(model, units, ids, advance), 1)
    tracking = {each.unit for each in found}
    spread = np.linspace(0, units.count - 1, min(units.count, MOST - len(tracking)))
    return sorted(tracking | set(np.unique(spread.astype(int)).tolist())), found


def _values(
    model: Model, units: Units, ids: np.ndarray, advance: Callable[[int], object]
) -> Iterator[np.ndarray]:
    for _, state in walk(model, ids):
        yield units.values(state)
        advance(1)


def packed(values: np.ndarray) -> tuple[bytes, list[float], list[float]]:
    """Values (P, N) as one byte each, unit after unit, between the lowest and highest of the unit.

    Law: low + byte / 255 * (high - low) is the value, give or take half a step.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    scale = np.where(high > low, high - low, 1)
    levels = np.rint((values - low) / scale * 255).astype(np.uint8)
    return levels.T.tobytes(), low.astype(float).tolist(), high.astype(float).tolist()
