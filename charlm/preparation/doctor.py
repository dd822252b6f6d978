"""The text doctor: what is worth knowing about a text before a model learns it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charlm.config import PrepConfig
from charlm.preparation.lines import Lines
from charlm.preparation.numbering import Characters, Numbering
from charlm.preparation.pieces import Pieces
from charlm.preparation.splits import SplitSize
from charlm.preparation.spool import id_type
from charlm.preparation.vocabularies import Vocabulary
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.symbols import code_point

RARE = 3  # a symbol seen less often than this is hardly learned
NAMED_AT_MOST = 8
REPEATED_AT_LEAST = 0.1  # shares of lines that are worth a word
OVERLAP_AT_LEAST = 0.02
READ_AT_ONCE = 1 << 20


def findings(
    text: Pieces,
    vocabulary: Vocabulary,
    sizes: dict[str, SplitSize],
    config: PrepConfig,
    out: Path,
) -> list[str]:
    """What is noteworthy, a line each; one line that says so where nothing is."""
    found = [
        *_encoding(text, config),
        *_symbols(text.numbers, text.counts, vocabulary),
        *_repetition(text.lines, vocabulary.tokenizer, sizes, out),
        *_short(sizes, config),
    ]
    return found or ["text: nothing odd about it"]


def _encoding(text: Pieces, config: PrepConfig) -> Iterator[str]:
    for name in text.marks:
        yield f"text: left out the byte order mark at the start of {name}"
    lines = text.carriage_returns
    if lines and config.records == "line":
        yield f"text: {lines:,} {_lines(lines)} with CRLF, read as line ends"
    elif lines:
        yield (
            f"text: {lines:,} {_lines(lines)} with CRLF, which is kept;"
            " `tr -d '\\r'` before prep would take it out"
        )


def _symbols(numbers: Numbering, counts: np.ndarray, vocabulary: Vocabulary) -> Iterator[str]:
    tokenizer = vocabulary.tokenizer
    if isinstance(numbers, Characters):
        rare = np.flatnonzero((counts > 0) & (counts < RARE))
        rare = rare[(rare > 0) & (vocabulary.ids[rare] != tokenizer.unknown)]
        if len(rare):
            named = [code_point(symbol) for symbol in sorted(numbers.symbols[i] for i in rare)]
            shown = ", ".join(named[:NAMED_AT_MOST] + ["..."] * (len(named) > NAMED_AT_MOST))
            yield (
                f"text: symbols seen fewer than {RARE} times: {len(rare):,} of"
                f" {tokenizer.vocabulary:,}: {shown}"
                f" (charlm prep --min-count {RARE} leaves them out)"
            )
    cut = (vocabulary.ids == tokenizer.unknown) & (counts > 0)
    if tokenizer.unknown is not None and cut.any():
        kind = "words" if tokenizer.level == "word" else "symbols"
        yield (
            f"text: {np.count_nonzero(cut):,} different {kind} are not in the vocabulary:"
            f" {counts[cut].sum() / counts.sum():.2%} of the text is <unk>"
        )


def _repetition(
    seen: Lines, tokenizer: Tokenizer, sizes: dict[str, SplitSize], out: Path
) -> Iterator[str]:
    about = "about " if seen.sampled else ""
    repeated = seen.repeated()
    if repeated >= REPEATED_AT_LEAST:
        yield f"text: {about}{repeated:.1%} of the lines of 20 characters or more are repeats"
    if not sizes["val"].tokens:
        return
    val, test = (_text(out / f"{split}.bin", tokenizer) for split in ("val", "test"))
    overlap = seen.overlap(val, test)
    if overlap >= OVERLAP_AT_LEAST:
        yield (
            f"text: {about}{overlap:.1%} of the validation lines of 20 characters or more stand in"
            " the training text too, which flatters the model"
        )


def _short(sizes: dict[str, SplitSize], config: PrepConfig) -> Iterator[str]:
    for split, share in (("val", config.val), ("test", config.test)):
        if share and not sizes[split].tokens:
            yield f"warning: the {split} split is empty, because the text is too short for it"


def _text(path: Path, tokenizer: Tokenizer) -> Iterator[bytes]:
    """The text of a split that has just been written, with a newline for each boundary."""
    pieces = list(tokenizer.pieces)
    if tokenizer.boundary is not None:
        pieces[tokenizer.boundary] = b"\n"
    lengths = np.array([len(piece) for piece in pieces])
    starts = np.cumsum(lengths) - lengths
    letters = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    kind = id_type(len(pieces))
    with path.open("rb") as file:
        while data := file.read(READ_AT_ONCE):
            ids = np.frombuffer(data, dtype=kind)
            sizes = lengths[ids]
            ends = np.cumsum(sizes)
            # Letter k of a token stands k places after the token's first letter.
            places = np.repeat(starts[ids] - (ends - sizes), sizes) + np.arange(sizes.sum())
            yield letters[places].tobytes()


def _lines(count: int) -> str:
    return "line ends" if count == 1 else "lines end"
