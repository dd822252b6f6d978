"""Text <-> ids: characters, bytes, words and byte pairs; streaming decode.

The stored form is the JSON of a Hugging Face `tokenizers` file, and the ids here are those that
`tokenizers` gives for it. That package is imported only where it is needed, so that a model of
characters or bytes starts fast.
"""

import codecs
import hashlib
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from charlm.errors import DataError
from charlm.tokenizer import encoders, forms, nearest
from charlm.tokenizer.normalizing import normalized
from charlm.tokenizer.reading import Form, read
from charlm.tokenizer.symbols import code_point, readable
from charlm.tokenizer.words import Words, splitter, token
from charlm.untrusted import read_text

__all__ = ["Decoder", "Tokenizer"]

NAMED_AT_MOST = 20  # unknown symbols in one message
_UNICODE = re.compile("[^\ud800-\udfff]+")  # the others have no normal form


class Tokenizer:
    """The two-way map between text and the ids 0 to `vocabulary` - 1.

    Law: `decode(encode(text)) == text` (in its normal form, where the tokenizer has one, and with
    one space before every word and newline, where words are what stands between spaces) when
    nothing is unknown.
    """

    def __init__(self, json_text: str, form: Form) -> None:
        self._json = json_text
        self._form = form
        self.level: str = form.level
        self.normalize: str = form.normalize
        self.pattern: str = form.pattern
        self.words: str = "spaces" if form.pattern in ("spaces", "joined") else "text"
        self.pieces: list[bytes] = form.pieces
        self.boundary: int | None = form.boundary
        self.unknown: int | None = form.unknown

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer stored in `text`. Raises DataError for anything that cannot be used."""
        form = read(text)
        if form.level == "char":
            text = forms.naming_unknown(text, forms.UNKNOWN)
        return cls(text, form)

    @classmethod
    def from_file(cls, path: Path) -> "Tokenizer":
        """The tokenizer in a file. Raises DataError, which names the file."""
        try:
            return cls.from_json(read_text(path))
        except (DataError, ValueError) as error:
            raise DataError(f"{path} cannot be used: {error}") from error

    def to_json(self) -> str:
        """The stored form, character for character what it was made from."""
        return self._json

    def exported(self) -> str:
        """The stored form for other programs, which need a token of the vocabulary for the unknown.

        Where there is no `<unk>` it is what `encode` puts with "replace". `from_json` undoes it.
        """
        if self.level != "char" or self.unknown is not None:
            return self._json
        return forms.naming_unknown(self._json, self.pieces[self.replacement].decode("utf-8"))

    def grown(self, pieces: Collection[bytes]) -> "Tokenizer":
        """The tokenizer with those of `pieces` that it lacks after all its own, which stay.

        They come by code point, so the order of `pieces` does not matter; `<unk>` may be among
        them. The tokenizer itself where it lacks none, or needs none: bytes spell every text.
        """
        lacking = set(pieces) - {b"", *self.pieces}
        if self.level not in ("char", "word") or not lacking:
            return self
        symbols = sorted(piece.decode("utf-8") for piece in lacking)
        return Tokenizer.from_json(forms.grown(self._json, symbols))

    @property
    def vocabulary(self) -> int:
        """How many ids there are (V)."""
        return len(self.pieces)

    @cached_property
    def newline(self) -> int | None:
        """The id that ends a line of running text, or None where no id does."""
        ends = (b" \n", b"\n") if self.words == "spaces" else (b"\n",)
        return next((self.pieces.index(end) for end in ends if end in self.pieces), None)

    @cached_property
    def hash(self) -> str:
        """The sha256 of the stored form, in hex."""
        return hashlib.sha256(self._json.encode("utf-8")).hexdigest()

    def encode(self, text: str, unknown: str = "error") -> np.ndarray:
        """The ids of `text`, int64.

        `unknown` says what becomes of a symbol outside the vocabulary: "error" raises a DataError
        that names it, "skip" leaves it out, "replace" puts `<unk>`, else a space, else the first
        symbol in its place, and "nearest" the symbols that are nearest to it, or, where none is
        near, what "replace" puts. An unknown word is nothing unusual and takes `<unk>` by itself;
        the word nearest to it is the same in lower case, or else in title case.
        """
        if self.normalize != "none":
            text = _UNICODE.sub(lambda part: normalized(part[0], self.normalize), text)
        ids = self._encoder.encode(text)
        missing = ids < 0
        if not missing.any():
            return ids
        if unknown == "skip":
            return ids[~missing]
        if unknown == "error" and self.level == "char":
            raise DataError(self._complaint(text, np.flatnonzero(missing)))
        if unknown == "nearest":
            ids = self._nearest(text, ids)
            missing = ids < 0
        return np.where(missing, self.replacement, ids)

    def lookup(self, text: str) -> np.ndarray:
        """The ids of a text in its normal form, int64; -1 for a symbol outside the vocabulary."""
        return self._encoder.encode(text)

    def encode_records(self, records: list[str]) -> np.ndarray:
        """The ids of several byte-pair records with the boundary between them, none at the end."""
        assert isinstance(self._encoder, encoders.PairEncoder | encoders.ForeignEncoder)
        return self._encoder.encode_records(records)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD, or what `errors` says."""
        pieces = self.pieces
        return b"".join([pieces[id] for id in np.asarray(ids).tolist()]).decode("utf-8", errors)

    def decoder(self, errors: str = "replace") -> "Decoder":
        """A decoder for ids that come one at a time; `errors` is that of `decode`."""
        return Decoder(self.pieces, errors)

    def symbol(self, id: int) -> str:
        """A readable name of `id` for lists and messages."""
        if id == self.boundary:
            return "<boundary>"
        return readable(self.pieces[id])

    @cached_property
    def _known(self) -> dict[str, int]:
        """The ids of the characters or words of the vocabulary."""
        return {
            piece.decode("utf-8"): id
            for id, piece in enumerate(self.pieces)
            if id not in (self.boundary, self.unknown)
        }

    @cached_property
    def splitter(self) -> Words:
        """What splits a text into this tokenizer's words."""
        return splitter(self.pattern)

    @cached_property
    def _encoder(self) -> encoders.Encoder:
        return encoders.encoder(self._form, self._json)

    def _nearest(self, text: str, ids: np.ndarray) -> np.ndarray:
        """`ids`, those of `text`, with something near where it is -1; -1 stays where nothing is."""
        places = np.flatnonzero(ids < 0).tolist()
        if self.level == "char":
            return self._encoder.encode(nearest.characters(text, places, self._known))
        words = self.splitter.split(text)
        ids = ids.copy()
        for place in places:
            word = nearest.word(self.token(words[place]), self._known)
            ids[place] = -1 if word is None else self._known[word]
        return ids

    def token(self, word: str) -> str:
        """What a word of a text is in the vocabulary: itself, or between spaces with one space."""
        return token(word, self.pattern)

    @property
    def replacement(self) -> int:
        """What "replace" puts in the place of a symbol outside the vocabulary."""
        if self.unknown is not None:
            return self.unknown
        if b" " in self.pieces:
            return self.pieces.index(b" ")
        return next(id for id in range(self.vocabulary) if id != self.boundary)

    def _complaint(self, text: str, positions: np.ndarray) -> str:
        first: dict[str, int] = {}
        for position in positions.tolist():
            first.setdefault(text[position], position)
        # Of a single line whoever reads it knows which it is, and in what.
        several = "\n" in text.rstrip("\n")
        named = [
            f"{code_point(symbol)} at"
            f"{f' line {text.count(chr(10), 0, position) + 1},' if several else ''}"
            f" column {position - text.rfind(chr(10), 0, position)}"
            for symbol, position in list(first.items())[:NAMED_AT_MOST]
        ]
        more = len(first) - len(named)
        return (
            f"not in the vocabulary: {'; '.join(named)}{f'; and {more:,} more' if more else ''}."
            " Leave such symbols out with --unknown skip, or put"
            f" {self.symbol(self.replacement)} in their place with --unknown replace"
            f"{self._offer(list(first)[:NAMED_AT_MOST])}."
        )

    def _offer(self, symbols: list[str]) -> str:
        """The end of the complaint: what `nearest` would do, where it would do something."""
        for symbol in symbols:
            found = nearest.characters(symbol, [0], self._known)
            if found not in ("", symbol):
                return f", or what is nearest ({found!r} for {symbol!r}) with --unknown nearest"
        return ""


class Decoder:
    """Ids to text, one id at a time.

    A character whose bytes lie in several tokens comes out whole, with the last of them.
    Law: the pieces add up to `Tokenizer.decode` of all the ids.
    """

    def __init__(self, pieces: list[bytes], errors: str = "replace") -> None:
        self._pieces = pieces
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)

    def feed(self, id: int) -> str:
        """The text that is certain once `id` has come; often one character, sometimes none."""
        return self._utf8.decode(self._pieces[id])

    def close(self) -> str:
        """What is left at the end: "", or U+FFFD for a character that was not finished."""
        rest = self._utf8.decode(b"", True)
        self._utf8.reset()
        return rest
