"""Counts beside a trained network: the text is counted, and a mixer fitted to the validation text.

Neither network nor counts have seen that text. The figure of the mixture is cross-fitted: each half
of the text is predicted by a mixer fitted to the other half.

T tokens, V vocabulary, J distributions.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlm.config import TrainingConfig
from charlm.corpus import Corpus
from charlm.mixture import (
    BATCH,
    PRODUCTS,
    Inputs,
    Mixer,
    fitted,
    inputs,
    joined,
    target_inputs,
    updates_of,
)
from charlm.model_file import Model
from charlm.network import Uniform
from charlm.ngram import Ngram, count, histories
from charlm.ops import log_softmax
from charlm.sampling.text import opening

Proceed = Callable[[], None]  # called in each batch; may raise

MOST_LOGS = 1 << 26  # log-probabilities of the network that are kept: of so much text is a figure
FITTED_LOGS = 1 << 25  # of all distributions, that a mixer is fitted to
FITTED = 1 << 16  # places that it is fitted to, at most
FOLD = 0.1  # of the training text
AT_ONCE = 1 << 18  # log-probabilities that are made at once


@dataclass(frozen=True)
class Mixed:
    """A model with counts and mixer, and the nats per character of it and of its parts.

    They are of so many `tokens` of the validation split; NaN where it has none.
    """

    model: Model
    tokens: int = 0
    nats_per_char: float = math.nan
    network_nats_per_char: float = math.nan
    ngram_nats_per_char: float = math.nan

    def history(self) -> dict[str, Any]:
        """What the model's history tells of it; None where there was no validation text."""
        known = math.isfinite(self.nats_per_char)
        trained = known and self.model.network.parameters() > 0
        found = {
            "network_val_nats_per_char": self.network_nats_per_char if trained else None,
            "ngram_val_nats_per_char": self.ngram_nats_per_char if known else None,
            "mixed_tokens": self.tokens,
        }
        if known:
            found["val_nats_per_char"] = self.nats_per_char
            found["val_bits_per_char"] = self.nats_per_char / math.log(2)
        return found

    def report(self) -> dict[str, Any]:
        """What the run's log tells of it."""
        return {
            "mixed_val_nats_per_char": self.nats_per_char,
            "network_val_nats_per_char": self.history()["network_val_nats_per_char"],
            "ngram_val_nats_per_char": self.ngram_nats_per_char,
            "mixed_tokens": self.tokens,
        }


def counts_of(corpus: Corpus, config: TrainingConfig, share: float = 1.0) -> Ngram:
    """The n-gram model of the training split's first `share`, of the order that `config` wants."""
    ids = corpus.ids("train")
    return count(
        ids[: round(len(ids) * share)],
        corpus.tokenizer.vocabulary,
        order=config.ngram,
        boundary=None if corpus.records == "none" else corpus.tokenizer.boundary,
        opening=tuple(opening(corpus.tokenizer, corpus.records)),
    )


