"""The splits: where the text is cut, and the files of ids."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from charlm.config import PrepConfig
from charlm.preparation.drawing import Drawing
from charlm.preparation.pieces import Pieces
from charlm.preparation.records import BOUNDARY_CHARS
from charlm.preparation.spool import READ_AT_ONCE, id_type

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitSize:
    """How much text a split holds.

    Characters and bytes are those of the text before it was cut into tokens, so an unknown word
    counts with its own length. A boundary counts as what it replaced: one character (one byte)
    where a line is a record, two where blank lines end it, none where a file is a record. At byte
    level a character is counted at its first byte.
    """

    tokens: int = 0
    chars: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Numbered:
    """A text as numbers, and what each number is: its id, its characters and its bytes.

    `chunks` gives the numbers, a chunk at a time; `boundary` ends a record, where there are any.
    """

    chunks: Callable[[], Iterator[np.ndarray]]
    counts: np.ndarray
    ids: np.ndarray
    chars: np.ndarray
    bytes: np.ndarray
    boundary: int | None

    @classmethod
    def of(cls, text: Pieces, ids: np.ndarray, records: str) -> "Numbered":
        """The text, of whose numbers these are the ids."""
        lengths = text.numbers.lengths()
        chars, sizes = (np.asarray(length, dtype=np.int64) for length in lengths)
        boundary = None
        if records != "none":
            boundary = text.numbers.boundary
            chars[boundary] = sizes[boundary] = BOUNDARY_CHARS[records]
        return cls(text.chunks, text.counts, ids, chars, sizes, boundary)

    def size(self, counts: np.ndarray) -> SplitSize:
        """How much text there is where each number appears this often."""
        return SplitSize(int(counts.sum()), int(counts @ self.chars), int(counts @ self.bytes))


def write_splits(
    text: Numbered,
    vocabulary: int,
    config: PrepConfig,
    out: Path,
    *,
    listen: Callable[[str, np.ndarray], None] = lambda split, numbers: None,
) -> tuple[dict[str, SplitSize], str]:
    """Writes `{train,val,test}.bin` into `out`; the sizes, and the hash of ids and sizes.

    Records are drawn at random, unless the config has the last ones held out. Running text is cut:
    train takes int(N (1 - val - test)) of N characters and test int(N test), or so much less that
    no token is cut, or so much more that the last record is whole. Train has at least one token,
    and a split whose share is 0 has none. `listen` gets the numbers of val and test, in parts.
    """
    kind = id_type(vocabulary)
    ids = text.ids.astype(kind)
    digest = hashlib.sha256()
    cutter = _cutter(text, config)
    counts = np.zeros((len(SPLITS), len(text.counts)), dtype=np.int64)
    paths = [out / f"{split}.bin" for split in SPLITS]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        second = stack.enter_context(ThreadPoolExecutor(1))
        storing: Future[None] | None = None
        for chunk in text.chunks():
            for split, numbers in cutter.cut(chunk):
                written = ids[numbers]
                if split:
                    counts[split] += np.bincount(numbers, minlength=len(text.counts))
                    listen(SPLITS[split], numbers)
                # While this one looks up the next ids, the other thread hashes and writes these.
                if storing is not None:
                    storing.result()
                storing = second.submit(_store, written, None if split else digest, files[split])
        if storing is not None:
            storing.result()
    for path in paths[1:]:
        with path.open("rb") as file:
            while data := file.read(READ_AT_ONCE):
                digest.update(data)
    counts[0] = text.counts - counts.sum(axis=0)
    sizes = {split: text.size(row) for split, row in zip(SPLITS, counts, strict=True)}
    return sizes, splits_hash(digest, sizes)


def _store(ids: np.ndarray, digest: Any, file: BinaryIO) -> None:
    if digest is not None:
        digest.update(ids.data)
    file.write(ids.data)


def splits_hash(digest: Any, sizes: dict[str, SplitSize]) -> str:
    """The hash, in hex, of the splits' ids, which `digest` has been fed, and of where they end."""
    digest.update(repr([size.tokens for size in sizes.values()]).encode())
    return digest.hexdigest()


