"""Runs of characters looked up in the training text, through the index that `build` makes."""

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from charlm.corpus import Corpus
from charlm.errors import ConfigError, DataError
from charlm.novelty import layout


@dataclass(frozen=True)
class Match:
    """A run of characters that a text shares with the training text.

    `run` begins `start` characters into the text. In the training text it is first met
    `offset_bytes` bytes from the beginning, at `line` and `column`, which count from 1; a column is
    a character.
    """

    run: str
    start: int
    offset_bytes: int
    line: int
    column: int

    @property
    def length(self) -> int:
        """How many characters the run has; 0 where nothing is shared."""
        return len(self.run)


class Index:
    """The training text of a corpus, in which any run is found by binary search.

    Everything stays on disk until it is read. `corpus` is the corpus that the index belongs to.
    """

    def __init__(
        self, corpus: Corpus, text: mmap.mmap, suffixes: np.ndarray, places: np.ndarray
    ) -> None:
        self.corpus = corpus
        self._text = text
        self._suffixes = suffixes
        self._places = places

    @classmethod
    def open(cls, corpus_dir: Path) -> "Index":
        """The index in a corpus directory.

        Raises DataError where that is no corpus, has no index, or one that is damaged.
        """
        corpus = Corpus(corpus_dir)
        paths = [corpus.path / name for name in (layout.TEXT, layout.SUFFIXES, layout.PLACES)]
        missing = [path.name for path in paths if not path.exists()]
        if missing:
            raise DataError(
                f"{corpus.path} has no index ({missing[0]} is missing); `charlm prep FILE -o DIR"
                " --index` makes a corpus with one."
            )
        size_bytes = paths[0].stat().st_size
        blocks = -(-size_bytes // layout.BLOCK)
        kind = layout.suffix_type(size_bytes)
        expected = size_bytes * kind.itemsize, blocks * 2 * layout.PLACE_TYPE.itemsize
        if not size_bytes or tuple(path.stat().st_size for path in paths[1:]) != expected:
            raise DataError(
                f"the index in {corpus.path} is damaged (its files do not fit each other); prepare"
                " the corpus again with --index."
            )
        with paths[0].open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A plain array over the map gives out single numbers faster than the map itself.
        suffixes = np.asarray(np.memmap(paths[1], dtype=kind, mode="r"))
        places = np.fromfile(paths[2], dtype=layout.PLACE_TYPE).reshape(-1, 2)
        return cls(corpus, text, suffixes, places)

    def __contains__(self, run: str) -> bool:
        """Whether the training text has `run`; lone surrogates are bytes that are no UTF-8."""
        try:
            pattern = _bytes(run)
        except UnicodeEncodeError:  # a surrogate that stands for no byte
            return False
        at = bisect_left(range(len(self._suffixes)), pattern, key=self._beginning(len(pattern)))
        return at < len(self._suffixes) and self._beginning(len(pattern))(at) == pattern

    def longest(self, text: str) -> Match:
        """The longest run of `text` that is in the training text; the first of several."""
        watch = Watch(self)
        watch.feed(text)
        return watch.longest

    def shares(self, text: str, length: int) -> Match | None:
        """The same if it has `length` characters or more, else None.

        Raises ConfigError where `length` is below 1.
        """
        if length < 1:
            raise ConfigError(f"length is {length}; a run has at least 1 character.")
        watch = Watch(self, over=length - 1)
        watch.feed(text)
        return watch.longest if watch.length else None

    def has_record(self, text: str) -> bool:
        """Whether `text` is a whole record of the training text; False where that has none."""
        end = layout.BOUNDARY.get(self.corpus.records)
        if end is None:
            return False
        try:
            pattern = _bytes(text) + end
        except UnicodeEncodeError:
            return False
        begins = self._suffixes[slice(*self._ranks(pattern))].astype(np.int64)
        starts, ends = self._record_edges[:-1], self._record_edges[1:]
        if not len(starts):
            return False
        # The record that begins there, or else whichever is near: its begin and end tell.
        at = np.searchsorted(starts, begins).clip(max=len(starts) - 1)
        return bool(((starts[at] == begins) & (ends[at] == begins + len(pattern))).any())

    @cached_property
    def _record_edges(self) -> np.ndarray:
        """The offsets in bytes at which the training text's records begin and end, sorted."""
        boundary = self.corpus.tokenizer.boundary
        sizes = np.array([len(piece) for piece in layout.pieces(self.corpus)])
        found, size_bytes = [np.zeros(1, dtype=np.int64)], 0
        ids = self.corpus.ids("train")
        for begin in range(0, len(ids), layout.READ_AT_ONCE):
            part = ids[begin : begin + layout.READ_AT_ONCE]
            ends = size_bytes + np.cumsum(sizes[part])
            found.append(ends[part == boundary])
            size_bytes = int(ends[-1])
        return np.concatenate(found)

    def match(self, run: str, start: int) -> Match:
        """The match of `run`, which must be in the training text, `start` characters into a text.

        The empty run is at the beginning of the training text.
        """
        offset_bytes = self._first(_bytes(run)) if run else 0
        block = offset_bytes // layout.BLOCK
        line, column = self._places[block].tolist()
        before = self._text[block * layout.BLOCK : offset_bytes]
        return Match(run, start, offset_bytes, *layout.moved_on(line, column, before))

    def _first(self, pattern: bytes) -> int:
        """The offset in bytes at which the training text has `pattern` for the first time."""
        return int(self._suffixes[slice(*self._ranks(pattern))].min())

    def _ranks(self, pattern: bytes) -> tuple[int, int]:
        """The first rank of the suffixes that begin with `pattern`, and the one after the last."""
        every, key = range(len(self._suffixes)), self._beginning(len(pattern))
        low = bisect_left(every, pattern, key=key)
        return low, bisect_right(every, pattern, lo=low, key=key)

    def _beginning(self, size_bytes: int) -> Callable[[int], bytes]:
        """What gives the first bytes of the suffix of some rank."""
        text, offset, size = self._text, self._suffixes.item, len(self._suffixes)

        def beginning(rank: int) -> bytes:
            begin = offset(rank)
            if not 0 <= begin < size:
                raise DataError(
                    f"the index in {self.corpus.path} is damaged (it leads out of the text);"
                    " prepare the corpus again with --index."
                )
            return text[begin : begin + size_bytes]

        return beginning


class Watch:
    """Follows a text that comes in pieces, and keeps the longest run it shares.

    Only runs of more than `over` characters count. Law: how a text is cut changes nothing.

    After each character one run is looked up: the one that ends there and is one character longer
    than the longest so far. None that is longer still can end there: without its last character it
    would have been found one character before.
    """

    def __init__(self, index: Index, *, over: int = 0) -> None:
        self._index = index
        self._bound = over
        self._tail = ""  # the last `bound` characters
        self._chars = 0
        self._run, self._start = "", 0

    @property
    def length(self) -> int:
        """How many characters the longest shared run has so far; 0 where there is none."""
        return len(self._run)

    @property
    def longest(self) -> Match:
        """The longest shared run so far, the first of several; empty where there is none."""
        return self._index.match(self._run, self._start)

    def feed(self, piece: str) -> None:
        """Reads the next piece of the text."""
        text = self._tail + piece
        origin = self._chars - len(self._tail)
        for end in range(len(self._tail) + 1, len(text) + 1):
            begin = end - self._bound - 1
            if begin >= 0 and (run := text[begin:end]) in self._index:
                self._run, self._start = run, origin + begin
                self._bound += 1
        self._chars += len(piece)
        self._tail = text[max(0, len(text) - self._bound) :]


def _bytes(run: str) -> bytes:
    return run.encode("utf-8", "surrogateescape")
