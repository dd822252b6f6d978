"""The network that reads from left to right: embedding -> blocks -> norm -> logits.

Holds no weights and no state: both go in as values. The same code serves one step of a batch on
numpy or torch, ids (B,), and a whole context on torch, ids (B, T).

B rows, T time steps, D width, E embedding width, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Shape, State
from charlm.cells.initial import Constant, Initialiser, Normal, Uniform
from charlm.config import NetworkConfig
from charlm.network.stack import Found, Scan, Stack, Weights, norm, norm_weights, settled, under
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

    def shapes(self) -> dict[str, Shape]:
        """The shape of every weight, by its name in a model file."""
        return {name: shape for name, (shape, _) in self._weights().items()}

    def initialisers(self) -> dict[str, Initialiser]:
        """How every weight begins, by its name in a model file."""
        return {name: initialiser for name, (_, initialiser) in self._weights().items()}

    def parameters(self) -> int:
        """How many numbers training sets."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The weights by name, as `step` and `scan` want them."""
        embedding = flat["embedding"]
        return {
            "embedding": embedding,
            "stack": self.stack.arrange(flat),
            "norm": under(flat, "norm."),
            "head": embedding[: self.vocabulary] if self.config.tied else flat["head.weight"],
            "bias": flat["head.bias"],
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
        features, state = self.features(xp, w, ids, state)
        return self.head(xp, w, features), state

    def features(
        self, xp: Any, w: Weights, ids: Array, state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        """The features (B, D) of what was read up to ids (B,), and the next state."""
        x = ops.lookup(xp, w["embedding"], ids)
        first = w["table"] and tuple(ops.lookup(xp, table, ids) for table in w["table"])
        x, state = self.stack.step(xp, w["stack"], x, state, first)
        return self._top(xp, w, x), state

    def head(self, xp: Any, w: Weights, features: Array) -> Array:
        """The logits (..., V) of what follows, from features (..., D)."""
        return features @ w["head"].T + w["bias"]

    def scan(
        self,
        torch: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        drop: Callable[[Array], Array] | None = None,
        scan_of: Callable[[Cell], Scan] | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, T, V) of what follows each of ids (B, T), and the last state.

        `drop`, in training, is applied to each part's output; `scan_of(cell)` stands in for a
        cell's own scan.
        """
        x = ops.lookup(torch, w["embedding"], ids)
        x, state = self.stack.scan(torch, w["stack"], x, state, drop, scan_of)
        return self.head(torch, w, self._top(torch, w, x)), state

    def _top(self, xp: Any, w: Weights, x: Array) -> Array:
        """The features (..., D) from the stack's outputs (..., D)."""
        return norm(xp, self.config.norm, w["norm"], x)

    def _weights(self) -> Found:
        D, E, V = self.config.width, self.config.embedding, self.vocabulary
        # A tied matrix serves as the head too, where rows of unit norm would make a model that
        # is sure of itself before it has learned anything.
        found: Found = {"embedding": ((V + 1, E), Normal(E**-0.5 if self.config.tied else 1.0))}
        found |= self.stack.weights()
        found |= norm_weights(self.config.norm, "norm.", D)
        if not self.config.tied:
            found["head.weight"] = ((V, D), Uniform(D**-0.5))
        found["head.bias"] = ((V,), Constant(0.0))
        return found
