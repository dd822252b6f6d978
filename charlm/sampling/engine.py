"""What steps a network: numpy on the CPU, or torch on another device; one interface.

Where the model has counts too, what is stepped is the mixture of both.

Ids and logits are numpy arrays in both. A state is the network's: per part a tuple of arrays
(B, ...) of the engine's own kind, to be handed back as it came.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from charlm.errors import ConfigError
from charlm.mixture import PRODUCTS, Mixer, inputs, target_inputs_of
from charlm.model_file import Model
from charlm.network import Network
from charlm.network.stack import Weights
from charlm.network.states import State, join
from charlm.ngram import Ngram
from charlm.ops import log_softmax
from charlm.packages import missing_packages_named
from charlm.sampling.replay import NotRecordableError, Recording
from charlm.sampling.threads import tuner

# Steps of as many rows after which one is recorded: rows may come and go.
ALIKE_STEPS = 8


class Engine(Protocol):
    """A network with its weights, ready to step."""

    start: int
    vocabulary: int
    logits_per_token: int  # numbers that are made of one token on the way to its logits
    is_wide: bool  # whether `features` and `costs` tell nats without all of the vocabulary

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""


class NumpyEngine:
    """The network on numpy's BLAS, without torch.

    The step of one row is recorded when it is first made, and replayed from then on; that of many
    rows when there were as many for some steps. Unless the weights are `fixed` it steps with what
    they are at the time.
    """

    def __init__(
        self,
        network: Network,
        weights: dict[str, np.ndarray],
        *,
        fixed: bool = True,
    ) -> None:
        self.network = network
        self.start = network.start
        self.vocabulary = network.vocabulary
        self.logits_per_token = network.logits_per_token
        self._tuner = tuner(weights)
        self._flat = weights
        self._fixed = fixed
        self._w = network.arrange(weights)
        if fixed:
            self._w = network.with_table(np, self._w)
        self._recordings: dict[int, Recording] = {}  # by how many rows
        self._recordable = fixed and bool(weights)
        self._rows = self._alike = 0  # of the last step of many rows, and how many such before it

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is made anew: of what was worked out, arrays are views of others' memory."""
        return partial(NumpyEngine, fixed=self._fixed), (self.network, self._flat)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return self.network.initial_state(np, self._w, batch)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        rows = len(ids)
        if self._tuner is not None:
            self._tuner.look()
        if rows > 1:
            self._alike = self._alike + 1 if rows == self._rows else 0
            self._rows = rows
        usual = rows == 1 or self._alike >= ALIKE_STEPS
        if usual and self._recordable and rows not in self._recordings:
            self._record(ids, state)
        recording = self._recordings.get(rows)
        if recording is None:
            return self._advance(ids, state)
        logits, *after = recording(ids, *itertools.chain(*state))
        return logits, _parted(after, map(len, state))

    def features(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """What leaves the blocks (B, D) after ids (B,), and the next state."""
        if self._tuner is not None:
            self._tuner.look()
        return self.network.features(np, self._w, ids, state)

    def head(self, features: np.ndarray) -> np.ndarray:
        """The logits (B, V) of what follows, from what leaves the blocks (B, D)."""
        return self.network.logits(np, self._w, features)

    @property
    def is_wide(self) -> bool:
        """Whether `costs` finds what tokens cost, without the logits of all the vocabulary."""
        return self.network.is_wide

    def costs(self, features: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        """What ids (N,) cost after those features (N, D); see `Network.costs`."""
        return self.network.costs(np, self._w, features, ids)

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""
        return join(np, states)

    @cached_property
    def _columns(self) -> Weights:
        """The weights as products of many rows want them.

        Products are with transposed matrices, and take a quarter less time where the transposed
        one is contiguous; a single row's take longer on two threads.
        """
        if not self._fixed:
            return self._w
        columns = {name: np.asfortranarray(weight) for name, weight in self._flat.items()}
        return self.network.arrange(columns)

    def _advance(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        w = self._w if len(ids) == 1 else self._columns
        return self.network.advance(np, w, self.network.read(np, self._w, ids), state)

    def _record(self, ids: np.ndarray, state: State) -> None:
        """Records the step of as many rows, if that can be done; of many rows one is kept."""
        sizes = [len(part) for part in state]

        def advance(ids: Any, *parts: Any) -> list[Any]:
            logits, after = self._advance(ids, _parted(parts, sizes))
            return [logits, *itertools.chain(*after)]

        try:
            recording = Recording(advance, [ids, *itertools.chain(*state)])
        except NotRecordableError:
            self._recordable = False
            return
        kept = {n: known for n, known in self._recordings.items() if n == 1}
        self._recordings = {**kept, len(ids): recording}


class TorchEngine:
    """The same step on torch tensors, for a device that numpy does not reach."""

    is_wide = False

    def __init__(self, network: Network, weights: dict[str, np.ndarray], device: str) -> None:
        with missing_packages_named():
            import torch  # here because sampling on the CPU must start without it

        self._torch = torch
        self.network = network
        self.start = network.start
        self.vocabulary = network.vocabulary
        self.logits_per_token = network.logits_per_token
        try:
            flat = {name: torch.tensor(value, device=device) for name, value in weights.items()}
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"device {device} cannot be used here ({str(error).splitlines()[0]});"
                " leave --device out to sample on the CPU."
            ) from error
        self._device = device
        with torch.inference_mode():
            self._w = network.with_table(torch, network.arrange(flat))

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return self.network.initial_state(self._torch, self._w, batch)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        with self._torch.inference_mode():
            indices = self._torch.as_tensor(ids, device=self._device)
            logits, state = self.network.step(self._torch, self._w, indices, state)
            return logits.cpu().numpy(), state

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""
        return join(self._torch, states)


class MixedEngine:
    """An engine whose logits are of the mixture.

    A state is the network's, and then the history of the counts as one more part.
    """

    def __init__(self, engine: Engine, ngram: Ngram, mixer: Mixer) -> None:
        self.engine = engine
        self.ngram = ngram
        self.mixer = mixer
        self.start = engine.start
        self.vocabulary = engine.vocabulary
        self.logits_per_token = engine.logits_per_token + ngram.order * engine.vocabulary

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return (*self.engine.initial_state(batch), (self.ngram.initial_history(batch),))

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        *network, (history,) = state
        logits, after = self.engine.step(ids, tuple(network))
        history = self.ngram.advanced(history, ids)
        mixed = self.mixer.mixed(inputs(logits, self.ngram.estimate(history)))
        return mixed, (*after, (history,))

    @property
    def is_wide(self) -> bool:
        """Whether `costs` finds what tokens cost, without mixing all of the vocabulary."""
        return self.vocabulary > PRODUCTS

    def features(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """What `costs` takes (B, V + D): the network's logits and the history; the next state."""
        *network, (history,) = state
        logits, after = self.engine.step(ids, tuple(network))
        history = self.ngram.advanced(history, ids)
        # Every id of a vocabulary that there is room for is a whole number of float32.
        return np.concatenate([logits, history], axis=1, dtype=np.float32), (*after, (history,))

    def costs(self, features: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        """The nats (N,) of ids (N,) after those features."""
        logs = log_softmax(np, features[:, : self.vocabulary])
        history = features[:, self.vocabulary :].astype(np.int32)
        return (
            -self.mixer.mixed(target_inputs_of(logs, ids, self.ngram.estimate_of(history, ids)))[
                :, 0
            ],
        )

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""
        network = self.engine.join([state[:-1] for state in states])
        return (*network, (np.concatenate([state[-1][0] for state in states]),))


class NgramEngine:
    """An engine whose logits (B, V), float64, are the counts' alone: log p of the highest order.

    A state is the history as its one part.
    """

    def __init__(self, ngram: Ngram) -> None:
        self.ngram = ngram
        self.start = self.vocabulary = ngram.vocabulary
        self.logits_per_token = ngram.order * ngram.vocabulary

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return ((self.ngram.initial_history(batch),),)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        history = self.ngram.advanced(state[0][0], ids)
        return np.log(self.ngram.estimate(history).p[:, -1]), ((history,),)

    @property
    def is_wide(self) -> bool:
        """Whether `costs` finds what tokens cost, without all of the vocabulary."""
        return self.vocabulary > PRODUCTS

    def features(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """What `costs` takes (B, D), the history; and the next state."""
        history = self.ngram.advanced(state[0][0], ids)
        return history, ((history,),)

    def costs(self, features: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        """The nats (N,) of ids (N,) after those features."""
        return (-np.log(self.ngram.estimate_of(features, ids).p[:, -1, 0]),)

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""
        return join(np, states)


def engine_of(model: Model, device: str = "cpu") -> Engine:
    """The engine that steps this model on `device`. Raises ConfigError for one not there."""
    if device == "cpu":
        engine: Engine = NumpyEngine(model.network, model.weights)
    else:
        engine = TorchEngine(model.network, model.weights, device)
    return engine if model.counts is None else MixedEngine(engine, *model.counts)


def parts_of(model: Model) -> dict[str, Engine]:
    """The engines of what a mixture is made of, each by itself: "network" and "ngram".

    Raises ConfigError where the model has no counts.
    """
    if model.ngram is None:
        raise ConfigError(
            "the model is a network alone, without counts, and has no other parts; leave --parts"
            " out, or give a model made without --ngram 0."
        )
    network = engine_of(replace(model, ngram=None, mixer=None))
    return {"network": network, "ngram": NgramEngine(model.ngram)}


def _parted(arrays: Iterable[Any], sizes: Iterable[int]) -> State:
    """The arrays in groups of these sizes."""
    rest = iter(arrays)
    return tuple(tuple(itertools.islice(rest, size)) for size in sizes)
