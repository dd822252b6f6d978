"""One distribution of a network's and of counts, mixed by a gate that knows how sure each is.

    p ∝ Π_j p_j^w_j     w = W2 tanh(W1 x + b1) + b2

p_j are the network's distribution and those of an n-gram model's orders; x is how sure each is of
itself: the entropies of all of them, and what the counts rest on. Of a large vocabulary the
probabilities are added, p = Σ_j softmax(w)_j p_j, which needs no more than those of one token.

Sources: Hinton 1999, "Products of experts"; Mahoney 2005, "Adaptive weighing of context models for
lossless data compression", for weights that are set by context.

N rows, V vocabulary, J distributions, F features, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charlm.errors import DataError
from charlm.ngram import Estimate
from charlm.ops import log_softmax, logsumexp

HIDDEN = 12
PRODUCTS = 1024  # a vocabulary up to so large is mixed by products
PRIOR = 0.6  # the network's weight before anything was fitted; the highest order has the rest
HALVES = ("first_half.", "second_half.")  # what the names of their arrays begin with
LEARNED = ("w1", "b1", "w2", "b2")
FARTHEST = 5.0  # deviations from the mean that a feature may show
BATCH, RATE, DECAYS = 512, 0.01, (0.9, 0.999)  # of Adam
# A gate learns few places by heart, so of them there are fewer updates than N^2 by this.
UPDATES, SQUARE_PLACES = (4, 400), 80_000
STARTS, START_SCALES, START_PLACES = 11, (0.7, 0.85, 1.0, 1.15), 4096
LEAST_DEVIATION, LEAST_SHARE = 1e-2, 1e-2


@dataclass(frozen=True)
class Inputs:
    """What is mixed at N places: log-probabilities (N, J, V), and features (N, F), both float32."""

    logs: np.ndarray
    features: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> "Inputs":
        """Those of some rows."""
        return Inputs(self.logs[rows], self.features[rows])


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The places of all parts, one after another."""
    return Inputs(
        np.concatenate([part.logs for part in parts]),
        np.concatenate([part.features for part in parts]),
    )


def inputs(logits: np.ndarray, estimate: Estimate) -> Inputs:
    """What is to be mixed, from the network's logits (N, V) and what the counts expect."""
    network = log_softmax(np, logits)
    features = [estimate.known, _entropies(network)[:, None]]
    if logits.shape[-1] <= PRODUCTS:
        features.append(estimate.entropies[:, 1:])  # that of the lowest order never changes
    logs = np.concatenate([network[:, None], estimate.logs], axis=1, dtype=np.float32)
    return Inputs(logs, np.concatenate(features, axis=1, dtype=np.float32))


def target_inputs(logs: np.ndarray, entropies: np.ndarray, estimate: Estimate) -> Inputs:
    """What is to be mixed of one token each, whose log-probability by the network is logs (N,).

    `entropies` (N,) are the network's, and `estimate` is of that token; for vocabularies beyond
    PRODUCTS. So Inputs.logs is (N, J, 1).
    """
    joined = np.concatenate([logs[:, None], np.log(estimate.p[..., 0])], axis=1, dtype=np.float32)
    features = np.concatenate([estimate.known, entropies[:, None]], axis=1, dtype=np.float32)
    return Inputs(joined[..., None], features)


def target_inputs_of(logs: np.ndarray, ids: np.ndarray, estimate: Estimate) -> Inputs:
    """The same of ids (N,), where the network's log-probabilities are logs (N, V)."""
    own = logs[np.arange(len(ids)), ids]
    return target_inputs(own, _entropies(logs), estimate)


def is_summed(given: Inputs) -> bool:
    """Whether the probabilities are added: those of one token each, or of a large vocabulary."""
    V = given.logs.shape[-1]
    return V == 1 or V > PRODUCTS


def features_of(order: int, vocabulary: int) -> int:
    """How many features there are of a network and of counts up to an order."""
    return (3 if vocabulary <= PRODUCTS else 2) * (order - 1) + 1


