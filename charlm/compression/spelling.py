"""Bytes spelled by a model's tokens, exactly: what no token stands for is spelled out in bytes.

A step is an id, or the bytes that follow an escape. Law: the steps' bytes add up to the text's,
for any bytes, whatever the tokenizer does to a text before it looks up its tokens.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import BinaryIO

from charlm.tokenizer import Tokenizer
from charlm.tokenizer.words import last_cut

Step = int | bytes

CHUNK = 1 << 14  # bytes read at a time

# The text between two records, by what a model takes for one. A file's end is no text.
SEPARATORS = {"line": "\n", "blank": "\n\n"}

_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")  # as "surrogateescape" reads it


class Spelling:
    """The steps of a text in a model's tokens.

    `pieces` are the bytes of each id. `boundary` is the id that ends a record, where records have
    an end in the text. `escape` is the symbol before bytes: the id of unknown words or characters,
    which the network has learned to expect, or one more than the ids.
    """

    def __init__(self, tokenizer: Tokenizer, records: str) -> None:
        self._tokenizer = tokenizer
        self._separator = SEPARATORS.get(records) if tokenizer.boundary is not None else None
        self.boundary = tokenizer.boundary if self._separator else None
        self._named = tokenizer.unknown is not None
        self.escape = tokenizer.unknown if self._named else tokenizer.vocabulary
        self.pieces = list(tokenizer.pieces)
        if self._separator:
            self.pieces[self.boundary] = self._separator.encode()
        specials = (tokenizer.boundary, tokenizer.unknown)
        self._words = tokenizer.splitter if tokenizer.level == "word" else None
        self._ids: dict[str, int] = {}
        if tokenizer.level in ("char", "word"):
            self._ids = {
                piece.decode("utf-8"): id
                for id, piece in enumerate(tokenizer.pieces)
                if id not in specials
            }

    def texts(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """The bytes as text, cut where tokens end if such places are near.

        What is not UTF-8 comes as lone surrogates.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        held = ""
        for chunk in chunks:
            text = held + decoder.decode(chunk)
            cut = self._cut(text)
            held = text[cut:]
            yield text[:cut]
        yield held + decoder.decode(b"", final=True)

    def steps(self, text: str) -> Iterator[Step]:
        """The steps of a text."""
        steps = self._steps(text)
        if self._named:
            yield from steps  # as in training, where each unknown word or character is one token
            return
        for kind, group in groupby(steps, type):
            if kind is bytes:
                yield b"".join(group)
            else:
                yield from group

    def _steps(self, text: str) -> Iterator[Step]:
        records = text.split(self._separator) if self._separator else [text]
        for number, record in enumerate(records):
            if number:
                yield self.boundary
            if self._tokenizer.level == "byte":
                yield from self._tokenizer.encode(record).tolist()
                continue
            for i, part in enumerate(_NOT_UTF8.split(record)):
                yield from [_bytes(part)] if i % 2 else self._spell(part)

    def _spell(self, text: str) -> list[Step]:
        """The steps of a text in which all is UTF-8; halves it until what fails is found."""
        if not text:
            return []
        steps = self._look_up(text)
        if b"".join([self._bytes_of(step) for step in steps]) == _bytes(text):
            return steps
        if len(text) == 1:
            return [_bytes(text)]
        middle = len(text) // 2
        return self._spell(text[:middle]) + self._spell(text[middle:])

    def _look_up(self, text: str) -> list[Step]:
        if self._tokenizer.level == "bpe":
            return self._tokenizer.encode(text).tolist()
        # Not by the tokenizer: it puts a text into its normal form first, which loses the form
        # that the text had, and does not tell what an unknown word was.
        words = self._words.split(text) if self._words else text
        return [self._ids[word] if word in self._ids else _bytes(word) for word in words]

    def _bytes_of(self, step: Step) -> bytes:
        return step if isinstance(step, bytes) else self.pieces[step]

    def _cut(self, text: str) -> int:
        if self._tokenizer.level not in ("word", "bpe"):
            return len(text)
        cut = last_cut(text, self._tokenizer.words)
        if self._separator == "\n\n":
            cut = len(text[:cut].rstrip("\n"))
        return cut or len(text)


def read(source: BinaryIO) -> Iterator[bytes]:
    """What is left of a stream, a chunk at a time."""
    while chunk := source.read(CHUNK):
        yield chunk


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
