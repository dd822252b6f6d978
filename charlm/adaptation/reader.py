"""One text, or one record after another, read symbol by symbol with what adapts to them.

Unlike an engine's state a reader is no value: it changes with every symbol, as its weights do.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from charlm.adaptation.cache import Cache
from charlm.config import AdaptationConfig
from charlm.mixture import Mixer, inputs
from charlm.network import Network
from charlm.ngram import Ngram
from charlm.packages import missing_packages_named
from charlm.process import blas_threads
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Place
from charlm.score import nats_of

if TYPE_CHECKING:
    from charlm.adaptation.learner import Learner


class Reader:
    """What may follow all that was read so far: `logits` (1, V). Begins where nothing was read.

    Law: logits depend on what was read before alone; without learner and cache they are those of
    `engine_of`. One thread makes the products, as two may add one up in another order. Where the
    model has counts, `counts`, what the network has come to expect is mixed with them.
    """

    def __init__(
        self,
        engine: NumpyEngine,
        learner: "Learner | None" = None,
        cache: Cache | None = None,
        counts: tuple[Ngram, Mixer] | None = None,
    ) -> None:
        self.vocabulary = engine.vocabulary
        self._engine = engine
        self._learner = learner
        self._cache = cache
        self._counts = counts
        self._begin()

    @property
    def place(self) -> Place:
        """Where it is."""
        counts = () if self._counts is None else ((self._history,),)
        return Place(self.logits, (*self._state, *counts))

    def read(self, id: int) -> None:
        """Learns that `id` has followed, and goes on by it."""
        self._learn(id)
        self.given(id)

    def given(self, id: int) -> None:
        """Goes on by an id that was known beforehand: nothing is learned from it."""
        self._last, self._before = id, self._state
        with blas_threads(1):
            self._features, self._state = self._engine.features(np.array([id]), self._state)
            self.logits = self._engine.head(self._features)
            if self._cache is not None:
                self.logits = self._cache.mixed(self._features[0], self.logits)
            if self._counts is not None:
                ngram, mixer = self._counts
                self._history = ngram.advanced(self._history, np.array([id]))
                self.logits = mixer.mixed(inputs(self.logits, ngram.estimate(self._history)))

    def end(self, id: int | None = None) -> None:
        """Goes back to where nothing was read, with all that was learned, for the next record.

        `id` is what has ended this one, where there is such a thing; it is learned too.
        """
        if id is not None:
            self._learn(id)
        if self._learner is not None:
            self._learner.cut()
        self._begin()

    def _begin(self) -> None:
        self._state = self._engine.initial_state(1)
        if self._counts is not None:
            self._history = self._counts[0].initial_history(1)
        self.given(self._engine.start)

    def _learn(self, id: int) -> None:
        if self._cache is not None:
            self._cache.add(self._features[0], id)
        if self._learner is not None:
            self._learner.add(self._last, id, self._before)


def reader_of(
    network: Network,
    weights: dict[str, np.ndarray],
    config: AdaptationConfig,
    counts: tuple[Ngram, Mixer] | None = None,
) -> Reader:
    """A reader that adapts as `config` says; `counts` are a model's, if it has any.

    Imports torch if that needs gradients.
    """
    cache = learner = None
    if config.cache is not None:
        cache = Cache(config.cache, config.cache_weight, config.cache_flatness)
    if config.adapt:
        with missing_packages_named():  # here because torch takes long to import
            from charlm.adaptation.learner import Learner

        learner = Learner(network, weights, config)
    present = learner.weights if learner else weights
    with blas_threads(1):
        engine = NumpyEngine(network, present, fixed=learner is None)
    return Reader(engine, learner, cache, counts)


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
    nats = np.empty(len(ids))
    with blas_threads(1):
        for t, id in enumerate(ids.tolist()):
            nats[t] = nats_of(reader.logits, ids[t : t + 1])[0]
            advance(1)
            if id == boundary:
                reader.end(id)
            else:
                reader.read(id)
    return nats
