"""Which symbols get an id: the tokenizer that fits a text, and what each number becomes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.amounts import size_words
from charlm.config import PrepConfig
from charlm.errors import ConfigError
from charlm.preparation.numbering import Characters, Numbering, WordNumbers
from charlm.preparation.spool import StoredText
from charlm.tokenizer import Tokenizer, forms
from charlm.tokenizer.room import check_room
from charlm.tokenizer.words import token

WORDS_UNLESS_TOLD = 20_000
PAIRS_UNLESS_TOLD = 1024
LEARNED_AT_MOST = 16 << 20  # bytes: more text hardly changes which pairs are frequent


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and the id of each number; -1 where the tokenizer has no id for it."""

    tokenizer: Tokenizer
    ids: np.ndarray


def fitting(
    numbers: Numbering,
    counts: np.ndarray,
    config: PrepConfig,
    tokenizer: Tokenizer | None,
    *,
    grow: bool = False,
) -> Vocabulary:
    """The vocabulary of a text: that of `tokenizer` where it is given, else one made for it.

    With `grow` the tokenizer gets what it lacks of the vocabulary that would be made.
    """
    if isinstance(numbers, Characters | WordNumbers):

        def made() -> Vocabulary:
            if isinstance(numbers, Characters):
                return of_characters(numbers.symbols, counts, config)
            return of_words(numbers.symbols, counts, config, numbers.pattern)

        if tokenizer is None:
            return made()
        if grow:
            tokenizer = tokenizer.grown(made().tokenizer.pieces)
        return by_symbol(tokenizer, numbers.symbols)
    if tokenizer is None:
        tokenizer = _made(forms.byte_form(boundary=config.records != "none"))
    return Vocabulary(tokenizer, np.arange(tokenizer.vocabulary))


def of_characters(symbols: list[str], counts: np.ndarray, config: PrepConfig) -> Vocabulary:
    """The vocabulary of the characters with these counts; number 0 is the boundary."""
    boundary = config.records != "none"
    chosen = _most_frequent(symbols, counts, config.min_count, None)
    cut = len(chosen) < int(np.count_nonzero(counts[1:]))
    room = None if config.vocab_size is None else config.vocab_size - boundary
    if room is not None and len(chosen) + cut > room:
        cut = True
        chosen = chosen[: room - 1]
    _check_room(len(chosen), config)
    stored = forms.char_form(chosen, boundary=boundary, unknown=cut, normalize=config.normalize)
    return by_symbol(_made(stored), symbols)


def of_words(
    symbols: list[str], counts: np.ndarray, config: PrepConfig, pattern: str
) -> Vocabulary:
    """The vocabulary of the words with these counts; number 0 is the boundary.

    `pattern`, a name of words.PATTERNS, says what has split the text.
    """
    found = symbols
    if pattern == "spaces":
        symbols, counts = _merged(symbols, counts)
    boundary = config.records != "none"
    size = config.vocab_size
    if config.words == "text":
        size = size or WORDS_UNLESS_TOLD
    else:
        # Whoever prepared the text wrote <unk> for what is unknown: it is not a word beside it, and
        # neither is what the file would read as the boundary.
        names = {forms.UNKNOWN, forms.BOUNDARY}
        counts = np.where([symbol.strip() in names for symbol in symbols], 0, counts)
    room = None if size is None else size - boundary - 1
    chosen = _most_frequent(symbols, counts, config.min_count, room)
    _check_room(len(chosen), config)
    stored = forms.word_form(chosen, boundary=boundary, normalize=config.normalize, words=pattern)
    return by_symbol(_made(stored), found)


def _merged(symbols: list[str], counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The tokens between spaces, each once, and how often they appear; number 0 stays."""
    numbers = {"": 0}
    table = [numbers.setdefault(token(s, "spaces"), len(numbers)) for s in symbols[1:]]
    merged = np.zeros(len(numbers), dtype=np.int64)
    np.add.at(merged, [0, *table], counts)
    return list(numbers), merged


def by_symbol(tokenizer: Tokenizer, symbols: list[str]) -> Vocabulary:
    """The ids that a tokenizer of characters or words has for the numbered symbols."""
    specials = (tokenizer.boundary, tokenizer.unknown)
    ids = {piece: id for id, piece in enumerate(tokenizer.pieces) if id not in specials}
    other = -1 if tokenizer.unknown is None else tokenizer.unknown
    names = (token(symbol, tokenizer.pattern) for symbol in symbols)
    table = [ids.get(name.encode("utf-8"), other) for name in names]
    table[0] = -1 if tokenizer.boundary is None else tokenizer.boundary
    return Vocabulary(tokenizer, np.array(table))


def of_pairs(text: StoredText, config: PrepConfig, say: Callable[[str], None]) -> Tokenizer:
    """The tokenizer of byte pairs learned from a text, or from parts all over a long one."""
    every = max(1, -(-text.size_bytes // LEARNED_AT_MOST))
    size = config.vocab_size or PAIRS_UNLESS_TOLD
    part = f"one part in {every:,}" if every > 1 else "all"
    say(f"bpe: learning {size:,} tokens from {part} of {size_words(text.size_bytes)} of text")
    stored = forms.pair_form(
        ("\n".join(pieces) for pieces in text.chunks(every)),
        size=size,
        min_count=config.min_count,
        boundary=config.records != "none",
        normalize=config.normalize,
    )
    return _made(stored)


def _most_frequent(
    symbols: list[str], counts: np.ndarray, least: int, room: int | None
) -> list[str]:
    """The symbols seen at least `least` times, at most `room` of them, most frequent first."""
    found = np.flatnonzero(counts >= least)
    found = found[found > 0]
    if room is not None and len(found) > room:
        # Sorting all the words of a long text takes longer than cutting off the rare ones first.
        least = np.partition(counts[found], -room)[-room] if room > 0 else 0
        found = found[counts[found] >= least]
    ordered = sorted(found.tolist(), key=lambda number: (-counts[number], symbols[number]))
    return [symbols[number] for number in ordered[: None if room is None else max(0, room)]]


def _check_room(chosen: int, config: PrepConfig) -> None:
    if chosen == 0:
        raise ConfigError(
            f"--vocab-size {config.vocab_size} and --min-count {config.min_count} leave no symbol"
            " in the vocabulary."
            if config.vocab_size is not None
            else f"--min-count {config.min_count} leaves no symbol in the vocabulary."
        )


def _made(stored: str) -> Tokenizer:
    check_room(stored)
    return Tokenizer.from_json(stored)
