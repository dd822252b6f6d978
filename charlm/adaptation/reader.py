"""One text, or one record after another, read symbol by symbol with what adapts to them.

Unlike an engine's state a reader is no value: it changes with every symbol, as its weights do.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from charlm.adaptation.cache import Cache
from charlm.adaptation.counts import Counts
from charlm.config import AdaptationConfig
from charlm.errors import ConfigError
from charlm.mixture import Mixer
from charlm.network import Network
from charlm.ngram import Ngram
from charlm.packages import missing_packages_named
from charlm.process import blas_threads
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Place
from charlm.score import nats_of

if TYPE_CHECKING:
    from charlm.adaptation.learner import Learner


WORDS = {"network": "network", "ngram": "counts"}  # for what of a model may adapt


# What is made of places with those features (1, D) and histories each.
Expect = Callable[[list[np.ndarray], list[np.ndarray | None]], np.ndarray]


class Reader:
    """What may follow all that was read so far: `logits` (1, V). Begins where nothing was read.

    Law: logits depend on what was read before alone; without learner and cache they are those of
    `engine_of`. One thread makes the products, as two may add one up in another order. Where the
    model has counts, `counts`, what the network has come to expect is mixed with them. Learner and
    counts learn after every `context` ids.
    """

    def __init__(
        self,
        engine: NumpyEngine,
        learner: "Learner | None" = None,
        cache: Cache | None = None,
        counts: Counts | None = None,
        context: int = 32,
    ) -> None:
        self.vocabulary = engine.vocabulary
        self._engine = engine
        self._learner = learner
        self._cache = cache
        self._counts = counts
        self._context = context
        self._learned = 0  # ids
        self._begin()

    @property
    def logits(self) -> np.ndarray:
        """What may follow all that was read: (1, V)."""
        if self._logits is None:
            with blas_threads(1):
                self._logits = self._expected([self._features], [self._history])
        return self._logits

    @property
    def place(self) -> Place:
        """Where it is."""
        counts = () if self._counts is None else ((self._history,),)
        return Place(self.logits, (*self._state, *counts))

    def read(self, id: int) -> None:
        """Learns that `id` has followed, and goes on by it."""
        self._read_some(np.array([id]), self._expected)

    def given(self, id: int) -> None:
        """Goes on by an id that was known beforehand: nothing is learned from it."""
        with blas_threads(1):
            self._step(id)

    def read_all(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Reads ids (T,), and gives the logits (n, V) before each of them, some at a time.

        Law: they are what reading the ids one by one gives, but for rounding.
        """
        for some in self._pieces(ids):
            yield self._read_some(some, self._expected)

    def nats_of_all(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """Reads ids (T,), and gives the nats (n,) of each, some at a time."""
        if self._counts is None or not self._counts.is_wide or self._cache is not None:
            for some in self._pieces(ids):
                yield nats_of(self._read_some(some, self._expected), some)
            return
        for some in self._pieces(ids):
            yield self._read_some(some, partial(self._nats, some))

    def _pieces(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """The ids in pieces: up to where something is learned all depends on the state alone."""
        at = 0
        while at < len(ids):
            room = 1 if self._cache is not None else self._context - self._learned % self._context
            yield ids[at : at + room]
            at += room

    def mix_by(self, mixer: Mixer) -> None:
        """Mixes with another mixer from here on."""
        self._counts.mix_by(mixer)
        self._logits = None

    def end(self, id: int | None = None) -> None:
        """Goes back to where nothing was read, with all that was learned, for the next record.

        `id` is what has ended this one, where there is such a thing; it is learned too.
        """
        if id is not None:
            self._take(np.array([id]), self._expected)
        if self._learner is not None:
            self._learner.cut()
        self._begin()

    def _begin(self) -> None:
        self._state = self._engine.initial_state(1)
        self._history = None if self._counts is None else self._counts.initial_history(1)
        self.given(self._engine.start)

    def _read_some(self, ids: np.ndarray, expected: Expect) -> np.ndarray:
        """What is `expected` before each of ids (n,), from which it then learns and goes on."""
        with blas_threads(1):
            found = self._take(ids, expected)
            self._step(int(ids[-1]))
        return found

    def _take(self, ids: np.ndarray, expected: Expect) -> np.ndarray:
        """The same, but it goes on by all but the last of them."""
        features, histories = [self._features], [self._history]
        for id in ids[:-1].tolist():
            if self._learner is not None:
                self._learner.add(self._last, id, self._before)
            self._step(id)
            features.append(self._features)
            histories.append(self._history)
        if len(ids) == 1 and expected == self._expected:
            found = self.logits
        else:
            found = expected(features, histories)
        if self._learner is not None:
            self._learner.add(self._last, int(ids[-1]), self._before)
        if self._cache is not None:
            self._cache.add(self._features[0], int(ids[-1]))
        if self._counts is not None:
            self._counts.learn(ids)
        self._learned += len(ids)
        return found

    def _step(self, id: int) -> None:
        self._last, self._before = id, self._state
        self._features, self._state = self._engine.features(np.array([id]), self._state)
        self._logits = None
        if self._counts is not None:
            self._history = self._counts.advanced(self._history, np.array([id]))

    def _expected(
        self, features: list[np.ndarray], histories: list[np.ndarray | None]
    ) -> np.ndarray:
        """The logits (n, V) at places with those features (1, D) and histories each."""
        logits = self._engine.head(np.concatenate(features))
        if self._cache is not None:
            logits = self._cache.mixed(self._features[0], logits)
        if self._counts is not None:
            logits = self._counts.mixed(logits, np.concatenate(histories))
        return logits

    def _nats(
        self, ids: np.ndarray, features: list[np.ndarray], histories: list[np.ndarray]
    ) -> np.ndarray:
        """The nats (n,) of ids (n,) at those places, by network and counts."""
        logits = self._engine.head(np.concatenate(features))
        return self._counts.nats(logits, np.concatenate(histories), ids)


def reader_of(
    network: Network,
    weights: dict[str, np.ndarray],
    config: AdaptationConfig,
    counts: tuple[Ngram, Mixer] | None = None,
) -> Reader:
    """A reader that adapts as `config` says; `counts` are a model's, if it has any.

    Imports torch if that needs gradients. Raises ConfigError where there is nothing to adapt.
    """
    there = {"network": bool(weights), "ngram": counts is not None}
    if not there.get(config.adapt, True):
        raise ConfigError(
            f"the model holds no {WORDS[config.adapt]} that could adapt; give --adapt alone."
        )
    mixing = None
    if counts is not None:
        mixing = Counts(*counts, config.adapt_context if config.adapts_ngram else None)
    cache = learner = None
    if config.cache is not None:
        cache = Cache(config.cache, config.cache_weight, config.cache_flatness)
    if config.adapts_network and weights:
        with missing_packages_named():  # here because torch takes long to import
            from charlm.adaptation.learner import Learner

        learner = Learner(network, weights, config)
    present = learner.weights if learner else weights
    with blas_threads(1):
        engine = NumpyEngine(network, present, fixed=learner is None)
    return Reader(engine, learner, cache, mixing, config.adapt_context)


def text_nats(
    reader: Reader,
    ids: np.ndarray,
    boundary: int | None = None,
    advance: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """The negative log-likelihood (T,), float64, of each of ids (T,), one after another.

    `boundary` ends a record, and is None for one running text. `advance` gets how many more tokens
    were read.
    """
    ends = [] if boundary is None else np.flatnonzero(ids == boundary).tolist()
    nats, at = np.empty(len(ids)), 0
    for end in [*ends, len(ids)]:
        for some in reader.nats_of_all(ids[at:end]):
            nats[at : at + len(some)] = some
            at += len(some)
            advance(len(some))
        if at < len(ids):
            nats[at] = nats_of(reader.logits, ids[at : at + 1])[0]
            reader.end(int(ids[at]))
            at += 1
            advance(1)
    return nats