def mixed(
    model: Model,
    ngram: Ngram,
    corpus: Corpus,
    *,
    share: float = 1.0,
    proceed: Proceed = lambda: None,
) -> Mixed:
    """The model with `ngram`, mixed as does best on the first `share` of the validation split.

    `proceed`, called in each batch, may raise.
    """
    V = model.network.vocabulary
    prior = Mixer.prior(ngram.order, V)
    ids = corpus.ids("val")
    ids = ids[: min(round(len(ids) * share), MOST_LOGS // kept_of(V))].astype(np.int64)
    if len(ids) < 2:
        return Mixed(replace(model, ngram=ngram, mixer=prior))
    text = _Text(model, ngram, corpus, ids, proceed)
    halves = np.array_split(np.arange(len(ids)), 2)
    mixers = [text.fitted(prior, other) for other in halves[::-1]]
    nats = sum(text.nats(*one, proceed) for one in zip(mixers, halves, strict=True))
    mixer = Mixer(text.fitted(prior, np.arange(len(ids))).arrays, mixers)
    size = corpus.size("val")
    per_char = nats / (len(ids) * size.chars / size.tokens)
    return Mixed(replace(model, ngram=ngram, mixer=mixer), len(ids), *per_char.tolist())


def folded(model: Model, corpus: Corpus, config: TrainingConfig) -> Mixer:
    """The mixer of a model of counts alone, where there is no validation text.

    It is fitted to the end of the training text, by the counts of what comes before.
    """
    ngram = counts_of(corpus, config, 1 - FOLD)
    ids = corpus.ids("train")
    ids = ids[round(len(ids) * (1 - FOLD)) :][:FITTED].astype(np.int64)
    text = _Text(model, ngram, corpus, ids, lambda: None)
    return text.fitted(Mixer.prior(ngram.order, ngram.vocabulary), np.arange(len(ids)))


def seconds_needed(ngram: Ngram, tokens: int) -> float:
    """About how long `mixed` takes with so many validation tokens, beside reading them."""
    V, history = ngram.vocabulary, np.zeros((BATCH, ngram.order - 1), np.int32)
    targets = np.zeros(BATCH, np.int64)
    known = np.zeros((BATCH, kept_of(V)), np.float32)
    began = time.monotonic()
    given = _given(ngram, known, history, targets)
    batch_s = time.monotonic() - began
    began = time.monotonic()
    Mixer.prior(ngram.order, V).gradient(given, targets)
    update_s = time.monotonic() - began
    most = min(FITTED, FITTED_LOGS // (given.logs.size // BATCH))
    fits = [min(tokens // 2, most)] * 2 + [min(tokens, most)]  # of the halves, and of all
    updates = sum(updates_of(places) for places in fits)
    return (tokens + sum(fits)) * batch_s / BATCH + updates * update_s


def kept_of(vocabulary: int) -> int:
    """How many numbers the mixing needs of what the network expects at a place."""
    return vocabulary if vocabulary <= PRODUCTS else 2


class _Text:
    """The validation text: ids (T,), with what the network and the counts expect before each.

    Of a large vocabulary that is known of the ids alone.
    """

    def __init__(
        self, model: Model, ngram: Ngram, corpus: Corpus, ids: np.ndarray, proceed: Proceed
    ) -> None:
        boundary = None if corpus.records == "none" else corpus.tokenizer.boundary
        begun = opening(corpus.tokenizer, corpus.records)
        self.ids = ids
        self._ngram = ngram
        self._whole = ngram.vocabulary <= PRODUCTS
        self._histories = histories(ids, ngram.vocabulary, ngram.order, boundary, begun)
        if isinstance(model.network, Uniform):
            even = math.log(ngram.vocabulary)
            columns = np.full(ngram.vocabulary, -even) if self._whole else np.array([-even, even])
            self._network = np.broadcast_to(columns[:, None], (len(columns), len(ids)))
        else:
            from charlm.training.expectation import expected  # torch takes long to load

            self._network = expected(model, ids, boundary, begun, proceed, whole=self._whole)

    @property
    def logs_per_place(self) -> int:
        """How many log-probabilities are mixed at a place."""
        return (self._ngram.order + 1) * (self._ngram.vocabulary if self._whole else 1)

    def inputs(self, places: np.ndarray) -> Inputs:
        """What is mixed at some places."""
        return joined(
            [
                _given(
                    self._ngram,
                    self._network[:, some].T.astype(np.float32),
                    self._histories[some],
                    self.ids[some],
                )
                for some in self._pieces(places)
            ]
        )

    def _pieces(self, places: np.ndarray) -> list[np.ndarray]:
        """The places in pieces, whose arrays stay in the processor's cache."""
        return np.array_split(places, -(-len(places) * self.logs_per_place // AT_ONCE))

    def fitted(self, prior: Mixer, places: np.ndarray) -> Mixer:
        """The mixer that is fitted to some places, or to as many of them as there is room for."""
        most = min(FITTED, FITTED_LOGS // self.logs_per_place)
        if len(places) > most:
            places = places[np.linspace(0, len(places) - 1, most).astype(np.int64)]
        return fitted(prior, self.inputs(places), self.ids[places])

    def nats(self, mixer: Mixer, places: np.ndarray, proceed: Proceed) -> np.ndarray:
        """The summed nats (3,) at some places: of the mixture, the network and the counts."""
        nats = np.zeros(3)
        for some in self._pieces(places):
            proceed()
            given, ids = self.inputs(some), self.ids[some]
            if self._whole:
                logs = log_softmax(np, mixer.mixed(given))
            else:
                logs, ids = mixer.mixed(given), 0
            found = np.concatenate([logs[:, None], given.logs[:, [0, -1]]], axis=1)
            nats -= found[np.arange(len(some)), :, ids].sum(axis=0, dtype=np.float64)
        return nats


def _given(ngram: Ngram, known: np.ndarray, history: np.ndarray, ids: np.ndarray) -> Inputs:
    """What is mixed after histories (N, D), where ids (N,) came.

    `known` (N, V) are the network's log-probabilities, or of a large vocabulary (N, 2) those of
    ids, and entropies.
    """
    if ngram.vocabulary <= PRODUCTS:
        return inputs(known, ngram.estimate(history))
    return target_inputs(*known.T, ngram.estimate_of(history, ids))
