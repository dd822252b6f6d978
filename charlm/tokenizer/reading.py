"""A stored tokenizer, read and checked: charlm's own forms, and any byte-level BPE.

Nothing in the file is trusted: ids must be 0 to V-1 without holes, and what each stands for must
follow from the file.
"""

import re
from dataclasses import dataclass
from typing import Any

from charlm.errors import DataError
from charlm.tokenizer import forms
from charlm.untrusted import read_object

LONGEST_PATTERN, MOST_REPEATS = 2000, 2  # characters; in one alternative
_BYTES = {character: byte for byte, character in enumerate(forms.BYTE_ALPHABET)}


@dataclass(frozen=True)
class Form:
    """What a stored tokenizer says. `native` tells charlm's own forms from foreign ones.

    `pattern` says what a word is, or what byte pairs are merged in, by a name of words.PATTERNS.
    """

    level: str
    pieces: list[bytes]
    boundary: int | None
    unknown: int | None
    normalize: str
    native: bool
    pattern: str = "text"


def read(text: str) -> Form:
    """The form stored in `text`. Raises DataError for anything that cannot be used."""
    try:
        stored = read_object(text)
    except ValueError as error:
        raise DataError(f"the tokenizer is not JSON that charlm reads ({error}).") from error
    try:
        model = stored["model"]
        kind = model.get("type", "BPE" if "merges" in model else None)
        normalize = _normalize(stored.get("normalizer"))
        if kind == "WordLevel":
            return _word_level(stored, model, normalize)
        if kind == "BPE":
            return _pairs(stored, model, normalize)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"the tokenizer's JSON is not one of `tokenizers` ({error!r}).") from error
    raise DataError(
        f"the tokenizer's model is {kind}; charlm reads its own tokenizers and byte-level BPE."
    )


def _normalize(normalizer: Any) -> str:
    for name, form in forms.NORMALIZERS.items():
        if normalizer == form:
            return name
    raise DataError("the tokenizer changes the text beyond nfc or nfkc; charlm cannot use it.")


def _word_level(stored: dict[str, Any], model: dict[str, Any], normalize: str) -> Form:
    tokens = _tokens(model["vocab"])
    split = stored.get("pre_tokenizer")
    pattern = next((name for name, ours in forms.WORD_SPLITS.items() if split == ours), None)
    level = "char" if split == forms.CHAR_SPLIT else pattern and "word"
    # Of characters that are all known, an export names one of them for other programs.
    unknown = model.get("unk_token")
    named = unknown == forms.UNKNOWN or (
        level == "char" and forms.UNKNOWN not in tokens and unknown in tokens
    )
    if level is None or stored.get("added_tokens") or not named:
        raise DataError("the tokenizer is of whole words, but not one that charlm made.")
    specials = {forms.BOUNDARY, forms.UNKNOWN}
    symbols = [token for token in tokens if token not in specials]
    if level == "char" and any(len(symbol) != 1 for symbol in symbols):
        raise DataError("the tokenizer is of characters, but one of its symbols is not one.")
    if level == "word" and (forms.UNKNOWN not in tokens or "" in tokens):
        raise DataError("the tokenizer is of words, but has no <unk> or has an empty word.")
    if not symbols:
        raise DataError("the tokenizer's vocabulary is empty.")
    try:
        pieces = [b"" if token == forms.BOUNDARY else token.encode("utf-8") for token in tokens]
        if pattern == "spaces":
            pieces = [piece and b" " + piece for piece in pieces]
        elif pattern == "joined":
            pieces[tokens.index(forms.UNKNOWN)] = f" {forms.UNKNOWN}".encode()
    except UnicodeEncodeError as error:
        raise DataError("the tokenizer has a symbol that is not Unicode text.") from error
    return Form(
        level, pieces, *_specials(tokens), normalize, native=True, pattern=pattern or "text"
    )


