"""A model's counts as a text is read with them: mixed with the network, and learning if they may.

After every so many ids the n-grams that they end are counted, and the mixer goes a step down the
gradient of what they cost.

N rows, V vocabulary, D tokens of the longest context.
"""

import numpy as np

from charlm.mixture import PRODUCTS, Adam, Inputs, Mixer, inputs, joined, target_inputs_of
from charlm.ngram import AdaptiveNgram, Ngram
from charlm.ops import log_softmax

MIXER_RATE = 1e-3  # of Adam


class Counts:
    """The counts and the mixer of a model; with `context` they learn after every so many ids."""

    def __init__(self, ngram: Ngram, mixer: Mixer, context: int | None = None) -> None:
        self._ngram = ngram if context is None else AdaptiveNgram(ngram)
        self._context = context
        self._learning: list[tuple[np.ndarray, Inputs, np.ndarray]] = []
        self.mix_by(mixer)
        self.is_wide = ngram.vocabulary > PRODUCTS
        self.initial_history = ngram.initial_history
        self.advanced = ngram.advanced

    def mix_by(self, mixer: Mixer) -> None:
        """Mixes with another mixer from here on, which stays as it is."""
        self._mixer = Mixer(dict(mixer.arrays))
        self._adam = Adam(self._mixer)

    def mixed(self, logits: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The logits (N, V) of the mixture, where the network's are `logits`, after histories."""
        self._given = inputs(logits, self._ngram.estimate(history))
        self._history = history
        return self._mixer.mixed(self._given)

    def nats(self, logits: np.ndarray, history: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The nats (N,) of ids (N,) by the same mixture, without all of a large vocabulary."""
        estimate = self._ngram.estimate_of(history, ids)
        self._given = target_inputs_of(log_softmax(np, logits), ids, estimate)
        self._history = history
        return -self._mixer.mixed(self._given)[:, 0]

    def learn(self, ids: np.ndarray) -> None:
        """Takes that ids (N,) came where the mixture was made last."""
        if self._context is None:
            return
        self._learning.append((self._history, self._given, ids))
        if sum(len(ids) for _, _, ids in self._learning) < self._context:
            return
        histories, all_given, all_ids = zip(*self._learning, strict=True)
        came = np.concatenate(all_ids)
        self._ngram.add(np.concatenate(histories), came)
        self._adam.update(joined(all_given), came, MIXER_RATE)
        self._learning = []
