"""Which units track something: correlation with what can be told of a place in a text.

The units are chosen by the first half of a text and their correlation is that of the second half,
so that one that was the best of many by chance shows it.

Source: Karpathy, Johnson and Fei-Fei 2015 (arXiv:1506.02078), sec. 4.2, who found them by eye.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from charlm.errors import DataError

BLOCK = 256  # steps summed up at once
LEAST_SYMBOLS = 4  # two to choose by, and two to tell of


def _since(restarts: Callable[[str], bool]) -> Callable[[str], list[float]]:
    """How many characters have come since one that restarts the count."""

    def count(text: str) -> list[float]:
        found, n = [], 0.0
        for character in text:
            n = 0.0 if restarts(character) else n + 1
            found.append(n)
        return found

    return count


def _inside(openings: str, closings: str) -> Callable[[str], list[float]]:
    """Whether something is open: 1 or 0. What both opens and closes does so in turn.

    An empty line closes everything, since somebody may have forgotten to.
    """

    def follow(text: str) -> list[float]:
        found, depth, before = [], 0, ""
        for character in text:
            if character in closings and (depth or character not in openings):
                depth = max(0, depth - 1)
            elif character in openings:
                depth += 1
            elif before == character == "\n":
                depth = 0
            found.append(float(depth > 0))
            before = character
        return found

    return follow


def _after(holds: Callable[[str], bool]) -> Callable[[str], list[float]]:
    """Whether the character that was read last is such: 1 or 0."""
    return lambda text: [float(holds(character)) for character in text]


# What is told of the place after each character of a text.
TRACKS: dict[str, Callable[[str], list[float]]] = {
    "inside quotes": _inside('"“„«', '"”»'),
    "inside brackets": _inside("([{", ")]}"),
    "position in the line": _since(lambda character: character == "\n"),
    "position in the word": _since(lambda character: not character.isalpha()),
    "after a capital": _after(str.isupper),
    "after a digit": _after(str.isdigit),
    "after a space": _after(str.isspace),
}


@dataclass(frozen=True)
class Tracking:
    """A unit, by number, and its correlation with something on text it was not chosen by."""

    track: str
    unit: int
    correlation: float


def best(texts: list[str], values: Iterable[np.ndarray], top: int) -> list[Tracking]:
    """The `top` units for each of TRACKS, the best first.

    `texts` (T,) is what each symbol adds to the text, and `values` gives T arrays (U,), the units
    after it. What is the same all over one half of the text is left out. Raises DataError for fewer
    than LEAST_SYMBOLS.
    """
    ends = np.cumsum([len(text) for text in texts])
    whole = "".join(texts)
    if len(texts) < LEAST_SYMBOLS or not whole:
        raise DataError(f"{len(texts)} symbols are too few for units to follow anything in.")
    # (T, tracks); before the first character is whole there is nothing to tell
    told = np.array([track(whole) for track in TRACKS.values()]).T[np.maximum(ends, 1) - 1]
    values, half = iter(values), len(texts) // 2
    chosen_by = _correlations(told[:half], itertools.islice(values, half))
    shown = _correlations(told[half:], values)
    found = []
    for i, track in enumerate(TRACKS):
        if np.isnan(chosen_by[i]).all() or np.isnan(shown[i]).all():
            continue
        order = np.argsort(-np.nan_to_num(np.abs(chosen_by[i])), kind="stable")[:top]
        found += [Tracking(track, int(unit), float(shown[i, unit])) for unit in order]
    return found


def _correlations(told: np.ndarray, values: Iterable[np.ndarray]) -> np.ndarray:
    """Pearson's r (tracks, U) of told (T, tracks) and T values (U,); NaN where one is constant."""
    count, sums, squares, products = len(told), 0.0, 0.0, 0.0
    told = told - told.mean(axis=0)
    values = iter(values)
    for begin in range(0, count, BLOCK):
        block = np.array(list(itertools.islice(values, BLOCK)), dtype=np.float64)  # (n, U)
        sums = sums + block.sum(axis=0)
        squares = squares + (block**2).sum(axis=0)
        products = products + told[begin : begin + BLOCK].T @ block
    deviations = np.sqrt(np.maximum(squares - sums**2 / count, 0))
    scale = np.sqrt((told**2).sum(axis=0))[:, None] * deviations
    # Rounding leaves a little of what is constant.
    return np.divide(products, scale, out=np.full(scale.shape, np.nan), where=scale > 1e-6 * count)
