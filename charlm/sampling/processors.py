"""Processors: `(logits (B, V), histories) -> logits (B, V)`, each one way to bend a distribution.

They are applied in the order match, ban, repetition penalty, temperature, top-k, top-p, min-p; the
match has a file of its own. A token that is left out has the logit -inf. Laws: every row keeps a
token; what becomes of a row does not depend on the rows beside it; at its neutral value a processor
gives back the same array.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlm.config import SamplingConfig
from charlm.errors import ConfigError
from charlm.sampling.spelling import Drawable
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.normalizing import normalized
from charlm.tokenizer.symbols import code_point, readable


@dataclass(slots=True)
class History:
    """What one row has read and drawn: the prompt's ids, and the ids drawn after them.

    `kept` is for processors, each under itself as the key: what it would otherwise compute again
    from the beginning. What is kept is never changed in place, so a copied dict is a branch.
    """

    prompt: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    kept: dict[Any, Any] = field(default_factory=dict)


Processor = Callable[[np.ndarray, Sequence[History]], np.ndarray]


def pipeline(
    config: SamplingConfig, *, match: Processor | None = None, banned: Sequence[int] = ()
) -> list[Processor]:
    """The processors that `config` asks for, in their one order; neutral ones are left out.

    `banned` are the ids of `banned_ids`, which a `match` must have been given too, so that what it
    leaves is never all banned.
    """
    found: list[Processor] = []
    if match is not None:
        found.append(match)
    if banned:
        found.append(ban(banned))
    if config.repetition_penalty != 1:
        found.append(repetition(config.repetition_penalty, config.repetition_window))
    if config.temperature not in (0, 1):
        found.append(temperature(config.temperature))
    if config.top_k is not None:
        found.append(top_k(config.top_k))
    if config.top_p < 1:
        found.append(top_p(config.top_p))
    if config.min_p > 0:
        found.append(min_p(config.min_p))
    return found


def ban(ids: Sequence[int]) -> Processor:
    """Leaves these ids out, which must not be all there are."""
    left_out = list(ids)

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if not left_out:
            return logits
        bent = logits.copy()
        bent[..., left_out] = -np.inf
        return bent

    return process


def repetition(penalty: float, window: int) -> Processor:
    """Makes the ids less likely that are among the row's last `window`, the prompt's included.

    Their logits are divided by `penalty` where positive, and multiplied where negative.
    Source: Keskar et al. 2019 (arXiv:1909.05858), sec. 4.1, which divides only.
    """

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if penalty == 1:
            return logits
        bent = logits.copy()
        for row, history in zip(bent, histories, strict=True):
            recent = history.ids[-window:]
            before = window - len(recent)
            ids = list({*recent, *(history.prompt[-before:] if before else ())})
            row[ids] = np.where(row[ids] > 0, row[ids] / penalty, row[ids] * penalty)
        return bent

    return process


def temperature(value: float) -> Processor:
    """Divides the logits by `value`, which is above 0."""

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if value == 1:
            return logits
        # float64, and quietly: next to 0 all but the likeliest go to -inf, as they should.
        with np.errstate(over="ignore"):
            return _shifted(logits.astype(np.float64)) / value

    return process


def top_k(count: int) -> Processor:
    """Keeps the `count` most likely tokens, and those as likely as the last of them."""

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if count >= logits.shape[-1]:
            return logits
        least = np.partition(logits, -count, axis=-1)[..., -count, None]
        return np.where(logits >= least, logits, -np.inf)

    return process


def top_p(mass: float) -> Processor:
    """Keeps the fewest most likely tokens that together have probability `mass` or more.

    Source: Holtzman et al. 2020 (arXiv:1904.09751), sec. 3.1.
    """

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if mass == 1:
            return logits
        order = np.argsort(-logits, axis=-1, kind="stable")
        sorted_logits = np.take_along_axis(logits, order, axis=-1)
        p = np.exp(_shifted(sorted_logits))
        p /= p.sum(axis=-1, keepdims=True)
        before = np.cumsum(p, axis=-1) - p  # the probability of all that are likelier
        kept = np.where(before < mass, sorted_logits, -np.inf)
        kept[..., 0] = sorted_logits[..., 0]
        bent = np.empty_like(logits)
        np.put_along_axis(bent, order, kept, axis=-1)
        return bent

    return process


def min_p(share: float) -> Processor:
    """Keeps the tokens at least `share` times as likely as the likeliest.

    Source: Nguyen et al. 2024 (arXiv:2407.01082), sec. 3.
    """

    def process(logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        if share == 0:
            return logits
        return np.where(_shifted(logits) >= np.log(share), logits, -np.inf)

    return process


def banned_ids(tokenizer: Tokenizer, ban: Sequence[str], allow: Sequence[str]) -> list[int]:
    """The ids, in order, that must not be drawn: `<unk>`, what `ban` names, all `allow` doesn't.

    Each text stands for its symbols. Of characters these are its characters; of words its words,
    with and without the space before them. Of bytes and byte pairs they are its characters again:
    a token that contains one or ends inside one is banned, a token made of nothing else is allowed.
    Without `allow` all are allowed, and the boundary always is. `<unk>` and `<boundary>`, as `next`
    names them, are these two, where the tokenizer has them, and not the characters of their names.

    Raises ConfigError where an allowed symbol is not in the vocabulary or never drawn, the boundary
    is to be banned, a text is not Unicode, or nothing is left to draw.
    """
    ban, allow = _without_names(tokenizer, ban, allow)
    banned = {id for id in (tokenizer.unknown,) if id is not None}
    choose = _of_symbols if tokenizer.level in ("char", "word") else _of_bytes
    if allow:
        allowed = choose(tokenizer, allow, allowing=True)
        banned.update(id for id in range(tokenizer.vocabulary) if id not in allowed)
    if ban:
        banned |= choose(tokenizer, ban, allowing=False)
    banned.discard(tokenizer.boundary)
    if len(banned) + (tokenizer.boundary is not None) >= tokenizer.vocabulary:
        raise ConfigError("ban and allow leave nothing to draw; ban less, or allow more.")
    return sorted(banned)


def never_drawn(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """The names of the characters or words in `texts` that the model does not know."""
    texts, _ = _without_names(tokenizer, texts, ())
    if tokenizer.level not in ("char", "word"):
        drawable = Drawable(tokenizer)
        symbols = [symbol for text in texts for symbol in _normal(tokenizer, text)]
        return [code_point(symbol) for symbol in symbols if symbol not in drawable]
    return [name for name, ids in _symbols(tokenizer, texts) if not ids]


def _without_names(
    tokenizer: Tokenizer, ban: Sequence[str], allow: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Both lists without the names of the unknown token and the boundary.

    Raises ConfigError where the first is to be drawn, or the second is not.
    """
    unknown, boundary = (
        None if id is None else tokenizer.symbol(id)
        for id in (tokenizer.unknown, tokenizer.boundary)
    )
    if boundary is not None and boundary in ban:
        raise ConfigError(f"{boundary} ends a record, and can't be banned.")
    if unknown is not None and unknown in allow:
        raise ConfigError(f"{unknown} stands for no text and is never drawn; allow other words.")
    names = (unknown, boundary)
    return [one for one in ban if one not in names], [one for one in allow if one not in names]


