"""What steps a network: numpy on the CPU, or torch on another device; one interface.

Ids and logits are numpy arrays in both. A state is the network's: per part a tuple of arrays
(B, ...) of the engine's own kind, to be handed back as it came.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import threadpoolctl

from charlm.errors import ConfigError
from charlm.network import Network
from charlm.network.stack import Weights

State = tuple[tuple[Any, ...], ...]

# A product of one row and a matrix smaller than this takes numpy's BLAS less time than waking a
# second thread for it, and far less where another process has the core.
THREADED_BYTES = 1_500_000


class Engine(Protocol):
    """A network with its weights, ready to step."""

    start: int
    vocabulary: int

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""


class NumpyEngine:
    """The network on numpy's BLAS, without torch.

    Unless the weights are `fixed` it steps with what they are at the time. Where it is `exact`, one
    thread does it all, since two may add up a product in another order.
    """

    def __init__(
        self,
        network: Network,
        weights: dict[str, np.ndarray],
        *,
        fixed: bool = True,
        exact: bool = False,
    ) -> None:
        self.network = network
        self.start = network.start
        self.vocabulary = network.vocabulary
        # For the whole process; unless exact only numpy's BLAS, as torch has one of its own.
        pools = threadpoolctl.ThreadpoolController()
        if exact:
            pools.limit(limits=1, user_api="blas")
        else:
            small = max(weight.nbytes for weight in weights.values()) < THREADED_BYTES
            pools.select(internal_api="openblas").limit(limits=1 if small else os.cpu_count())
        self._w = self._prepared(weights) if fixed else network.arrange(weights)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return self.network.initial_state(np, self._w, batch)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        return self.network.step(np, self._w, ids, state)

    def features(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The features (B, D) of what was read up to ids (B,), and the next state."""
        return self.network.features(np, self._w, ids, state)

    def head(self, features: np.ndarray) -> np.ndarray:
        """The logits (B, V) of what follows, from features (B, D)."""
        return self.network.head(np, self._w, features)

    def join(self, states: Sequence[State]) -> State:
        """The rows of all states in one, in that order."""
        return _each(np.concatenate, states)

    def _prepared(self, weights: dict[str, np.ndarray]) -> Weights:
        # Products are with transposed matrices, and those of many rows take a quarter less time
        # where the transposed one is contiguous; a single row's take as long as before.
        columns = {
            name: np.asfortranarray(weight) if name != "embedding" else weight
            for name, weight in weights.items()
        }
        return self.network.with_table(np, self.network.arrange(columns))


class TorchEngine:
    """The same step on torch tensors, for a device that numpy does not reach."""

    def __init__(self, network: Network, weights: dict[str, np.ndarray], device: str) -> None:
        import torch  # here because sampling on the CPU must start without it

        self._torch = torch
        self.network = network
        self.start = network.start
        self.vocabulary = network.vocabulary
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
        return _each(self._torch.cat, states)


def take_rows(state: State, rows: np.ndarray | list[int]) -> State:
    """The state of those rows, in that order; a row may be taken many times."""
    return tuple(tuple(part[rows] for part in layer) for layer in state)


def _each(join: Callable[[list[Any]], Any], states: Sequence[State]) -> State:
    layers = zip(*states, strict=True)
    return tuple(tuple(join(list(parts)) for parts in zip(*each, strict=True)) for each in layers)
