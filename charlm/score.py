"""Exact likelihoods as sums, divided once.

A `Score` adds up; bits per character, bits per byte and perplexity are properties of the sums.
Perplexity and bits per character are those of what the model reads, where `<unk>` is a token like
any other. Bits per byte are those of the very bytes: what the tokens do not tell of them is named
too, so that figures of any two models can be compared.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# To name one code point of all there are: what a symbol costs that no token stands for.
NAMING_NATS = math.log(0x110000)


@dataclass(frozen=True)
class Score:
    """How well a text was predicted: sums that can be added to those of other texts.

    `nats` is the summed negative log-likelihood of `tokens`, which stand for `chars` characters,
    as the model reads them, and `bytes` bytes of the original. `unknown` counts the tokens outside
    the vocabulary, and `unknown_nats` is their part of `nats`: that of `<unk>`, or NAMING_NATS a
    character where the model has none. `unread` counts the characters that the tokens do not tell:
    what `<unk>` stands for, and what is dropped or changed before a text is read.
    """

    nats: float = 0.0
    tokens: int = 0
    chars: int = 0
    bytes: int = 0
    unknown: int = 0
    unknown_nats: float = 0.0
    unread: int = 0

    def __add__(self, other: "Score") -> "Score":
        if not isinstance(other, Score):
            return NotImplemented
        return Score(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.chars + other.chars,
            self.bytes + other.bytes,
            self.unknown + other.unknown,
            self.unknown_nats + other.unknown_nats,
            self.unread + other.unread,
        )

    def __radd__(self, other: int) -> "Score":
        """What `sum` needs, which begins with 0."""
        return self if other == 0 else NotImplemented

    @property
    def bits(self) -> float:
        """Bits in all."""
        return self.nats / math.log(2)

    @property
    def nats_per_char(self) -> float:
        """Nats per character; NaN for an empty text."""
        return _ratio(self.nats, self.chars)

    @property
    def bits_per_char(self) -> float:
        """Bits per character; NaN for an empty text."""
        return _ratio(self.nats, self.chars) / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte, `unread` characters named; NaN for an empty text."""
        return _ratio(self.nats + NAMING_NATS * self.unread, self.bytes) / math.log(2)

    @property
    def perplexity(self) -> float:
        """The exponential of the nats per token; NaN for an empty text, inf beyond float64."""
        return _exponential(_ratio(self.nats, self.tokens))

    @property
    def perplexity_excluding_unknown(self) -> float:
        """The perplexity over the tokens that are known, each after all that was read before it."""
        nats, tokens = self.nats - self.unknown_nats, self.tokens - self.unknown
        return _exponential(_ratio(nats, tokens))


def token_nats(engine: Any, ids: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
    """The negative log-likelihood (T,) of each of ids (T,), and the state before the last of them.

    Reads one stream from `state`, which is a pair of the id read last and the state before it, or
    None for the beginning. Law: cutting ids into pieces and handing the state on changes nothing.
    """
    last, state = state or (engine.start, engine.initial_state(1))
    nats = np.empty(len(ids))
    for t, target in enumerate(ids):
        logits, state = engine.step(np.array([last]), state)
        nats[t] = -log_softmax(logits)[0, target]
        last = int(target)
    return nats, (last, state)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The log-probabilities (B, V) in float64 of logits (B, V)."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def nats_of(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The negative log-likelihood (B,), in float64, of ids (B,) by logits (B, V).

    The exponentials are taken in the precision of the logits, where they are several times as fast,
    and summed in float64.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    totals = np.exp(shifted).sum(axis=-1, dtype=np.float64)
    return np.log(totals) - np.take_along_axis(shifted, ids[:, None], axis=-1)[:, 0]


def _exponential(nats: float) -> float:
    return math.exp(nats) if not nats > 709 else math.inf


def _ratio(total: float, count: int) -> float:
    return total / count if count else math.nan
