"""Texts of different lengths read side by side, and what is found out about each of their ids."""

import numpy as np

from charlm.score import nats_of


class Rows:
    """The ids of several texts, the longest first, and how well each id was predicted.

    Everything is kept end to end, so that nothing is padded, and text k begins at `begins[k]`:
    `ids` (N,), `nats` (N,) and, where they are asked for, `favourites` (N,) and `favourite_nats`
    (N,), else None. Texts that have ended are always the last rows, so the others are a slice.
    """

    def __init__(self, texts: list[np.ndarray], *, favourites: bool = False) -> None:
        lengths = np.array([len(ids) for ids in texts])
        self.ids = texts[0] if len(texts) == 1 else np.concatenate(texts)
        self.nats = np.empty(len(self.ids))
        self.favourites = np.empty(len(self.ids), dtype=np.int64) if favourites else None
        self.favourite_nats = np.empty(len(self.ids)) if favourites else None
        self.longest = int(lengths[0])
        self._ends = np.cumsum(lengths)
        self.begins = self._ends - lengths
        self._longer = len(texts) - np.cumsum(np.bincount(lengths))

    def longer(self, length: int) -> int:
        """How many texts have more ids than that."""
        return int(self._longer[length])

    def places(self, t: int) -> np.ndarray:
        """Where in `ids` the id number t of each text stands that has one."""
        return self.begins[: self.longer(t)] + t

    def put(self, places: np.ndarray, logits: np.ndarray) -> None:
        """Notes what was expected at `places` (B,), as logits (B, V)."""
        self.nats[places] = nats_of(logits, self.ids[places])
        if self.favourites is not None:
            best = logits.argmax(axis=-1)
            self.favourites[places] = best
            self.favourite_nats[places] = nats_of(logits, best)

    def fill(self, figures: np.ndarray, begin: int = 0) -> None:
        """Notes the figures (F, N - begin) of `parallel.SteppedReader` for the ids from `begin`."""
        self.nats[begin:] = figures[0]
        if self.favourites is not None:
            self.favourites[begin:], self.favourite_nats[begin:] = figures[1:]

    def of(self, row: int, values: np.ndarray | None) -> np.ndarray | None:
        """That text's part of one of the arrays, as a copy; None for None."""
        return None if values is None else values[self.begins[row] : self._ends[row]].copy()
