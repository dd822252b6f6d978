"""The stored forms that charlm writes: one `tokenizers` JSON for each level.

The boundary and the unknown token are part of the model's vocabulary and not added tokens, so
that the literal text `<boundary>` never turns into the boundary.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from charlm.errors import ConfigError
from charlm.tokenizer.words import PAIR_PATTERN, PATTERNS

BOUNDARY = "<boundary>"
UNKNOWN = "<unk>"

NORMALIZERS = {"none": None, "nfc": {"type": "NFC"}, "nfkc": {"type": "NFKC"}}
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


def split_by(pattern: str) -> dict[str, Any]:
    """The pre-tokenizer that makes every match of `pattern` a token."""
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


CHAR_SPLIT = split_by(r"[\s\S]")
SPACED_SPLIT = {**split_by(r"\n|[^\s]+"), "behavior": "Removed", "invert": True}
WORD_SPLITS = {
    "text": split_by(PATTERNS["text"]),
    "spaces": SPACED_SPLIT,
    "joined": split_by(PATTERNS["joined"]),
}
PAIR_SPLITS = {
    name: {"type": "Sequence", "pretokenizers": [split_by(PATTERNS[name]), BYTE_LEVEL]}
    for name in ("pairs", "long pairs")
}


FUSED = {"type": "Fuse"}
# Each word after one space, as PTB and WikiText have them.
SPACED = {"type": "Replace", "pattern": {"Regex": r"\A"}, "content": " "}
WORD_DECODERS = {"spaces": {"type": "Sequence", "decoders": [SPACED, FUSED]}}


def _byte_alphabet() -> str:
    """The character that stands for each byte in a byte-level BPE vocabulary.

    Printable Latin-1 stands for itself, the rest takes the code points from 256 on.
    Source: openai/gpt-2, encoder.py, bytes_to_unicode.
    """
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return "".join(chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256))


BYTE_ALPHABET = _byte_alphabet()


def char_form(symbols: Iterable[str], *, boundary: bool, unknown: bool, normalize: str) -> str:
    """The form of a character vocabulary: specials first, then the symbols by code point."""
    specials = [BOUNDARY] * boundary + [UNKNOWN] * unknown
    return _word_level([*specials, *sorted(symbols)], CHAR_SPLIT, normalize)


def word_form(
    symbols: Sequence[str], *, boundary: bool, normalize: str, words: str = "text"
) -> str:
    """The form of a word vocabulary: specials first, then the words in the order given.

    `words` is a name of words.PATTERNS, and `symbols` are called as `words.token` has it.
    """
    if words == "spaces":
        symbols = [symbol.removeprefix(" ") for symbol in symbols]
    tokens = [*[BOUNDARY] * boundary, UNKNOWN, *symbols]
    return _word_level(tokens, WORD_SPLITS[words], normalize, WORD_DECODERS.get(words, FUSED))


def byte_form(*, boundary: bool) -> str:
    """The form in which an id is a byte's value; the boundary is 256."""
    return _pairs([*BYTE_ALPHABET, *[BOUNDARY] * boundary], [], BYTE_LEVEL, "none")


def pair_form(
    texts: Iterable[str], *, size: int, min_count: int, boundary: bool, normalize: str
) -> str:
    """The form of byte-level BPE with at most `size` tokens, learned from `texts`.

    The 256 bytes come first, then what is merged in the order in which it was learned, then the
    boundary. Raises ConfigError where `size` has no room for the bytes.
    """
    if size < 256 + boundary:
        raise ConfigError(
            f"vocab_size is {size}; bpe starts from the 256 bytes and needs"
            f" at least {256 + boundary}."
        )
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PAIR_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size - boundary,
        min_frequency=min_count,
        show_progress=False,
        initial_alphabet=list(BYTE_ALPHABET),
    )
    learner.train_from_iterator(texts, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    merged = dict.fromkeys("".join(pair) for pair in merges)
    tokens = [*BYTE_ALPHABET, *merged, *[BOUNDARY] * boundary]
    return _pairs(tokens, merges, PAIR_SPLITS["pairs"], normalize)


def naming_unknown(stored: str, token: str) -> str:
    """The stored form of characters in which `token` stands for what is unknown."""
    form = json.loads(stored)
    if form["model"]["unk_token"] == token:
        return stored
    form["model"]["unk_token"] = token
    return _json(form)


def grown(stored: str, symbols: Iterable[str]) -> str:
    """The stored form with `symbols`, which it lacks, after all its own."""
    form = json.loads(stored)
    if form["pre_tokenizer"] == SPACED_SPLIT:
        symbols = [symbol.removeprefix(" ") for symbol in symbols]
    vocabulary = form["model"]["vocab"]
    vocabulary |= {symbol: id for id, symbol in enumerate(symbols, len(vocabulary))}
    return _json(form)


def _word_level(
    tokens: list[str], split: dict[str, Any], normalize: str, decoder: dict[str, Any] = FUSED
) -> str:
    vocabulary = {token: id for id, token in enumerate(tokens)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN}
    return _form(model, split, decoder, normalize)


def _pairs(tokens: list[str], merges: list[Any], split: dict[str, Any], normalize: str) -> str:
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: id for id, token in enumerate(tokens)},
        "merges": merges,
    }
    return _form(model, split, BYTE_LEVEL, normalize)


def _form(
    model: dict[str, Any], split: dict[str, Any], decoder: dict[str, Any], normalize: str
) -> str:
    form = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": NORMALIZERS[normalize],
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }
    return _json(form)


def _json(form: dict[str, Any]) -> str:
    return json.dumps(form, ensure_ascii=False, indent=1) + "\n"
