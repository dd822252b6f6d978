"""The ids of one tokenizer made those of another, for a text that is there as ids only."""

import codecs
import re
from collections.abc import Iterator

import numpy as np

from charlm.preparation.decoding import Decoding
from charlm.preparation.spool import READ_AT_ONCE, id_type
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.words import RECORD_END, last_cut

# A split of byte pairs may begin or end within a character; such a byte is decoded to one of these.
_STRAY = re.compile("([\udc80-\udcfe])")


def translated(ids: np.ndarray, old: Tokenizer, new: Tokenizer) -> Iterator[np.ndarray]:
    """The ids that `new` has for what `ids` are in `old`, a tokenizer of the same level, in chunks.

    Bytes, characters and words are matched one by one, so `new` must have all that occur. Byte
    pairs are spelled anew.
    """
    chunks = (ids[begin : begin + READ_AT_ONCE] for begin in range(0, len(ids), READ_AT_ONCE))
    kind = id_type(new.vocabulary)
    if new.level == "bpe":
        yield from (part.astype(kind) for part in _spelled(chunks, old, new))
        return
    # The boundary is the empty piece and <unk> is that of its name, wherever they stand.
    known = {piece: id for id, piece in enumerate(new.pieces)}
    table = np.array([known.get(piece, 0) for piece in old.pieces], dtype=kind)
    yield from (table[chunk] for chunk in chunks)


def _spelled(chunks: Iterator[np.ndarray], old: Tokenizer, new: Tokenizer) -> Iterator[np.ndarray]:
    for text in Decoding("bpe", "none", last_cut).recut(_texts(chunks, old)):
        for part in _STRAY.split(text):
            if _STRAY.match(part):
                byte = part.encode("utf-8", "surrogateescape")
                yield np.array([new.pieces.index(byte)])
            else:
                yield new.encode_records(part.split(RECORD_END))


def _texts(chunks: Iterator[np.ndarray], tokenizer: Tokenizer) -> Iterator[str]:
    """The text of the ids, with RECORD_END for each boundary."""
    pieces = list(tokenizer.pieces)
    if tokenizer.boundary is not None:
        pieces[tokenizer.boundary] = RECORD_END.encode("utf-8", "surrogateescape")
    utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for chunk in chunks:
        yield utf8.decode(b"".join(map(pieces.__getitem__, chunk.tolist())))
    yield utf8.decode(b"", True)
