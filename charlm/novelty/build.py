"""The index of a corpus, made."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charlm.atomic import whole_file
from charlm.corpus import Corpus
from charlm.novelty import layout


def build(corpus_dir: Path) -> None:
    """Writes the index of the training text into the corpus directory `corpus_dir`.

    The index takes about 5 bytes of disk for each byte of text, 9 from 2 GB on, and as much memory
    while it is made. Raises DataError where `corpus_dir` is no corpus.
    """
    # Here and not above: who only reads an index need not wait for it.
    from pydivsufsort import divsufsort

    corpus = Corpus(corpus_dir)
    path = corpus.path / layout.TEXT
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.writelines(_text(corpus))
    data = path.read_bytes()
    _write(corpus.path / layout.PLACES, _places(data), layout.PLACE_TYPE)
    kind = layout.suffix_type(len(data))
    suffixes = divsufsort(data, force64=kind.itemsize == 8)
    _write(corpus.path / layout.SUFFIXES, suffixes, kind)


def _text(corpus: Corpus) -> Iterator[bytes]:
    pieces, ids = layout.pieces(corpus), corpus.ids("train")
    for begin in range(0, len(ids), layout.READ_AT_ONCE):
        part = ids[begin : begin + layout.READ_AT_ONCE].tolist()
        yield b"".join(map(pieces.__getitem__, part))


def _places(data: bytes) -> np.ndarray:
    """The line and the column (blocks, 2) at which each block begins, both from 1."""
    places = [(1, 1)]
    for begin in range(0, len(data) - layout.BLOCK, layout.BLOCK):
        places.append(layout.moved_on(*places[-1], data[begin : begin + layout.BLOCK]))
    return np.array(places)


def _write(path: Path, numbers: np.ndarray, kind: np.dtype) -> None:
    # Not with `tofile`, whose error does not say that the disk is full.
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(np.ascontiguousarray(numbers, dtype=kind))
