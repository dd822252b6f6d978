"""The blocks between embedding and head, each a few parts, one above the other.

A part is a cell with what joins it to the stream: a norm before it and, mostly, a residual
connection around it. A block has its recurrent cell, then, where the config asks for them,
attention and a feed-forward part. A stack's state has one tuple of arrays (B, ...) for each part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from charlm import ops
from charlm.cells import cells_named
from charlm.cells.attention import Attention
from charlm.cells.cell import Cell, Place, Shape, State
from charlm.cells.feed_forward import FeedForward
from charlm.cells.initial import Constant, Initialiser
from charlm.config import NetworkConfig
from charlm.errors import ConfigError
from charlm.network.hooks import NOTHING, Hooks
from charlm.ops import Array

# Characters need few dimensions, and the first layer's product is the cheaper for it: on tiny
# Shakespeare 64 learned as much per character as 128 and 384, and read more characters.
EMBEDDING_WIDTH = 64
WIDTH = 384

Weights = dict[str, Any]
Found = dict[str, tuple[Shape, Initialiser]]


def settled(config: NetworkConfig) -> NetworkConfig:
    """`config` with nothing left open: what was not said is as its cells want it."""
    cells = cells_named(config.cell)
    habits = [cell.habits for cell in cells]
    layers = config.layers or max(len(cells), *(habit.layers for habit in habits))
    if config.layers is None:
        layers = -(-layers // len(cells)) * len(cells)
    norms = [habit.norm for habit in habits if habit.norm != "none"]
    residual = _first(config.residual, any(habit.residual for habit in habits))
    full = config.tied or residual
    width = config.width or WIDTH
    return replace(
        config,
        width=width,
        layers=layers,
        members=config.members or 1,
        norm=config.norm or (norms[0] if norms else "none"),
        residual=residual,
        feed_forward=_first(config.feed_forward, any(habit.feed_forward for habit in habits)),
        embedding=config.embedding or (width if full else min(EMBEDDING_WIDTH, width)),
    )


@dataclass(frozen=True)
class Part:
    """A cell in its place, with the norm before it and whether its input is added to its output.

    `name` begins the names of its weights. `lends` says that cells above borrow from this one.
    """

    name: str
    cell: Cell
    place: Place
    norm: str
    residual: bool
    lends: bool = False


class Stack:
    """The parts of a network of that (settled) config; `prefix` begins their weights' names."""

    def __init__(self, config: NetworkConfig, prefix: str = "") -> None:
        self.parts = _parts(config, prefix)

    def weights(self) -> Found:
        """The shape and the initialiser of every weight, by its name in a model file."""
        found: Found = {}
        for part in self.parts:
            place = part.place
            size = place.inputs - place.width * place.lent
            found |= norm_weights(part.norm, f"{part.name}norm.", size)
            begin = part.cell.initialisers(place)
            for name, shape in part.cell.shapes(place).items():
                found[f"{part.name}{name}"] = (shape, begin[name])
        return found

    def recurrent(self) -> list[str]:
        """The names of the matrices that a cell's own output goes through to come back to it."""
        return [
            f"{part.name}{name}"
            for part in self.parts
            for name in part.cell.recurrent
            if name in part.cell.shapes(part.place)
        ]

    def arrange(self, flat: dict[str, Array]) -> list[Weights]:
        """The weights of each part: its cell's by name, and its norm's under "norm"."""
        arranged = []
        for part in self.parts:
            own = under(flat, part.name)
            cell = {name: value for name, value in own.items() if not name.startswith("norm.")}
            arranged.append({"cell": cell, "norm": under(own, "norm.")})
        return arranged

    def initial_state(self, xp: Any, batch: int, like: Array) -> tuple[State, ...]:
        """The state before anything was read: for each part a tuple of arrays (B, ...)."""
        return tuple(part.cell.initial_state(xp, part.place, batch, like) for part in self.parts)

    def step(
        self,
        xp: Any,
        w: list[Weights],
        x: Array,
        state: tuple[State, ...],
        first: tuple[Array, Array] | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        """The output (B, D) and the next state, from x (B, E).

        `first`, where it is known already, is x as the lowest cell's norm leaves it, and what the
        cell's `project` makes of that.
        """

        def advance(part: Part, w: Weights, x: Array, before: State) -> tuple[Array, State]:
            if first is not None and part is self.parts[0]:
                return part.cell.recur(xp, w, first[1], before)
            return part.cell.step(xp, w, x, before)

        return self._apply(xp, w, x, state, advance, normed=first and first[0])

    def scan(
        self,
        torch: Any,
        w: list[Weights],
        x: Array,
        state: tuple[State, ...],
        hooks: Hooks = NOTHING,
    ) -> tuple[Array, tuple[State, ...]]:
        """The outputs (B, T, D) and the last state, from x (B, T, E)."""

        def advance(part: Part, w: Weights, x: Array, before: State) -> tuple[Array, State]:
            return hooks.scan_of(part.cell)(torch, w, x, before)

        return self._apply(torch, w, hooks.embedded(x), state, advance, hooks)

    def _apply(
        self,
        xp: Any,
        w: list[Weights],
        x: Array,
        state: tuple[State, ...],
        advance: Callable[[Part, Weights, Array, State], tuple[Array, State]],
        hooks: Hooks | None = None,
        normed: Array | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        states = []
        lent: dict[Cell, Array] = {}
        for part, weights, before in zip(self.parts, w, state, strict=True):
            cell = weights["cell"]
            if normed is None:
                normed = norm(xp, part.norm, weights["norm"], x)
            if part.lends:
                lent[part.cell] = part.cell.lend(xp, cell, normed, before)
            elif part.place.lent:
                normed = xp.concat((normed, lent[part.cell]), -1)
            y, after = advance(part, cell, normed, before)
            states.append(after)
            if hooks is not None:
                y = hooks.part(y, highest=part is self.parts[-1])
            x = x + y if part.residual else y
            normed = None
        return x, tuple(states)


def norm(xp: Any, kind: str, w: Weights, x: Array) -> Array:
    """`x` (..., D) normalised over its last axis as `kind`, one of config.NORMS, says."""
    if kind == "layer":
        return ops.layer_norm(xp, x, w["scale"], w["shift"])
    if kind == "rms":
        return ops.rms_norm(xp, x, w["scale"])
    return x


def norm_weights(kind: str, prefix: str, size: int) -> Found:
    """The weights of a norm of that kind, their names beginning with `prefix`."""
    scale, shift = ((size,), Constant(1.0)), ((size,), Constant(0.0))
    return {
        "none": {},
        "layer": {f"{prefix}scale": scale, f"{prefix}shift": shift},
        "rms": {f"{prefix}scale": scale},
    }[kind]


def under(flat: dict[str, Array], prefix: str) -> dict[str, Array]:
    """The entries whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)
    }


def _parts(config: NetworkConfig, prefix: str) -> list[Part]:
    named = cells_named(config.cell)
    cells = [named[layer % len(named)] for layer in range(config.layers)]
    if config.span is not None and not any(cell.spans for cell in cells):
        raise ConfigError(f"{config.cell} has no gates that --span could open; leave it out.")
    # The last layer but one, where there are two: what was found is still worked on above it.
    attends = max(config.layers - 2, 0) if config.attention else None
    D, found = config.width, []
    for layer, cell in enumerate(cells):
        inputs = config.embedding if layer == 0 else D
        below, above = cell in cells[:layer], cell in cells[layer + 1 :]
        lent = cell.lend is not None and below
        place = Place(inputs + D * lent, D, layer, config.layers, lent, config.span)
        name = f"{prefix}blocks.{layer}."
        # The first layer changes the width unless the embedding is as wide as it.
        residual = config.residual and inputs == D
        lends = cell.lend is not None and above and not below
        found.append(Part(f"{name}cell.", cell, place, config.norm, residual, lends))
        inner = Place(D, D, layer, config.layers)
        if layer == attends:
            attention = Attention(config.memory)
            found.append(Part(f"{name}attention.", attention, inner, "none", True))
        if config.feed_forward:
            feed = cell.feed_forward or FeedForward()
            found.append(Part(f"{name}feed_forward.", feed, inner, config.norm, True))
    return found


def _first(said: bool | None, wanted: bool) -> bool:
    return wanted if said is None else said
