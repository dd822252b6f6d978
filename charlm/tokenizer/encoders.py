"""Text to ids, one encoder a level; -1 stands for what is not in the vocabulary.

Each gives the ids that `tokenizers` itself gives for the stored form.
"""

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np

from charlm.errors import DataError
from charlm.tokenizer.reading import Form
from charlm.tokenizer.symbols import not_unicode
from charlm.tokenizer.words import RECORD_END, splitter, token

# Words whose byte pairs are remembered: a natural text has fewer, and no text fills the memory.
REMEMBERED = 500_000


class Encoder(Protocol):
    """What gives a text its ids."""

    def encode(self, text: str) -> np.ndarray:
        """The ids of `text`, int64; -1 for a symbol outside the vocabulary."""
        ...


def encoder(form: Form, json_text: str) -> Encoder:
    """The encoder of a stored form."""
    if form.level == "char":
        return CharEncoder(form)
    if form.level == "byte":
        return ByteEncoder()
    if form.level == "word":
        return WordEncoder(form)
    return PairEncoder(form, json_text) if form.native else ForeignEncoder(form, json_text)


class CharEncoder:
    """Code points through a lookup table."""

    def __init__(self, form: Form) -> None:
        specials = (form.boundary, form.unknown)
        codes = {
            ord(piece.decode("utf-8")): id
            for id, piece in enumerate(form.pieces)
            if id not in specials
        }
        self._table = np.full(max(codes) + 2, -1, dtype=np.int64)
        self._table[list(codes)] = list(codes.values())

    def encode(self, text: str) -> np.ndarray:
        """The id of each character."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        return self._table[np.minimum(codes, len(self._table) - 1)]


class ByteEncoder:
    """The bytes of the text's UTF-8 are the ids."""

    def encode(self, text: str) -> np.ndarray:
        """The bytes; what the shell could not read as UTF-8 comes out as the bytes it was."""
        return np.frombuffer(_utf8(text, "surrogateescape"), dtype=np.uint8).astype(np.int64)


class WordEncoder:
    """Words through a dictionary."""

    def __init__(self, form: Form) -> None:
        specials = (form.boundary, form.unknown)
        self._pattern = form.pattern
        self._words = splitter(form.pattern)
        self._ids = {
            piece.decode("utf-8"): id for id, piece in enumerate(form.pieces) if id not in specials
        }

    def encode(self, text: str) -> np.ndarray:
        """The id of each word."""
        _utf8(text)
        words = self._words.split(text)
        if self._pattern == "spaces":
            words = [token(word, self._pattern) for word in words]
        ids = self._ids
        return np.fromiter((ids.get(word, -1) for word in words), np.int64, len(words))


class PairEncoder:
    """Byte pairs by charlm's own pattern: each word is worked out once and remembered."""

    def __init__(self, form: Form, json_text: str) -> None:
        self._words = splitter(form.pattern)
        self._boundary = form.boundary
        self._json = json_text
        self._backend: Any = None
        self._ids: dict[str, list[int]] = {}

    def encode(self, text: str) -> np.ndarray:
        """The ids of the words of `text`, one word after another."""
        _utf8(text)
        return self.encode_records([text])

    def encode_records(self, records: list[str]) -> np.ndarray:
        """The ids of several records, with the boundary between them."""
        words = self._words.split_records(records)
        if len(self._ids) > REMEMBERED:
            self._ids = {}
        known = self._ids  # which another thread may replace
        if self._boundary is not None:
            known[RECORD_END] = [self._boundary]
        new = [word for word in set(words) if word not in known]
        if new:
            known.update(zip(new, self._pairs(new), strict=True))
        return np.fromiter(chain.from_iterable(map(known.__getitem__, words)), np.int64)

    def _pairs(self, words: list[str]) -> Iterator[list[int]]:
        if self._backend is None:
            self._backend = _backend(self._json)
        found = self._backend.encode_batch_fast(words, add_special_tokens=False)
        return (one.ids for one in found)


class ForeignEncoder:
    """Any other byte-level BPE, by `tokenizers` itself, a long text in parts side by side."""

    PART = 10_000  # characters, about
    # Whatever the pattern, a word's space belongs to the word or stands alone: cut before it.
    _CUT = re.compile("(?<=[A-Za-z])(?= [A-Za-z])")

    def __init__(self, form: Form, json_text: str) -> None:
        self._boundary = form.boundary
        self._backend = _backend(json_text)

    def encode(self, text: str) -> np.ndarray:
        """The ids that `tokenizers` gives."""
        _utf8(text)
        return self.encode_records([text])

    def encode_records(self, records: list[str]) -> np.ndarray:
        """The ids of several records, with the boundary between them."""
        parts, lasts = [], []
        for record in records:
            parts += self._parts(record)
            lasts.append(len(parts))
        found = self._backend.encode_batch_fast(parts, add_special_tokens=False)
        ids = list(chain.from_iterable(one.ids for one in found[: lasts[0]]))
        for begin, end in pairwise(lasts):
            ids.append(self._boundary)
            ids.extend(chain.from_iterable(one.ids for one in found[begin:end]))
        return np.array(ids, dtype=np.int64)

    def _parts(self, text: str) -> list[str]:
        parts, begin = [], 0
        while len(text) - begin > self.PART:
            cut = self._CUT.search(text, begin + self.PART)
            if cut is None:
                break
            parts.append(text[begin : cut.start()])
            begin = cut.start()
        return [*parts, text[begin:]]


def _backend(json_text: str) -> Any:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(json_text)
    except Exception as error:  # the package raises bare Exception
        raise DataError(f"`tokenizers` cannot read the tokenizer ({error}).") from error


def _utf8(text: str, errors: str = "strict") -> bytes:
    try:
        return text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        raise DataError(not_unicode(text, error.start)) from error