def _cutter(text: Numbered, config: PrepConfig) -> "_Cutter | _Drawer":
    if text.boundary is not None and config.held_out == "random":
        records = int(text.counts[text.boundary])
        return _Drawer(text.boundary, Drawing(records, config.val, config.test, config.seed))
    chars = text.size(text.counts).chars
    test = int(round(chars * config.test, 6))
    # 0.7999... of 10 is 8; and what rounding leaves over is for training where val has no share.
    train = int(round(chars * (1 - config.val - config.test), 6)) if config.val else chars - test
    return _Cutter(text, [train, chars - test])


class _Drawer:
    """Takes the numbers of a text, chunk by chunk, apart into the splits of their records."""

    def __init__(self, boundary: int, drawing: Drawing) -> None:
        self._boundary = boundary
        self._drawing = drawing
        self._records = 0  # that have ended

    def cut(self, numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """What each split has of the next chunk, with the number of the split."""
        ends = np.flatnonzero(numbers == self._boundary) + 1
        splits = self._drawing.splits(self._records, self._records + len(ends) + 1)
        self._records += len(ends)
        lengths = np.diff(ends, prepend=0, append=len(numbers))
        taken = np.repeat(splits, lengths)
        parts = [(split, numbers[taken == split]) for split in range(len(SPLITS))]
        return [(split, part) for split, part in parts if len(part)]


class _Cutter:
    """Cuts the numbers of a text, chunk by chunk, into splits that end at these characters."""

    def __init__(self, text: Numbered, edges: list[int]) -> None:
        # Small numbers are looked up several times faster.
        self._sizes = text.chars.astype(np.min_scalar_type(int(text.chars.max())))
        self._uniform = bool((text.chars[text.counts > 0] == 1).all())
        self._boundary = text.boundary
        self._edges = edges
        self._split = 0
        self._chars = 0  # before the next number
        self._last = text.boundary  # a text begins where a record begins
        self._begun = False

    def cut(self, numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The parts of the next chunk, each with the number of its split."""
        parts = []
        while len(numbers):
            taken, chars = self._room(numbers)
            if not self._begun and not taken:
                # Of a text too short for its splits, training gets what there is.
                taken, chars = 1, int(self._sizes[numbers[0]])
            self._begun = True
            if taken < len(numbers):
                taken, chars = self._whole_records(numbers, taken, chars)
            if taken:
                parts.append((self._split, numbers[:taken]))
                self._last = int(numbers[taken - 1])
                self._chars += chars
            if taken < len(numbers):
                self._split += 1
            numbers = numbers[taken:]
        return parts

    def _room(self, numbers: np.ndarray) -> tuple[int, int]:
        """How many of the numbers the split that is being filled takes, and their characters."""
        if self._split == len(self._edges):
            return len(numbers), 0
        room = max(0, self._edges[self._split] - self._chars)
        if self._uniform:
            taken = min(len(numbers), room)
            return taken, taken
        sizes = self._sizes[numbers]
        chars = int(sizes.sum())
        if chars <= room:
            return len(numbers), chars
        sums = np.cumsum(sizes)
        taken = int(np.searchsorted(sums, room, side="right"))
        return taken, int(sums[taken - 1]) if taken else 0

    def _whole_records(self, numbers: np.ndarray, taken: int, chars: int) -> tuple[int, int]:
        """The same, with all of the last record, which may go on in the next chunk."""
        last = numbers[taken - 1] if taken else self._last
        if self._boundary is None or last == self._boundary:
            return taken, chars
        ends = np.flatnonzero(numbers[taken:] == self._boundary)
        whole = taken + int(ends[0]) + 1 if len(ends) else len(numbers)
        return whole, chars + int(self._sizes[numbers[taken:whole]].sum())
