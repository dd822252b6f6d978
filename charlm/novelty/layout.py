"""The files of an index, beside train.bin: the training text, its suffix array, its places.

`train.txt` is the training split as UTF-8 (of a corpus of bytes: as it is); `train.suffixes` has
where in it each suffix begins, in the order of the suffixes; `train.places` has the line and the
column at which each block of it begins. All numbers are little-endian.
"""

import numpy as np

from charlm.corpus import Corpus

TEXT = "train.txt"
SUFFIXES = "train.suffixes"
PLACES = "train.places"

BLOCK = 1 << 16  # bytes of text; a place is found by reading one block at most
WIDE_FROM = 1 << 31  # bytes of text whose offsets int32 cannot hold
PLACE_TYPE = np.dtype("<i8")
READ_AT_ONCE = 1 << 20  # ids

# What a boundary is in the text: the newlines that it replaced, and one at the end of a file.
BOUNDARY = {"line": b"\n", "blank": b"\n\n", "file": b"\n"}


def pieces(corpus: Corpus) -> list[bytes]:
    """The bytes of each id in the text of a corpus, the boundary's among them."""
    found = list(corpus.tokenizer.pieces)
    if corpus.tokenizer.boundary is not None:
        found[corpus.tokenizer.boundary] = BOUNDARY.get(corpus.records, b"")
    return found


def suffix_type(size_bytes: int) -> np.dtype:
    """The type of the suffix array of a text this long."""
    return np.dtype("<i4" if size_bytes < WIDE_FROM else "<i8")


def moved_on(line: int, column: int, data: bytes) -> tuple[int, int]:
    """The line and the column after `data`; a character counts at its first byte."""
    newlines = data.count(b"\n")
    if newlines:
        line, column = line + newlines, 1
        data = data[data.rindex(b"\n") + 1 :]
    starts = np.frombuffer(data, dtype=np.uint8) & 0xC0 != 0x80
    return line, column + int(np.count_nonzero(starts))
