"""Texts as the symbols that a model reads of them, with all that counts in a figure.

One reading for everything that measures. A symbol is a token, or a character or word that no token
stands for, or a byte that is not UTF-8. `<unk>` stands for a symbol outside the vocabulary where
the model has it; else that symbol is not read, and costs as much as to name its characters.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from charlm.errors import DataError
from charlm.preparation.records import BOUNDARY_CHARS
from charlm.score import NAMING_NATS, Score
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.normalizing import clusters, normalized
from charlm.tokenizer.symbols import code_point, not_unicode

ENDS = {"none": "\n", "line": "\n", "blank": "\n\n", "file": ""}  # of a record, unless it is given

_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")  # as "surrogateescape" reads it
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half a character, which no bytes are


@dataclass(frozen=True)
class Symbols:
    """The symbols of a text, and what they stand for.

    `ids` (T,) has -1 for what is not read, and `unknown` the own text of each symbol outside the
    vocabulary, by its place. `chars` are as the model reads them, `bytes` are the original's.
    `unread` (U,) has, for each character that the symbols do not tell, in which line it stands.
    """

    ids: np.ndarray
    unknown: dict[int, str]
    chars: int
    bytes: int
    unread: np.ndarray

    @cached_property
    def read(self) -> np.ndarray:
        """The ids of what is read."""
        return self.ids[self.ids >= 0] if self.unknown else self.ids

    def first(self, count: int) -> "Symbols":
        """The first so many symbols; characters and bytes stay those of all."""
        own = {place: text for place, text in self.unknown.items() if place < count}
        return replace(self, ids=self.ids[:count], unknown=own)

    def priced(self, nats: np.ndarray) -> np.ndarray:
        """The nats (T,) of all symbols, given those of `read`."""
        if len(nats) == len(self.ids):
            return nats
        found = np.empty(len(self.ids))
        found[self.ids >= 0] = nats
        for place in np.flatnonzero(self.ids < 0).tolist():
            found[place] = NAMING_NATS * len(self.unknown[place])
        return found

    def score(self, nats: np.ndarray) -> Score:
        """What all that comes to, given the nats (T,) of all symbols."""
        unknown = float(nats[list(self.unknown)].sum()) if self.unknown else 0.0
        return Score(
            float(nats.sum()), len(self.ids), self.chars, self.bytes, len(self.unknown), unknown,
            len(self.unread),
        )  # fmt: skip


class Symbolizer:
    """Turns the texts of a model into symbols.

    `policy`, one of config.UNKNOWN_POLICIES or None, says what becomes of a symbol outside the
    vocabulary; without one it is `<unk>`, or "skip" where the model has none. `records` is the
    model's kind of record.
    """

    def __init__(self, tokenizer: Tokenizer, records: str, policy: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._records = records
        unknown = tokenizer.unknown
        if policy is None or (policy == "error" and tokenizer.level == "word"):
            policy = "skip" if unknown is None else "replace"
        self._policy = policy
        self._instead = tokenizer.replacement if policy in ("replace", "nearest") else -1

    def symbols(self, text: str, end: str | None = None) -> Symbols:
        """The symbols of a record with its end, which is the usual one unless it is given.

        The end of running text is a part of it, where the model knows a newline. Raises DataError
        for a lone surrogate that is no byte, and for unknown symbols where the policy is "error".
        """
        end = ENDS[self._records] if end is None else end
        check_unicode(text)
        if self._records == "none":
            return self._of(text if self._tokenizer.newline is None else text + end)
        found = self._of(text)
        ids = np.append(found.ids, self._tokenizer.boundary)
        chars = BOUNDARY_CHARS[self._records]  # that the boundary stands for
        size = found.bytes + max(chars, len(end.encode()))
        unread = found.unread
        if len(end) > chars:
            line = text.count("\n")
            rest = [line + end.count("\n", 0, at) for at in range(chars, len(end))]
            unread = np.append(unread, np.array(rest, np.int64))
        return Symbols(ids, found.unknown, found.chars + chars, size, unread)

    def dropped(self, text: str) -> Symbols:
        """Text that the model never reads, such as an empty record."""
        lines = np.cumsum([0, *(character == "\n" for character in text[:-1])])
        return Symbols(np.empty(0, np.int64), {}, 0, len(text.encode()), lines[: len(text)])

    def breaks(self, found: Symbols) -> np.ndarray:
        """How many newlines (T,) are in each symbol."""
        counts = self._newlines[found.ids]
        for place, text in found.unknown.items():
            counts[place] = text.count("\n")
        return counts

    @cached_property
    def _newlines(self) -> np.ndarray:
        pieces = [*self._tokenizer.pieces, b""]  # the last is that of -1
        return np.array([piece.count(b"\n") for piece in pieces])

    def _of(self, text: str) -> Symbols:
        size = len(text.encode("utf-8", "surrogateescape")) if not text.isascii() else len(text)
        if self._tokenizer.level == "byte":
            ids = self._tokenizer.encode(text)
            chars = int(np.count_nonzero(ids & 0xC0 != 0x80))
            return Symbols(ids, {}, chars, size, np.empty(0, np.int64))
        ids, unknown, unread, chars, line = [], {}, [], 0, 0
        place = 0
        for i, part in enumerate(_NOT_UTF8.split(text) if not text.isascii() else [text]):
            if not part:
                continue
            if i % 2:
                new, own, read = self._bytes(part), dict(enumerate(part)), part
            else:
                new, own, read, changed = self._text(part)
                unread += [line + at for at in changed]
            ids.append(new)
            unknown |= {place + at: symbol for at, symbol in own.items()}
            unread += self._unnamed(new, own, line)
            chars, place, line = chars + len(read), place + len(new), line + part.count("\n")
        whole = np.concatenate(ids) if ids else np.empty(0, np.int64)
        return Symbols(whole, unknown, chars, size, np.array(unread, np.int64))

    def _bytes(self, part: str) -> np.ndarray:
        if self._policy == "error":
            byte = f"0x{ord(part[0]) & 0xFF:02X}"
            raise UnknownSymbolsError(f"byte {byte} is not UTF-8.", {f"byte {byte}": 0})
        return np.full(len(part), self._instead)

    def _text(self, text: str) -> tuple[np.ndarray, dict[int, str], str, list[int]]:
        """The ids of a text, its unknown symbols, the text as it is read, and changed lines."""
        tokenizer = self._tokenizer
        read = normalized(text, tokenizer.normalize)
        changed = [] if read == text else list(_changed(text, tokenizer.normalize))
        ids = tokenizer.lookup(read)
        if tokenizer.level == "bpe":
            return ids, {}, read, changed
        missing = np.flatnonzero(ids < 0).tolist()
        words: str | list[str] = read
        if tokenizer.level == "word" and (missing or tokenizer.words == "spaces"):
            words = tokenizer.splitter.split(read)
        own = {at: words[at] for at in missing}
        if tokenizer.words == "spaces":
            changed += self._spaces(ids, words)
        if not own:
            return ids, own, read, changed
        if self._policy == "error":
            try:
                tokenizer.encode(read)
            except DataError as error:
                first: dict[str, int] = {}
                for at, symbol in own.items():
                    first.setdefault(code_point(symbol), at)
                raise UnknownSymbolsError(str(error), first) from error
        if self._policy == "nearest":
            ids = tokenizer.encode(read, "nearest")
            # Where one symbol became several, or none, the places are those of what is read.
            own = {min(at, len(ids) - 1): symbol for at, symbol in own.items()} if len(ids) else {}
        elif self._instead >= 0:
            ids = np.where(ids < 0, self._instead, ids)
        return ids, own, read, changed

    def _spaces(self, ids: np.ndarray, words: str | list[str]) -> Iterator[int]:
        """The line of each space that a token between spaces does not tell, or tells too much."""
        line = 0
        for id, word in zip(ids.tolist(), words, strict=True):
            piece = self._tokenizer.pieces[id].decode() if id >= 0 else word
            if word != piece:
                yield from [line] * max(1, abs(len(word) - len(piece)))
            line += word.count("\n")

    def _unnamed(self, ids: np.ndarray, own: dict[int, str], line: int) -> Iterator[int]:
        """The line of each character that `<unk>` stands for."""
        special = self._tokenizer.unknown
        if special is None or not own:
            return
        literal = self._tokenizer.pieces[special].decode()
        breaks = np.cumsum(self._newlines[ids])
        for at, symbol in own.items():
            if ids[at] == special and symbol != literal:
                yield from [line + int(breaks[at])] * len(symbol)


class UnknownSymbolsError(DataError):
    """Symbols outside the vocabulary, where that is an error; `first` has where each first is."""

    def __init__(self, message: str, first: dict[str, int]) -> None:
        super().__init__(message)
        self.first = first


def joined(parts: Sequence[Symbols]) -> Symbols:
    """The symbols of several texts, one after another; lines count in each by itself."""
    unknown, place = {}, 0
    for part in parts:
        unknown |= {place + at: own for at, own in part.unknown.items()}
        place += len(part.ids)
    return Symbols(
        np.concatenate([part.ids for part in parts]),
        unknown,
        sum(part.chars for part in parts),
        sum(part.bytes for part in parts),
        np.concatenate([part.unread for part in parts]),
    )


def piece_chars(tokenizer: Tokenizer, records: str) -> np.ndarray:
    """The characters (V + 1,) of each piece, the last of which is that of -1."""
    pieces = tokenizer.pieces
    table = np.fromiter((sum(byte & 0xC0 != 0x80 for byte in piece) for piece in pieces), float)
    if tokenizer.boundary is not None:
        table[tokenizer.boundary] = BOUNDARY_CHARS[records]
    return np.append(table, 0.0)


def unread_of_corpus(tokenizer: Tokenizer, records: str, ids: np.ndarray, chars: int) -> int:
    """How many of a corpus's characters its ids (T,) do not tell: those of its unknown words.

    There are none where all of those are `<unk>` as it stands in the text.
    """
    special = tokenizer.unknown
    if special is None:
        return 0
    table = piece_chars(tokenizer, records)
    counts = np.bincount(ids, minlength=tokenizer.vocabulary)
    left = chars - float(counts @ table[:-1])
    return round(left + counts[special] * table[special]) if left else 0


def check_unicode(text: str) -> None:
    """Raises DataError for half a character, which no bytes stand for."""
    if not text.isascii() and (match := _LONE.search(text)):
        raise DataError(not_unicode(text, match.start()))


def _changed(text: str, form: str) -> Iterator[int]:
    """The line of each character whose normal form is another one."""
    line = 0
    for cluster in clusters(text):
        if not cluster.isascii() and normalized(cluster, form) != cluster:
            yield from [line] * len(cluster)
        line += cluster.count("\n")
