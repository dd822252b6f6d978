"""The network that reads from left to right: embedding -> blocks -> norm -> logits.

Holds no weights and no state: both go in as values. The same code serves one step of a batch on
numpy or torch, ids (B,), and a whole context on torch, ids (B, T).

B rows, T time steps, D width, E embedding width, V vocabulary.
"""

import math
from typing import Any

from charlm import ops
from charlm.cells.cell import Shape, State
from charlm.cells.initial import Initialiser, Normal
from charlm.config import NetworkConfig
from charlm.network.adaptive_head import AdaptiveHead
from charlm.network.head import Head
from charlm.network.hooks import NOTHING, Hooks
from charlm.network.stack import Found, Part, Stack, Weights, norm, settled
from charlm.ops import Array

# A table over the vocabulary replaces layer 0's input product where it takes less than about
# 10 ms to make; 0.2 GFLOP is that on one slow core.
TABLE_FLOP = 2e8


class Network:
    """A language model over ids 0..V-1: `logits, state = step(ids, state)`.

    The embedding has one row more than the vocabulary: id V, `start`, is what is read before the
    first token. It is never predicted. `config` has nothing left open.
    """

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.start = vocabulary
        self.config = settled(config)
        self.stack = Stack(self.config)
        self.head = (AdaptiveHead if config.adaptive else Head)(self.config, vocabulary)

    @property
    def parts(self) -> list[Part]:
        """The parts whose states make up a state, in that order."""
        return self.stack.parts

    def shapes(self) -> dict[str, Shape]:
        """The shape of every weight, by its name in a model file."""
        return {name: shape for name, (shape, _) in self._weights().items()}

    def initialisers(self) -> dict[str, Initialiser]:
        """How every weight begins, by its name in a model file."""
        return {name: initialiser for name, (_, initialiser) in self._weights().items()}

    @property
    def logits_per_token(self) -> int:
        """How many numbers the head makes of one token on its way to the logits (V,)."""
        return self.vocabulary * self.config.members * self.config.mixtures

    def parameters(self) -> int:
        """How many numbers training sets."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def recurrent(self) -> list[str]:
        """The names of the matrices that a cell's own output goes through to come back to it."""
        return self.stack.recurrent()

    def learners(
        self, flat: dict[str, Array], state: tuple[State, ...]
    ) -> list[tuple["Network", dict[str, Array], tuple[State, ...]]]:
        """The networks that learn each for itself, with their weights by name and their states."""
        return [(self, flat, state)]

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The weights by name, as `step` and `scan` want them."""
        return {
            "embedding": flat["embedding"],
            "stack": self.stack.arrange(flat),
            "head": self.head.arrange(flat),
            "table": None,
        }

    def with_table(self, xp: Any, w: Weights) -> Weights:
        """The same weights with layer 0's input product made once for every id, if that is cheap.

        For `step` only: it reads the table instead of multiplying.
        """
        part, first = self.stack.parts[0], w["stack"][0]
        matrices = [matrix for matrix in first["cell"].values() if matrix.ndim == 2]
        rows = w["embedding"].shape[0]
        if 2 * rows * sum(math.prod(matrix.shape) for matrix in matrices) > TABLE_FLOP:
            return w
        normed = norm(xp, part.norm, first["norm"], w["embedding"])
        return {**w, "table": (normed, part.cell.project(xp, first["cell"], normed))}

    def initial_state(self, xp: Any, w: Weights, batch: int) -> tuple[State, ...]:
        """The state before anything was read: for each part a tuple of arrays (B, ...)."""
        return self.stack.initial_state(xp, batch, w["embedding"])

    def step(
        self, xp: Any, w: Weights, ids: Array, state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, V) of what follows ids (B,), and the next state."""
        return self.advance(xp, w, self.read(xp, w, ids), state)

    def read(self, xp: Any, w: Weights, ids: Array) -> tuple[Array, ...]:
        """What a step takes from ids (B,): their embedding (B, E), and their rows of the table."""
        return tuple(ops.lookup(xp, table, ids) for table in (w["embedding"], *(w["table"] or ())))

    def advance(
        self, xp: Any, w: Weights, read: tuple[Array, ...], state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        """The rest of a step, all of it arithmetic: logits (B, V) and the next state."""
        x, state = self._through(xp, w, read, state)
        return self.logits(xp, w, x), state

    def features(
        self, xp: Any, w: Weights, ids: Array, state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        """What leaves the blocks (B, D) after ids (B,), and the next state.

        With `logits` it is a step.
        """
        return self._through(xp, w, self.read(xp, w, ids), state)

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) of what follows, from what leaves the blocks (..., D)."""
        return self.head.logits(xp, w["head"], x)

    @property
    def is_wide(self) -> bool:
        """Whether `costs` finds what tokens cost, without the logits of all the vocabulary."""
        return self.head.is_wide

    def costs(self, xp: Any, w: Weights, x: Array, ids: Array) -> tuple[Array, Array, Array]:
        """What ids (N,) cost after what leaves the blocks (N, D), where the network `is_wide`.

        Their nats, the likeliest ids and the nats of these, each (N,); see `network.costs`.
        """
        return self.head.costs(xp, w["head"], x, ids)

    def scan(
        self,
        torch: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        hooks: Hooks = NOTHING,
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, T, V) of what follows each of ids (B, T), and the last state.

        `hooks` are called on the way, as training wants it.
        """
        x, state = self.outputs(torch, w, ids, state, hooks)
        return self.logits(torch, w, x), state

    def outputs(
        self, torch: Any, w: Weights, ids: Array, state: tuple[State, ...], hooks: Hooks = NOTHING
    ) -> tuple[Array, tuple[State, ...]]:
        """What leaves the blocks (B, T, D) after each of ids (B, T), and the last state.

        With `logits` it is a scan.
        """
        x = ops.lookup(torch, w["embedding"], ids)
        x, state = self.stack.scan(torch, w["stack"], x, state, hooks)
        return hooks.top(x), state

    def _through(
        self, xp: Any, w: Weights, read: tuple[Array, ...], state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        x, *first = read
        return self.stack.step(xp, w["stack"], x, state, tuple(first) or None)

    def _weights(self) -> Found:
        E, V = self.config.embedding, self.vocabulary
        # A tied matrix serves as the head too, where rows of unit norm would make a model that
        # is sure of itself before it has learned anything.
        found: Found = {"embedding": ((V + 1, E), Normal(E**-0.5 if self.config.tied else 1.0))}
        return {**found, **self.stack.weights(), **self.head.weights()}
