"""How much a text repeats itself, line by line, in bounded memory and time.

Lines of 20 characters or more count. All are kept track of until they are too many, then every
second one, every fourth, and so on; which ones depends on their text, so equal lines are kept or
left out together.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

LONG = 20  # characters; shorter lines are repeated by chance
KEPT_AT_MOST = 100_000  # different lines
SEEN_AT_MOST = 200_000  # lines that are kept, counted each time they appear
CARRIED_AT_MOST = 1 << 16  # bytes of a line that goes on in the next chunk

# Odd constants with bits all over. Source: SplitMix64 (Steele et al. 2014) and MurmurHash3.
_FACTORS = [np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)]
_FACTORS += [np.uint64(factor) for factor in (0x94D049BB133111EB, 0xFF51AFD7ED558CCD)]


class Lines:
    """The lines of a text by their hash: where each first appeared, and how often it did.

    A line is kept when so many bits of its mark are 0. Law: the lines of the parts of a text,
    absorbed one after another, are those of the whole, whatever `bits` each began with that is not
    above what they end with.
    """

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits
        self._long_lines = 0
        self._kept: dict[int, list[int]] = {}  # key -> [first position, times]
        self._seen = 0
        self._blocks = _Blocks()

    @property
    def sampled(self) -> bool:
        """Whether some lines were left out."""
        return self.bits > 0

    def add(self, data: bytes) -> None:
        """Takes the next chunk of the text, in UTF-8."""
        self._take(self._blocks.add(data))

    def close(self) -> None:
        """Takes the last line, where no newline ends it."""
        self._take(self._blocks.close())

    def repeated(self) -> float:
        """The share of long lines that stand in the text before."""
        return 1 - len(self._kept) / self._seen if self._seen else 0.0

    def overlap(self, part: Iterable[bytes], after: Iterable[bytes]) -> float:
        """The share of the long lines of `part` that stand in the text before it.

        Both are the end of the text in chunks: `part`, and `after` it the rest.
        """
        lines = 0
        firsts = []  # the first position of each line in the part that is kept track of
        for block in _blocks(part):
            marks, starts, ends = _long_lines(block)
            _, keys = self._wanted(block, marks, starts, ends)
            firsts += [self._kept[key][0] for key in keys if key in self._kept]
            lines += len(marks)
        lines += sum(len(_long_lines(block)[0]) for block in _blocks(after))
        before = self._long_lines - lines
        return sum(first < before for first in firsts) / len(firsts) if firsts else 0.0

    def state(self) -> dict[str, Any]:
        """What `absorb` takes, as JSON can hold it."""
        firsts, times = zip(*self._kept.values(), strict=True) if self._kept else ((), ())
        return {
            "bits": self.bits,
            "long_lines": self._long_lines,
            "keys": list(self._kept),
            "firsts": firsts,
            "times": times,
        }

    def absorb(self, state: dict[str, Any]) -> None:
        """Takes the lines of the next part of the text, which other Lines have seen."""
        limit = 1 << (64 - self.bits)
        for key, first, times in zip(state["keys"], state["firsts"], state["times"], strict=True):
            if key >> 32 < limit:
                self._kept.setdefault(key, [self._long_lines + first, 0])[1] += times
                self._seen += times
        self._long_lines += state["long_lines"]
        self._shrink(max(self.bits, state["bits"]))

    def _take(self, block: bytes) -> None:
        marks, starts, ends = _long_lines(block)
        places, keys = self._wanted(block, marks, starts, ends)
        for i, key in zip(places, keys, strict=True):
            self._kept.setdefault(key, [self._long_lines + i, 0])[1] += 1
        self._seen += len(keys)
        self._long_lines += len(marks)
        self._shrink(self.bits)

    def _shrink(self, bits: int) -> None:
        while bits > self.bits or len(self._kept) > KEPT_AT_MOST or self._seen > SEEN_AT_MOST:
            self.bits = max(bits, self.bits + 1)
            limit = 1 << (64 - self.bits)
            self._kept = {k: entry for k, entry in self._kept.items() if k >> 32 < limit}
            self._seen = sum(times for _, times in self._kept.values())

    def _wanted(
        self, block: bytes, marks: np.ndarray, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[list[int], list[int]]:
        """Which lines of a block are kept, and the key of each: its mark and a checksum."""
        found = np.flatnonzero(marks <= np.uint64((1 << (64 - self.bits)) - 1))
        rows = zip(*(column[found].tolist() for column in (marks, starts, ends)), strict=True)
        keys = [mark << 32 | zlib.crc32(block[begin:end]) for mark, begin, end in rows]
        return found.tolist(), keys


class _Blocks:
    """Chunks of bytes made into blocks of whole lines."""

    def __init__(self) -> None:
        self._carried = b""

    def add(self, data: bytes) -> bytes:
        """The lines that are whole now."""
        end = data.rfind(b"\n") + 1
        if end:
            block = self._carried + data[:end]
            self._carried = data[end:]
            return block
        # What is left out of an endless line only makes it look like another endless one.
        if len(self._carried) < CARRIED_AT_MOST:
            self._carried += data
        return b""

    def close(self) -> bytes:
        """The last line."""
        block, self._carried = self._carried + b"\n", b""
        return block


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    blocks = _Blocks()
    for chunk in chunks:
        yield blocks.add(chunk)
    yield blocks.close()


def _long_lines(block: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each long line in a block: a mark (uint64) made from its text, its start and its end."""
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    if block.isascii():
        chars = ends - starts
    else:
        # Characters up to and with each byte: all bytes but 0x80 to 0xBF begin one.
        counted = np.cumsum(data.view(np.int8) >= -64, dtype=np.int32)
        chars = np.diff(counted[ends], prepend=0) - 1
    long = np.flatnonzero(chars >= LONG)
    starts, ends = starts[long], ends[long]
    if not len(long):
        return np.empty(0, dtype=np.uint64), starts, ends
    # The mark reads eight bytes at the start, in the middle and at the end, for all lines at once.
    windows = np.ndarray((len(data) - 7,), dtype="<u8", buffer=block, strides=(1,))
    marks = (ends - starts).astype(np.uint64)
    for factor, at in zip(_FACTORS, (starts, (starts + ends) // 2 - 4, ends - 8), strict=False):
        marks = (marks ^ windows[at]) * factor
        marks ^= marks >> np.uint64(32)
    return marks * _FACTORS[-1], starts, ends
