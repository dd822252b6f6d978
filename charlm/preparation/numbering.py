"""Symbols numbered in the order in which they first appear, before the vocabulary is known.

A numbering has `boundary`, the number of the end of a record; `size`, how many numbers there are
so far; `symbols`, what was found in the text, by number, and nothing where the numbers are known
before; `number(pieces)`, the numbers of the next chunk of text, whose pieces have a boundary
between them; `lengths()`, how much text each number stands for; `spelled()`, that text; and
`learn(symbols)`, which says what the numbers of another numbering are here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from charlm.config import PrepConfig
from charlm.errors import DataError
from charlm.preparation.reading import Reader
from charlm.preparation.spool import Spool
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.symbols import code_point
from charlm.tokenizer.words import CODE_POINTS, RECORD_END, splitter

NAMED = 10  # missing characters in one message


class Numbering(Protocol):
    """What all numberings do."""

    boundary: int
    symbols: Sequence[str]

    @property
    def size(self) -> int:
        """How many numbers there are so far."""
        ...

    def number(self, pieces: list[str]) -> np.ndarray:
        """The numbers of the next chunk of text."""
        ...

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """The characters and the bytes that each number stands for; 0 for the boundary."""
        ...

    def spelled(self) -> list[bytes]:
        """The bytes that each number stands for, in order; a newline for the boundary."""
        ...

    def learn(self, symbols: list[str]) -> np.ndarray:
        """The numbers here of what another numbering of this kind calls 0, 1, ..."""
        ...


def numbering(config: PrepConfig, tokenizer: Tokenizer | None) -> Numbering:
    """The numbering for a level; byte pairs need the tokenizer."""
    if config.level == "char":
        return Characters()
    if config.level == "word":
        return WordNumbers(config.words if tokenizer is None else tokenizer.pattern)
    if config.level == "bpe":
        assert tokenizer is not None
        return Pairs(tokenizer)
    boundary = config.records != "none" if tokenizer is None else tokenizer.boundary is not None
    return Bytes(boundary=boundary)


def number_all(
    pieces: Iterable[list[str]],
    numbers: Numbering,
    spool: Spool,
    check: Callable[[Numbering, list[str]], None] | None,
) -> np.ndarray:
    """Numbers a whole text into `spool`; how often each number appears. `check` sees each chunk."""
    counts = np.zeros(numbers.size, dtype=np.int64)
    for chunk in pieces:
        found = numbers.number(chunk)
        if check is not None:
            check(numbers, chunk)
        spool.add(found, numbers.size)
        if numbers.size > len(counts):
            counts = np.concatenate([counts, np.zeros(numbers.size, dtype=np.int64)])
        if numbers.size < len(found):
            counts[: numbers.size] += np.bincount(found, minlength=numbers.size)
        else:
            np.add.at(counts, found, 1)
    return counts[: numbers.size]


def missing_symbols(
    tokenizer: Tokenizer, reader: Reader
) -> Callable[[Numbering, list[str]], None] | None:
    """A check that raises DataError for characters outside the tokenizer, or None if none is."""
    if tokenizer.level != "char" or tokenizer.unknown is not None:
        return None
    known = {piece.decode("utf-8") for piece in tokenizer.pieces}
    checked = 1  # number 0 is the boundary

    def check(numbers: Numbering, pieces: list[str]) -> None:
        nonlocal checked
        assert isinstance(numbers, Characters)
        new, checked = numbers.symbols[checked:], numbers.size
        # A newline may have a number only because it once stood for a boundary.
        missing = [s for s in new if s not in known and any(s in piece for piece in pieces)]
        if missing:
            named = "; ".join(f"{code_point(s)} at {reader.where(s)}" for s in missing[:NAMED])
            more = f"; and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
            raise DataError(
                f"not in the tokenizer: {named}{more}. Use a tokenizer made from this text too, or"
                " one made with --min-count or --vocab-size, which has <unk>."
            )

    return check


class Characters:
    """Numbers characters, by a table over code points."""

    boundary = 0

    def __init__(self) -> None:
        self.symbols = [""]  # by number; the boundary has none
        self._table = np.full(CODE_POINTS, 0xFF, dtype=np.uint8)
        self._new = 0xFF  # marks a character that has no number yet

    @property
    def size(self) -> int:
        """How many numbers there are so far."""
        return len(self.symbols)

    def number(self, pieces: list[str]) -> np.ndarray:
        """The number of each character."""
        codes, ends = _codes(pieces)
        numbers = self._table[codes]
        if len(numbers) and numbers.max() == self._new:
            self._add(codes[numbers == self._new])
            numbers = self._table[codes]
        numbers[ends] = self.boundary
        return numbers

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """One character each, and its bytes in UTF-8."""
        sizes = [len(symbol.encode("utf-8")) for symbol in self.symbols]
        return np.array([min(size, 1) for size in sizes]), np.array(sizes)

    def spelled(self) -> list[bytes]:
        """The bytes that each number stands for."""
        return [b"\n", *(symbol.encode("utf-8") for symbol in self.symbols[1:])]

    def learn(self, symbols: list[str]) -> np.ndarray:
        """The numbers here of what another has as its `symbols`."""
        return np.append(self.boundary, self.number(["".join(symbols)]))

    def _add(self, codes: np.ndarray) -> None:
        found, first = np.unique(codes, return_index=True)
        found = found[np.argsort(first)]
        size = self.size + len(found)
        if size > self._new:
            # The largest value of the type means "new", so the table grows one number early.
            kind = np.uint16 if size <= 0xFFFF else np.uint32
            given = self._table != self._new
            table = np.full(CODE_POINTS, np.iinfo(kind).max, dtype=kind)
            table[given] = self._table[given]
            self._table, self._new = table, np.iinfo(kind).max
        self._table[found] = np.arange(self.size, size)
        self.symbols += map(chr, found.tolist())


class Bytes:
    """The bytes, whose numbers are their values. They come as the characters of these values."""

    boundary = 256

    symbols: tuple[str, ...] = ()  # none that are found in the text

    def __init__(self, *, boundary: bool) -> None:
        self.size = 256 + boundary

    def number(self, pieces: list[str]) -> np.ndarray:
        """The value of each byte."""
        codes, ends = _codes(pieces)
        if not len(ends):
            return codes
        numbers = codes.astype(np.uint16)
        numbers[ends] = self.boundary
        return numbers

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """One byte each; a character is counted at its first byte."""
        values = np.arange(self.size)
        return (values < self.boundary) & (values & 0xC0 != 0x80), values < self.boundary

    def spelled(self) -> list[bytes]:
        """The bytes that each number stands for."""
        return [*(bytes([value]) for value in range(256)), b"\n"][: self.size]

    def learn(self, symbols: list[str]) -> np.ndarray:
        """Every numbering of bytes is the same."""
        return np.arange(self.size)


class WordNumbers:
    """Numbers words as they stand in the text, by a dictionary.

    `pattern`, a name of words.PATTERNS, says what a word is.
    """

    boundary = 0

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._words = splitter(pattern)
        self._numbers = _Numbers({RECORD_END: self.boundary})

    @property
    def size(self) -> int:
        """How many numbers there are so far."""
        return len(self._numbers)

    @property
    def symbols(self) -> list[str]:
        """The words by number."""
        return ["", *list(self._numbers)[1:]]

    def number(self, pieces: list[str]) -> np.ndarray:
        """The number of each word."""
        words = self._words.split_records(pieces)
        return np.fromiter(map(self._numbers.__getitem__, words), np.uint32, len(words))

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """The length of each word."""
        symbols = self.symbols
        return (
            np.array([len(word) for word in symbols]),
            np.array([len(word.encode("utf-8")) for word in symbols]),
        )

    def spelled(self) -> list[bytes]:
        """The bytes that each number stands for."""
        return [b"\n", *(symbol.encode("utf-8") for symbol in self.symbols[1:])]

    def learn(self, symbols: list[str]) -> np.ndarray:
        """The numbers here of what another has as its `symbols`."""
        numbers = map(self._numbers.__getitem__, symbols[1:])
        return np.append(self.boundary, np.fromiter(numbers, np.int64, len(symbols) - 1))


class Pairs:
    """Numbers byte pairs by a tokenizer that is there already: its ids are the numbers."""

    symbols: tuple[str, ...] = ()

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size = tokenizer.vocabulary
        self.boundary = -1 if tokenizer.boundary is None else tokenizer.boundary

    def number(self, pieces: list[str]) -> np.ndarray:
        """The ids of the text."""
        return self._tokenizer.encode_records(pieces)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of each token; a character is counted at its first byte."""
        chars = [sum(byte & 0xC0 != 0x80 for byte in piece) for piece in self._tokenizer.pieces]
        return np.array(chars), np.array([len(piece) for piece in self._tokenizer.pieces])

    def spelled(self) -> list[bytes]:
        """The bytes that each number stands for."""
        pieces = list(self._tokenizer.pieces)
        if self.boundary >= 0:
            pieces[self.boundary] = b"\n"
        return pieces

    def learn(self, symbols: list[str]) -> np.ndarray:
        """Every numbering by one tokenizer is the same."""
        return np.arange(self.size)


class _Numbers(dict[str, int]):
    """A dictionary that gives a new word the next number."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _codes(pieces: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The code points of pieces joined by one character each, and where these stand."""
    text = "\n".join(pieces)
    try:
        codes = np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
    except UnicodeEncodeError:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    if len(pieces) == 1:
        return codes, np.empty(0, dtype=np.int64)
    lengths = np.fromiter(map(len, pieces[:-1]), np.int64, len(pieces) - 1)
    return codes, np.cumsum(lengths + 1) - 1