def _pairs(stored: dict[str, Any], model: dict[str, Any], normalize: str) -> Form:
    vocabulary = dict(model["vocab"])
    added = {entry["content"]: entry["id"] for entry in stored.get("added_tokens") or []}
    tokens = _tokens(vocabulary | added)
    missing = [byte for character, byte in _BYTES.items() if character not in vocabulary]
    _check_byte_level(stored.get("pre_tokenizer"), model, missing)
    merges = model["merges"]
    made = {"".join(pair) if isinstance(pair, list) else pair.replace(" ", "") for pair in merges}
    apart = forms.BOUNDARY in vocabulary and forms.BOUNDARY not in made | set(added)
    boundary = tokens.index(forms.BOUNDARY) if apart else None
    pieces = []
    for id, token in enumerate(tokens):
        if id == boundary:
            pieces.append(b"")
        elif token in added:
            pieces.append(token.encode("utf-8"))
        elif all(character in _BYTES for character in token):
            pieces.append(bytes(_BYTES[character] for character in token))
        else:
            raise DataError(f"the tokenizer's token {token!r} is not made of bytes.")
    split = stored["pre_tokenizer"]
    if split == forms.BYTE_LEVEL and normalize == "none" and _is_bytes(pieces, boundary):
        return Form("byte", pieces, boundary, None, normalize, native=True)
    pattern = next((name for name, ours in forms.PAIR_SPLITS.items() if split == ours), None)
    native = pattern is not None and not added
    if any(not piece for id, piece in enumerate(pieces) if id != boundary):
        raise DataError("the tokenizer has a token that stands for nothing.")
    return Form("bpe", pieces, boundary, None, normalize, native, pattern=pattern or "text")


def _is_bytes(pieces: list[bytes], boundary: int | None) -> bool:
    values = [bytes([byte]) for byte in range(256)]
    return pieces[:256] == values and len(pieces) == 256 + (boundary is not None)


def _check_byte_level(split: Any, model: dict[str, Any], missing: list[int]) -> None:
    steps = split.get("pretokenizers", [split]) if isinstance(split, dict) else []
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    if not byte_level or missing:
        raise DataError(
            "the tokenizer is BPE, but not over bytes; charlm reads its own tokenizers and"
            " byte-level BPE."
        )
    if any(step.get("add_prefix_space") for step in byte_level):
        raise DataError("the tokenizer puts a space before a text (add_prefix_space).")
    for step in steps:
        pattern = step.get("pattern") or {}
        if step.get("type") == "Split" and not _harmless(pattern.get("Regex", "")):
            raise DataError(
                "the tokenizer splits a text by a pattern that may take for ever; charlm reads"
                " patterns without a repeated group or a back reference."
            )
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise DataError(f"the tokenizer has a {option}; charlm cannot use it.")


def _harmless(pattern: str) -> bool:
    """Whether a pattern is found in a time that does not explode with the text's length.

    Those in use (GPT-2, Llama 3, Qwen) repeat classes of characters and no groups.
    """
    repeats = max(len(re.findall(r"[*+]|\{\d*,|\{\d{3}", part)) for part in pattern.split("|"))
    risky = re.search(r"\)[*+{]|\\[1-9kg]", pattern)
    return len(pattern) <= LONGEST_PATTERN and repeats <= MOST_REPEATS and risky is None


def _tokens(vocabulary: dict[str, int]) -> list[str]:
    """The tokens by id. Raises DataError unless the ids are 0 to V-1, each once."""
    by_id = {id: token for token, id in vocabulary.items()}
    whole = len(by_id) == len(vocabulary) and all(type(id) is int for id in by_id)
    if not by_id or not whole or min(by_id) != 0 or max(by_id) != len(by_id) - 1:
        raise DataError("the tokenizer's ids are not 0, 1, 2, ... without holes.")
    return [by_id[id] for id in range(len(by_id))]


def _specials(tokens: list[str]) -> list[int | None]:
    return [
        tokens.index(special) if special in tokens else None
        for special in (forms.BOUNDARY, forms.UNKNOWN)
    ]
