"""Beginnings of texts that were read already, kept as states."""

import itertools
from collections import Counter, OrderedDict
from collections.abc import Sequence

import numpy as np

from charlm.sampling.generate import Place

SIZE_BYTES = 64 << 20
ENTRY_BYTES = 1 << 10  # what Python takes for an entry, beside its arrays


class Prefixes:
    """The places after the prompts that were asked for last, within `size_bytes` of memory.

    Law: going on from what `longest` returns equals reading the whole prompt.
    """

    def __init__(self, size_bytes: int = SIZE_BYTES) -> None:
        self.hits = 0
        self.misses = 0
        self._room = size_bytes
        self._kept: OrderedDict[bytes, tuple[Place, int]] = OrderedDict()
        self._lengths: Counter[int] = Counter()  # of the keys, in bytes

    def __len__(self) -> int:
        return len(self._kept)

    def longest(self, ids: Sequence[int]) -> tuple[int, Place | None]:
        """How many of ids have been read in the longest beginning that is kept, and its place."""
        whole = _key(ids)
        lengths = sorted((n for n in self._lengths if n <= len(whole)), reverse=True)
        found = next((whole[:n] for n in lengths if whole[:n] in self._kept), None)
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
        self._lengths[len(key)] += 1
        self._room -= self._kept[key][1]
        while self._room < 0:
            self._let_go(next(iter(self._kept)))

    def _let_go(self, key: bytes) -> None:
        if key in self._kept:
            self._room += self._kept.pop(key)[1]
            self._lengths[len(key)] -= 1
            if not self._lengths[len(key)]:
                del self._lengths[len(key)]


_WIDTH = 4  # bytes of an id in a key


def _key(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype=np.int32).tobytes()


def _size(key: bytes, place: Place) -> int:
    """The bytes that an entry takes, roughly."""
    states = [place.state, place.exact or ()]
    arrays = itertools.chain.from_iterable(itertools.chain.from_iterable(states))
    size = len(key) + place.logits.nbytes + 8 * len(place.since) + sum(a.nbytes for a in arrays)
    return ENTRY_BYTES + size
