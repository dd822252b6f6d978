"""The network around the cells: embedding -> blocks (norm, cell, dropout, residual) -> logits.

Holds no weights and no state: both go in as values. The same code serves one step of a batch on
numpy or torch, ids (B,), and a whole context on torch, ids (B, T).

B rows, T time steps, D width, E embedding width, V vocabulary, L layers.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from charlm import ops
from charlm.cells import cell_named
from charlm.cells.cell import Place, Shape, State
from charlm.cells.initial import Constant, Initialiser, Normal, Uniform
from charlm.config import NetworkConfig
from charlm.ops import Array

# Characters need few dimensions, and the first layer's product is the cheaper for it: on tiny
# Shakespeare 64 learned as much per character as 128 and 384, and read more characters.
EMBEDDING_WIDTH = 64
# A table over the vocabulary replaces layer 0's input product where it takes less than about
# 10 ms to make; 0.2 GFLOP is that on one slow core.
TABLE_FLOP = 2e8

Weights = dict[str, Any]


class Network:
    """A language model over ids 0..V-1: `logits, state = step(ids, state)`.

    The embedding has one row more than the vocabulary: id V, `start`, is what is read before the
    first token. It is never predicted.
    """

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.cell = cell_named(config.cell)
        self.start = vocabulary
        full = config.tied or config.residual
        self.embedding = config.embedding or (
            config.width if full else min(EMBEDDING_WIDTH, config.width)
        )
        self.config = replace(config, embedding=self.embedding)  # nothing is left open

    def shapes(self) -> dict[str, Shape]:
        """The shape of every weight, by its name in a model file."""
        return {name: shape for name, (shape, _) in self._weights().items()}

    def initialisers(self) -> dict[str, Initialiser]:
        """How every weight begins, by its name in a model file."""
        return {name: initialiser for name, (_, initialiser) in self._weights().items()}

    def parameters(self) -> int:
        """How many numbers training sets."""
        total = 0
        for shape in self.shapes().values():
            size = 1
            for extent in shape:
                size *= extent
            total += size
        return total

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The weights by name, as `step` and `scan` want them."""
        blocks = [
            {"cell": _under(flat, f"blocks.{i}.cell."), "norm": _under(flat, f"blocks.{i}.norm.")}
            for i in range(self.config.layers)
        ]
        embedding = flat["embedding"]
        head = embedding[: self.vocabulary] if self.config.tied else flat["head.weight"]
        return {
            "embedding": embedding,
            "blocks": blocks,
            "norm": _under(flat, "norm."),
            "head": head,
            "bias": flat["head.bias"],
            "table": None,
        }

    def with_table(self, xp: Any, w: Weights) -> Weights:
        """The same weights with layer 0's input product made once for every id, if that is cheap.

        For `step` only: it reads the table instead of multiplying.
        """
        first = w["blocks"][0]
        flop = (
            2
            * w["embedding"].shape[0]
            * sum(
                matrix.shape[0] * matrix.shape[1]
                for matrix in first["cell"].values()
                if matrix.ndim == 2
            )
        )
        if flop > TABLE_FLOP:
            return w
        normed = self._norm(xp, first["norm"], w["embedding"])
        return {**w, "table": self.cell.project(xp, first["cell"], normed)}

    def initial_state(self, xp: Any, w: Weights, batch: int) -> tuple[State, ...]:
        """The state before anything was read: for each layer a tuple of arrays (B, ...)."""
        return tuple(
            self.cell.initial_state(xp, self._place(layer), batch, w["embedding"])
            for layer in range(self.config.layers)
        )

    def step(
        self, xp: Any, w: Weights, ids: Array, state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, V) of what follows ids (B,), and the next state."""

        def advance(layer: int, x: Array, before: State) -> tuple[Array, State]:
            block = w["blocks"][layer]
            if layer == 0 and w["table"] is not None:
                u = ops.lookup(xp, w["table"], ids)
            else:
                u = self.cell.project(xp, block["cell"], self._norm(xp, block["norm"], x))
            return self.cell.recur(xp, block["cell"], u, before)

        return self._apply(xp, w, ids, state, advance)

    def scan(
        self,
        torch: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        drop: Callable[[Array], Array] | None = None,
        cell_scan: Callable[..., tuple[Array, State]] | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, T, V) of what follows each of ids (B, T), and the last state.

        `drop`, in training, is applied to each layer's output; `cell_scan` stands in for the
        cell's own scan.
        """
        cell_scan = cell_scan or self.cell.scan

        def advance(layer: int, x: Array, before: State) -> tuple[Array, State]:
            block = w["blocks"][layer]
            return cell_scan(torch, block["cell"], self._norm(torch, block["norm"], x), before)

        return self._apply(torch, w, ids, state, advance, drop)

    def _apply(
        self,
        xp: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        advance: Callable[[int, Array, State], tuple[Array, State]],
        drop: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        x = ops.lookup(xp, w["embedding"], ids)
        states = []
        for layer, before in enumerate(state):
            y, after = advance(layer, x, before)
            states.append(after)
            y = y if drop is None else drop(y)
            # The first layer changes the width unless the embedding is as wide as it.
            x = x + y if self.config.residual and x.shape[-1] == y.shape[-1] else y
        x = self._norm(xp, w["norm"], x)
        return x @ w["head"].T + w["bias"], tuple(states)

    def _norm(self, xp: Any, w: dict[str, Array], x: Array) -> Array:
        if self.config.norm == "layer":
            return ops.layer_norm(xp, x, w["scale"], w["shift"])
        if self.config.norm == "rms":
            return ops.rms_norm(xp, x, w["scale"])
        return x

    def _weights(self) -> dict[str, tuple[Shape, Initialiser]]:
        D, E, V = self.config.width, self.embedding, self.vocabulary
        # A tied matrix serves as the head too, where rows of unit norm would make a model that
        # is sure of itself before it has learned anything.
        found = {"embedding": ((V + 1, E), Normal(E**-0.5 if self.config.tied else 1.0))}
        for layer in range(self.config.layers):
            place = self._place(layer)
            found |= self._norm_weights(f"blocks.{layer}.norm.", place.inputs)
            begin = self.cell.initialisers(place)
            for name, shape in self.cell.shapes(place).items():
                found[f"blocks.{layer}.cell.{name}"] = (shape, begin[name])
        found |= self._norm_weights("norm.", D)
        if not self.config.tied:
            found["head.weight"] = ((V, D), Uniform(D**-0.5))
        found["head.bias"] = ((V,), Constant(0.0))
        return found

    def _place(self, layer: int) -> Place:
        inputs = self.embedding if layer == 0 else self.config.width
        return Place(inputs, self.config.width, layer, self.config.layers)

    def _norm_weights(self, prefix: str, size: int) -> dict[str, tuple[Shape, Initialiser]]:
        scale, shift = ((size,), Constant(1.0)), ((size,), Constant(0.0))
        return {
            "none": {},
            "layer": {f"{prefix}scale": scale, f"{prefix}shift": shift},
            "rms": {f"{prefix}scale": scale},
        }[self.config.norm]


def _under(flat: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)
    }