def _entropies(logs: np.ndarray) -> np.ndarray:
    """The entropies (N,) of distributions whose log-probabilities are logs (N, V)."""
    return -(np.exp(logs) * logs).sum(axis=-1)


class Mixer:
    """The gate, as float32 `arrays` by name: those of the law above, and what x is made even with.

    It is fitted to a text. Two others are its `halves`, the first fitted to the second half of that
    text and the second to the first: by these each half can be predicted as if it were unseen.

    Law: what it mixes sums to 1 whatever its arrays are.
    """

    def __init__(self, arrays: dict[str, np.ndarray], halves: Sequence["Mixer"] = ()) -> None:
        self.arrays = arrays
        self.halves = tuple(halves)

    @classmethod
    def prior(cls, order: int, vocabulary: int) -> "Mixer":
        """The mixer of a network and of counts up to an order, before anything was fitted."""
        J, F = order + 1, features_of(order, vocabulary)
        weights = np.zeros(J)
        # Of products these are the exponents, of sums the logarithms of the shares.
        weights[0], weights[-1] = PRIOR, 1 - PRIOR
        if vocabulary > PRODUCTS:
            weights = np.log(np.maximum(weights, LEAST_SHARE))
        w1 = np.random.default_rng(0).standard_normal((F, HIDDEN)) / np.sqrt(F)
        arrays = {
            "mean": np.zeros(F),
            "scale": np.ones(F),
            "w1": w1,
            "b1": np.zeros(HIDDEN),
            "w2": np.zeros((HIDDEN, J)),
            "b2": weights,
        }
        return cls({name: array.astype(np.float32) for name, array in arrays.items()})

    @classmethod
    def checked(cls, arrays: dict[str, np.ndarray], order: int, vocabulary: int) -> "Mixer":
        """The mixer of arrays from a file. Raises DataError for any that are none."""
        like = cls.prior(order, vocabulary).arrays
        halves = []
        for prefix in HALVES:
            half = {n: arrays.pop(f"{prefix}{n}") for n in like if f"{prefix}{n}" in arrays}
            if half:
                halves.append(cls.checked(half, order, vocabulary))
        sane = arrays.keys() == like.keys() and all(
            array.shape == like[name].shape
            and array.dtype == np.float32
            and bool(np.isfinite(array).all())
            for name, array in arrays.items()
        )
        if not sane:
            raise DataError("the model's mixer is damaged; copy it again from where it was made.")
        return cls(arrays, halves)

    def named(self) -> dict[str, np.ndarray]:
        """Its arrays by name, and those of its halves."""
        found = dict(self.arrays)
        for prefix, half in zip(HALVES, self.halves, strict=False):
            found |= {f"{prefix}{name}": array for name, array in half.arrays.items()}
        return found

    def mixed(self, given: Inputs) -> np.ndarray:
        """The logits (N, V), float32, of the mixture; of one token each its log-probability."""
        weights = self._gate(given.features)[2]
        if is_summed(given):
            return logsumexp(np, given.logs + log_softmax(np, weights)[..., None], 1)[:, 0]
        return (weights[:, None] @ given.logs)[:, 0]

    def gradient(
        self, given: Inputs, targets: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The nats (N,) of targets (N,), and the gradient of their mean by name of LEARNED.

        Where `given` is of one token each, it is the target.
        """
        x, hidden, weights = self._gate(given.features)
        rows, V = np.arange(len(targets)), given.logs.shape[-1]
        own = given.logs[rows, :, 0 if V == 1 else targets]  # (N, J)
        if is_summed(given):
            shares = log_softmax(np, weights) + own
            nats = -logsumexp(np, shares, -1)
            by_weight = np.exp(log_softmax(np, weights)) - np.exp(shares + nats)
            nats = nats[:, 0]
        else:
            logs = log_softmax(np, (weights[:, None] @ given.logs)[:, 0])
            nats = -logs[rows, targets]
            by_weight = (np.exp(logs)[:, None] @ given.logs.swapaxes(1, 2))[:, 0] - own
        by_weight /= len(targets)
        by_hidden = (by_weight @ self.arrays["w2"].T) * (1 - hidden**2)
        return nats, {
            "w1": x.T @ by_hidden,
            "b1": by_hidden.sum(axis=0),
            "w2": hidden.T @ by_weight,
            "b2": by_weight.sum(axis=0),
        }

    def _gate(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the gate reads (N, F), its hidden units (N, H), and the weights (N, J)."""
        a = self.arrays
        x = np.clip((features - a["mean"]) * a["scale"], -FARTHEST, FARTHEST)
        hidden = np.tanh(x @ a["w1"] + a["b1"])
        return x, hidden, hidden @ a["w2"] + a["b2"]


def fitted(prior: Mixer, given: Inputs, targets: np.ndarray) -> Mixer:
    """The mixer fitted to what came, targets (N,), at N places, from `prior` on.

    `given` is as in `Mixer.gradient`. The same arrays make the same mixer.
    """
    arrays = dict(prior.arrays)
    arrays["mean"] = given.features.mean(axis=0)
    arrays["scale"] = 1 / (given.features.std(axis=0) + LEAST_DEVIATION)
    arrays["b2"] = _start(prior, given, targets)
    mixer, random = Mixer(arrays), np.random.default_rng(0)
    adam = Adam(mixer)
    updates, batches = updates_of(len(targets)), -(-len(targets) // BATCH)
    for update in range(updates):
        at = update % batches
        if at == 0:
            order = random.permutation(len(targets))
        rows = order[at * BATCH : (at + 1) * BATCH]
        adam.update(given[rows], targets[rows], RATE * (1 - update / updates))
    return mixer


def updates_of(places: int) -> int:
    """How many updates fit a mixer to so many places."""
    return int(np.clip(places**2 // SQUARE_PLACES, *UPDATES))


def _start(prior: Mixer, given: Inputs, targets: np.ndarray) -> np.ndarray:
    """The b2 (J,) of the best mixture of the network and the highest order that needs no gate."""
    rows = np.arange(0, len(targets), -(-len(targets) // START_PLACES))
    given, targets = given[rows], targets[rows]
    found = []
    by_sums = is_summed(given)
    for share in np.linspace(0, 1, STARTS):
        for scale in (1.0,) if by_sums else START_SCALES:
            weights = np.zeros_like(prior.arrays["b2"])
            weights[0], weights[-1] = scale * share, scale * (1 - share)
            if by_sums:
                weights = np.log(np.maximum(weights, LEAST_SHARE))
            mixer = Mixer(prior.arrays | {"w2": np.zeros_like(prior.arrays["w2"]), "b2": weights})
            found.append((float(mixer.gradient(given, targets)[0].mean()), weights))
    return min(found, key=lambda one: one[0])[1]


class Adam:
    """Fits a mixer, whose arrays it replaces, a batch at a time.

    Source: Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1.
    """

    def __init__(self, mixer: Mixer) -> None:
        self._mixer = mixer
        self._mean, self._square = (
            {name: np.zeros_like(mixer.arrays[name]) for name in LEARNED} for _ in range(2)
        )
        self._updates = 0

    def update(self, given: Inputs, targets: np.ndarray, rate: float) -> None:
        """Goes a step down the gradient of the nats of targets (N,), given as in the mixer's."""
        self._updates += 1
        arrays = self._mixer.arrays
        for name, gradient in self._mixer.gradient(given, targets)[1].items():
            mean, square = self._mean[name], self._square[name]
            mean += (1 - DECAYS[0]) * (gradient - mean)
            square += (1 - DECAYS[1]) * (gradient**2 - square)
            step = mean / (1 - DECAYS[0] ** self._updates)
            step /= np.sqrt(square / (1 - DECAYS[1] ** self._updates)) + 1e-8
            arrays[name] = arrays[name] - (rate * step).astype(np.float32)
