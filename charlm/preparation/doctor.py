"""The text doctor: what is worth knowing about a text before a model learns it."""

import re
from collections.abc import Iterator

import numpy as np

from charlm.amounts import counted
from charlm.config import PrepConfig
from charlm.preparation.lines import HeldOut, Lines
from charlm.preparation.numbering import Characters, Numbering, WordNumbers
from charlm.preparation.pieces import Pieces
from charlm.preparation.splits import SplitSize
from charlm.preparation.vocabularies import Vocabulary
from charlm.tokenizer.symbols import code_point

RARE = 3  # a symbol seen less often than this is hardly learned
NAMED_AT_MOST = 8
REPEATED_AT_LEAST = 0.1  # shares of lines that are worth a word
OVERLAP_AT_LEAST = 0.02
FILES_NAMED = 3
JOINED_SHARE = 0.3  # of the characters of words: more of scripts without spaces is another text
LONG_WORDS = 12  # characters on average; in Finnish it is 8
_WORD = re.compile(r"\w")
# Thai, Lao, Myanmar, Khmer, kana, Chinese characters.
_NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)


def findings(
    text: Pieces,
    vocabulary: Vocabulary,
    sizes: dict[str, SplitSize],
    config: PrepConfig,
    held_out: HeldOut,
) -> list[str]:
    """What is noteworthy, a line each; one line that says so where nothing is."""
    records = None if config.records == "none" else int(text.counts[text.numbers.boundary])
    found = [
        *_encoding(text),
        *_line_ends(text, config),
        *_unspaced(text.numbers, text.counts),
        *_symbols(text.numbers, text.counts, vocabulary),
        *_order(text.lines, config),
        *_repetition(text.lines, sizes, held_out),
        *_short(sizes, config, records),
    ]
    return found or ["text: nothing odd about it"]


def _encoding(text: Pieces) -> Iterator[str]:
    for encoding in sorted({encoding for _, encoding in text.wide}):
        names = [name for name, theirs in text.wide if theirs == encoding]
        yield (
            f"warning: every other byte of {_named(names)} is NUL, as in {encoding} without a mark;"
            f" `iconv -f {encoding} -t UTF-8 FILE` makes UTF-8 of it"
        )
    if text.marks:
        yield f"text: left out the byte order mark at the start of {_named(text.marks)}"
    if count := text.odd["mark"]:
        yield (
            f"text: {counted(count, 'byte order mark')} (U+FEFF) inside the text, as where files"
            " are joined by cat, kept as a symbol; give prep the files by name, or take it out with"
            " `sed 's/\\xEF\\xBB\\xBF//g'`"
        )
    if count := text.odd["replacement"]:
        yield (
            f"text: {counted(count, 'symbol')} U+FFFD, which some program put for what it could"
            " not read; get the text again in its own encoding, and turn that into UTF-8 with"
            " iconv"
        )
    if (count := text.odd["control"]) and not text.wide:
        nul = f", {text.odd['nul']:,} of them NUL" if text.odd["nul"] else ""
        yield (
            f"text: {counted(count, 'control character')}{nul};"
            " `tr -d '\\000-\\010\\013\\014\\016-\\037\\177'` before prep takes them out"
        )


def _line_ends(text: Pieces, config: PrepConfig) -> Iterator[str]:
    lines = text.odd["crlf"]
    if lines and config.records == "line":
        yield f"text: {lines:,} {_lines(lines)} with CRLF, read as line ends"
    elif lines:
        yield (
            f"text: {lines:,} {_lines(lines)} with CRLF, which is kept;"
            " `tr -d '\\r'` before prep would take it out"
        )
    if (count := text.odd["cr"]) and config.level != "byte":
        yield (
            f"text: {counted(count, 'carriage return')} without a newline, which"
            f" {'ends' if count == 1 else 'end'} no line here; where lines end so,"
            " `tr '\\r' '\\n'` before prep makes newlines of them"
        )
    if (count := text.lines.spaces_only) and config.records == "blank":
        yield (
            f"text: {counted(count, 'line')} of spaces only, which"
            f" {'ends' if count == 1 else 'end'} no record; `sed 's/^[[:space:]]*$//'` before prep"
            " makes blank lines of them"
        )


def _symbols(numbers: Numbering, counts: np.ndarray, vocabulary: Vocabulary) -> Iterator[str]:
    tokenizer = vocabulary.tokenizer
    if np.count_nonzero(counts) == 1:
        yield "warning: the text is one symbol time and again, so there is nothing to learn"
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


def _unspaced(numbers: Numbering, counts: np.ndarray) -> Iterator[str]:
    """Whether the words are longer than words are, because nothing stands between them."""
    if not isinstance(numbers, WordNumbers):
        return
    words = [(number, symbol) for number, symbol in enumerate(numbers.symbols) if symbol.strip()]
    chars = sum(int(counts[number]) * len(symbol.strip()) for number, symbol in words)
    total = sum(int(counts[number]) for number, symbol in words if _WORD.search(symbol))
    joined = sum(
        int(counts[number]) * len(_NO_SPACES.findall(symbol))
        for number, symbol in words
        if not symbol.isascii()
    )
    if joined > JOINED_SHARE * chars or (total and chars > LONG_WORDS * total):
        yield (
            f"warning: a word is {chars / max(1, total):.1f} characters long on average, because"
            " the text has no spaces between words; --level char or --level bpe suits it"
        )


def _order(lines: Lines, config: PrepConfig) -> Iterator[str]:
    if not lines.order.sorted or not config.val + config.test:
        return
    if config.records == "none":
        yield (
            "text: its lines are sorted, and validation and test take the last of them, unlike"
            " those before; shuffle them first (shuf), or, where each line is a text of its own,"
            " add --records line"
        )
    elif config.held_out == "last":
        yield (
            "text: its lines are sorted, and validation and test take the last of them, unlike"
            " those before; --held-out random draws them"
        )


def _repetition(seen: Lines, sizes: dict[str, SplitSize], held_out: HeldOut) -> Iterator[str]:
    about = "about " if seen.sampled else ""
    repeated = seen.repeated()
    if repeated >= REPEATED_AT_LEAST:
        yield f"text: {about}{repeated:.1%} of the lines of 20 characters or more are repeats"
    split = "val" if sizes["val"].tokens else "test"
    overlap = held_out.overlap(split)
    if overlap >= OVERLAP_AT_LEAST:
        name = "validation" if split == "val" else "test"
        yield (
            f"text: {about}{overlap:.1%} of the {name} lines of 20 characters or more stand in"
            " the training text too, which flatters the model"
        )


def _short(sizes: dict[str, SplitSize], config: PrepConfig, records: int | None) -> Iterator[str]:
    for split, share in (("val", config.val), ("test", config.test)):
        if not share or sizes[split].tokens:
            continue
        if records is None:
            why = f"the text is too short for {share:g} of it; add text, or give --{split} more"
        elif records == 1:
            ends = {"line": "a newline", "blank": "a blank line", "file": "a file's end"}
            why = (
                f"all of the text is one record, which {ends[config.records]} would end; choose"
                " other --records, or leave the option out"
            )
        else:
            why = f"{records:,} records are too few for {share:g} of them; give --{split} more"
        yield f"warning: the {split} split is empty, because {why}"


def _named(names: list[str]) -> str:
    """A name, or how many files and the first few of their names."""
    if len(names) == 1:
        return names[0]
    more = ["..."] * (len(names) > FILES_NAMED)
    return f"{len(names):,} files ({', '.join(names[:FILES_NAMED] + more)})"


def _lines(count: int) -> str:
    return "line ends" if count == 1 else "lines end"
