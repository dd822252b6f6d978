"""Beginnings of texts that were read already, kept as states."""

import itertools
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from charlm.sampling.generate import Place

SIZE_BYTES = 64 << 20


class Prefixes:
    """The places after the prompts that were asked for last, within `size_bytes` of memory.

    Law: going on from what `longest` returns equals reading the whole prompt.
    """

    def __init__(self, size_bytes: int = SIZE_BYTES) -> None:
        self.hits = 0
        self.misses = 0
        self._room = size_bytes
        self._kept: OrderedDict[bytes, tuple[Place, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def longest(self, ids: Sequence[int]) -> tuple[int, Place | None]:
        """How many of ids have been read in the longest beginning that is kept, and its place."""
        whole = _key(ids)
        found = max((key for key in self._kept if whole.startswith(key)), key=len, default=None)
        if found is None:
            self.misses += 1
            return 0, None
        self.hits += 1
        self._kept.move_to_end(found)
        return len(found) // _WIDTH, self._kept[found][0]

    def keep(self, ids: Sequence[int], place: Place) -> None:
        """Keeps the place after ids; what was not asked for longest goes, where it takes room."""
        key = _key(ids)
        self._let_go(key)
        self._kept[key] = place, _size(key, place)
        self._room -= self._kept[key][1]
        while self._room < 0:
            self._let_go(next(iter(self._kept)))

    def _let_go(self, key: bytes) -> None:
        if key in self._kept:
            self._room += self._kept.pop(key)[1]


_WIDTH = 4  # bytes of an id in a key


def _key(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype=np.int32).tobytes()


def _size(key: bytes, place: Place) -> int:
    """The bytes that an entry takes, roughly."""
    states = [place.state, place.exact or ()]
    arrays = itertools.chain.from_iterable(itertools.chain.from_iterable(states))
    return len(key) + place.logits.nbytes + 8 * len(place.since) + sum(a.nbytes for a in arrays)
