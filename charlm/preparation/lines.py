"""How much a text repeats itself, line by line, in bounded memory and time.

Lines of 20 characters or more count. All are kept track of until they are too many, then every
second one, every fourth, and so on; which ones depends on their text, so equal lines are kept or
left out together.
"""

import re
import zlib
from collections import Counter
from typing import Any

import numpy as np

from charlm.preparation.order import Order

LONG = 20  # characters; shorter lines are repeated by chance
KEPT_AT_MOST = 100_000  # different lines
SEEN_AT_MOST = 200_000  # lines that are kept, counted each time they appear
CARRIED_AT_MOST = 1 << 16  # bytes of a line that goes on in the next chunk

_SPACES_ONLY = re.compile(rb"\n[ \t]+\r?(?=\n)")
# Odd constants with bits all over. Source: SplitMix64 (Steele et al. 2014) and MurmurHash3.
_FACTORS = [np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)]
_FACTORS += [np.uint64(factor) for factor in (0x94D049BB133111EB, 0xFF51AFD7ED558CCD)]


class Lines:
    """The lines of a text by their hash: how often each appeared.

    `order` is that of all lines, and `spaces_only` counts those that hold spaces and nothing else.
    How a line ends, with LF or CRLF, makes no difference. A line is kept when so many bits of its
    mark are 0. Law: the lines of the parts of a text, absorbed one after another, are those of the
    whole, whatever `bits` each began with that is not above what they end with.
    """

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits
        self.order = Order()
        self.spaces_only = 0
        self._kept: dict[int, int] = {}  # key -> times
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
        if block := self._blocks.close():
            self._take(block)

    def repeated(self) -> float:
        """The share of long lines that stand in the text before."""
        return 1 - len(self._kept) / self._seen if self._seen else 0.0

    def overlap(self, part: Counter[int], other: Counter[int]) -> float:
        """The share of the long lines of `part` that stand in what is left of the text too.

        That is what is neither in `part` nor in `other`, of which these are the lines by key.
        """
        found = sum(n for key, n in part.items() if self._kept.get(key, 0) > n + other[key])
        return found / part.total() if part else 0.0

    def keys(self, block: bytes) -> list[int]:
        """The keys of those lines of a block that are kept track of: a mark and a checksum each."""
        marks, starts, ends = _long_lines(block)
        found = np.flatnonzero(marks <= np.uint64((1 << (64 - self.bits)) - 1))
        rows = zip(*(column[found].tolist() for column in (marks, starts, ends)), strict=True)
        return [mark << 32 | zlib.crc32(block[begin:end]) for mark, begin, end in rows]

    def state(self) -> dict[str, Any]:
        """What `absorb` takes, as JSON can hold it."""
        return {
            "bits": self.bits,
            "keys": list(self._kept),
            "times": list(self._kept.values()),
            "order": self.order.state(),
            "spaces_only": self.spaces_only,
        }

    def absorb(self, state: dict[str, Any]) -> None:
        """Takes the lines of the next part of the text, which other Lines have seen."""
        limit = 1 << (64 - self.bits)
        for key, times in zip(state["keys"], state["times"], strict=True):
            if key >> 32 < limit:
                self._kept[key] = self._kept.get(key, 0) + times
                self._seen += times
        self.order.absorb(state["order"])
        self.spaces_only += state["spaces_only"]
        self._shrink(max(self.bits, state["bits"]))

    def _take(self, block: bytes) -> None:
        for key in self.keys(block):
            self._kept[key] = self._kept.get(key, 0) + 1
            self._seen += 1
        self.order.add(block)
        self.spaces_only += len(_SPACES_ONLY.findall(b"\n" + block))
        self._shrink(self.bits)

    def _shrink(self, bits: int) -> None:
        while bits > self.bits or len(self._kept) > KEPT_AT_MOST or self._seen > SEEN_AT_MOST:
            self.bits = max(bits, self.bits + 1)
            limit = 1 << (64 - self.bits)
            self._kept = {k: times for k, times in self._kept.items() if k >> 32 < limit}
            self._seen = sum(self._kept.values())


class HeldOut:
    """The lines of the splits that are held out, of a text whose `lines` are all known.

    `spelled` is the bytes of each number of the text, with a newline for the end of a record.
    """

    def __init__(self, lines: Lines, spelled: list[bytes]) -> None:
        self._lines = lines
        self._lengths = np.array([len(piece) for piece in spelled])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._letters = np.frombuffer(b"".join(spelled), dtype=np.uint8)
        self._counts: dict[str, Counter[int]] = {"val": Counter(), "test": Counter()}
        self._blocks = {split: _Blocks() for split in self._counts}

    def add(self, split: str, numbers: np.ndarray) -> None:
        """Takes the next numbers of a split."""
        sizes = self._lengths[numbers]
        ends = np.cumsum(sizes)
        # Letter k of a token stands k places after the token's first letter.
        places = np.repeat(self._starts[numbers] - (ends - sizes), sizes) + np.arange(sizes.sum())
        block = self._blocks[split].add(self._letters[places].tobytes())
        self._counts[split].update(self._lines.keys(block))

    def overlap(self, split: str) -> float:
        """The share of a split's long lines that stand in the training text; asked once, last."""
        for name, blocks in self._blocks.items():
            self._counts[name].update(self._lines.keys(blocks.close()))
        other = "test" if split == "val" else "val"
        return self._lines.overlap(self._counts[split], self._counts[other])


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
        block, self._carried = self._carried and self._carried + b"\n", b""
        return block


def _long_lines(block: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each long line in a block: a mark (uint64) made from its text, its start and its end."""
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    if b"\r\n" in block:
        ends = ends - (data[ends - 1] == ord("\r"))  # an empty first line looks at the last byte
    if block.isascii():
        chars = ends - starts
    else:
        # Characters up to and with each byte: all bytes but 0x80 to 0xBF begin one.
        counted = np.cumsum(data.view(np.int8) >= -64, dtype=np.int32)
        chars = counted[ends] - counted[starts]
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
