"""The neural cache: what followed places like this one is likelier to follow again.

    p(x) = (1 - λ) softmax(logits)_x + λ Σ_{i: x_i = x} exp(θ h · h_i) / Σ_i exp(θ h · h_i)

The sums are over the last N places i of the text; h are the features from which the head predicts,
made 1 long. So one θ does for every cell, width and norm, and nothing is more like a place than the
same place; on two texts the best θ did as well as it did with h as it is.

Source: Grave, Joulin and Usunier 2016 (arXiv:1612.04426), eq. 3 and 5.
"""

import numpy as np

from charlm.score import log_softmax

FIRST = 1024  # places that there is room for at first: many texts are shorter than the cache


class Cache:
    """The features and successors of the last `size` places.

    `weight` is λ and `flatness` θ.
    """

    def __init__(self, size: int, weight: float, flatness: float) -> None:
        self._size = size
        self._weight = weight
        self._flatness = flatness
        self._places = 0  # that were ever added
        self._features: np.ndarray | None = None  # (room, D)
        self._ids = np.empty(0, dtype=np.int64)  # (room,)

    def add(self, features: np.ndarray, id: int) -> None:
        """Takes the place with those features (D,), after which came `id`."""
        at = self._places % self._size
        if at == len(self._ids):
            room = min(self._size, max(FIRST, 2 * at))
            kept = np.empty((0, len(features)), np.float32) if at == 0 else self._features
            more = np.empty((room - at, len(features)), dtype=np.float32)
            self._features = np.concatenate((kept, more))
            self._ids = np.concatenate((self._ids, np.empty(room - at, dtype=np.int64)))
        self._features[at] = _unit(features)
        self._ids[at] = id
        self._places += 1

    def mixed(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The logarithms (1, V) of p where the features (D,) are, float64, from logits (1, V)."""
        filled = min(self._places, self._size)
        found = log_softmax(logits)
        if not filled:
            return found
        likeness = (self._features[:filled] @ _unit(features)) * np.float64(self._flatness)
        shares = np.exp(likeness - likeness.max())
        shares /= shares.sum()
        cached = np.bincount(self._ids[:filled], weights=shares, minlength=logits.shape[-1])
        with np.errstate(divide="ignore"):
            return np.logaddexp(found + np.log1p(-self._weight), np.log(self._weight * cached))


def _unit(features: np.ndarray) -> np.ndarray:
    length = np.sqrt(features @ features)
    return features / length if length > 0 else features
