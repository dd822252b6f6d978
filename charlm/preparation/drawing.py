"""Which records are held out: drawn at random, in bounded memory however many there are."""

import numpy as np

ROUNDS = 6
HALF_AT_LEAST = 4  # bits; pairs of few numbers would not be equally likely
# The constants of SplitMix64 (Steele et al. 2014).
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Drawing:
    """The splits of `records` records, of which val and test take these shares, at random.

    Each takes the nearest whole number of records, one at least where it has a share, as long as
    one is left to train on. Law: a record's split depends on the numbers given here and on its own.
    """

    def __init__(self, records: int, val: float, test: float, seed: int) -> None:
        self._records = records
        self._seed = seed
        counts = []
        left = records - 1
        for share in (val, test):
            wanted = max(1, int(round(records * share, 6) + 0.5)) if share else 0
            counts.append(min(wanted, left))
            left -= counts[-1]
        self._edges = np.cumsum(counts)

    def splits(self, begin: int, end: int) -> np.ndarray:
        """The split of each record from `begin` to `end`: 0 is train, 1 val, 2 test (uint8)."""
        places = shuffled(np.arange(begin, end, dtype=np.uint64), self._records, self._seed)
        found = np.searchsorted(self._edges, places, side="right")
        return np.array([1, 2, 0], dtype=np.uint8)[found]


def shuffled(numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Where each of the numbers (uint64) goes when 0 to `size` - 1 are shuffled; others stay.

    A Feistel network over the next power of 4, gone through again by what is outside.
    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains" (cycle walking).
    """
    half = np.uint64(max(HALF_AT_LEAST, ((size - 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    found = numbers.copy()
    outside = np.flatnonzero(numbers < size)
    while len(outside):
        left, right = found[outside] >> half, found[outside] & low
        for round in range(ROUNDS):
            key = np.uint64((seed * ROUNDS + round + 1) * _GOLDEN % (1 << 64))
            left, right = right, left ^ (_mixed(right + key) & low)
        found[outside] = left << half | right
        outside = outside[found[outside] >= size]
    return found


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Each number's bits mixed all over, as SplitMix64 does."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * _FACTORS[0]
    numbers = (numbers ^ numbers >> np.uint64(27)) * _FACTORS[1]
    return numbers ^ numbers >> np.uint64(31)