def _of_symbols(tokenizer: Tokenizer, texts: Sequence[str], *, allowing: bool) -> set[int]:
    """The ids whose piece is one of the texts' characters or words."""
    chosen = set()
    for name, ids in _symbols(tokenizer, texts):
        if allowing and not ids:
            raise ConfigError(
                f"allow names {name}, which is not in the model's vocabulary; leave it out."
            )
        chosen |= ids
    return chosen


def _symbols(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[str, set[int]]]:
    """The name of each character or word of the texts, and the ids that are it."""
    ids = {piece: id for id, piece in enumerate(tokenizer.pieces) if id != tokenizer.boundary}
    for text in texts:
        normal = _normal(tokenizer, text)
        if tokenizer.level == "char":
            forms = [(symbol,) for symbol in normal]
        else:
            words = [tokenizer.token(word) for word in tokenizer.splitter.split(normal)]
            bare = [word.removeprefix(" ") or word for word in words]
            forms = [(word, f" {word}") for word in bare]
        for symbols in forms:
            pieces = [symbol.encode("utf-8", "surrogateescape") for symbol in symbols]
            name = code_point(symbols[0]) if len(symbols[0]) == 1 else readable(pieces[0])
            yield name, {ids[piece] for piece in pieces if piece in ids}


def _of_bytes(tokenizer: Tokenizer, texts: Sequence[str], *, allowing: bool) -> set[int]:
    """The ids whose bytes touch the texts' characters, or when `allowing` are made of them."""
    symbols = {
        symbol.encode("utf-8", "surrogateescape")
        for text in texts
        for symbol in _normal(tokenizer, text)
    }
    if not symbols:
        return set()
    whole = _any_of(symbols)
    begun = _any_of({symbol[:k] for symbol in symbols for k in range(1, len(symbol))})
    if allowing:
        ends = _any_of({symbol[k:] for symbol in symbols for k in range(1, len(symbol))})
        inside = _any_of({s[i:k] for s in symbols for k in range(len(s)) for i in range(1, k)})
        pattern = re.compile(rb"(?s:%b?%b*%b?|%b)\Z" % (ends, whole, begun, inside))
        found = pattern.match
    else:
        # A character that lies in several tokens begins at the end of one: without those it
        # cannot be put together.
        found = re.compile(rb"(?s:%b|%b\Z)" % (whole, begun)).search
    return {id for id, piece in enumerate(tokenizer.pieces) if piece and found(piece)}


def _normal(tokenizer: Tokenizer, text: str) -> str:
    try:
        # An argument that was not UTF-8 comes from the shell as surrogates, each of them a byte.
        text.encode("utf-8", "surrogateescape" if tokenizer.level == "byte" else "strict")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"ban and allow name the symbols of a text, and {text!r} is not UTF-8."
        ) from error
    return normalized(text, tokenizer.normalize)


def _any_of(parts: set[bytes]) -> bytes:
    return rb"(?:%b)" % (b"|".join(map(re.escape, sorted(parts))) or rb"(?!)")


def _shifted(logits: np.ndarray) -> np.ndarray:
    """The logits less the row's largest: the same distribution, safe to divide or exponentiate."""
    return logits - logits.max(axis=-1, keepdims=True)
