"""What a cell is: one recurrence, written once for numpy and torch.

A cell knows neither embedding nor residual, dropout or head; those are the network's. Its state
goes in as a value and comes out as a value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charlm import ops
from charlm.cells.initial import Initialiser
from charlm.ops import Array

State = tuple[Array, ...]  # each (B, ...)
Weights = dict[str, Array]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a cell stands: x has size `inputs`, y has size `width`; layers count from 0.

    `lent` says that the last `width` entries of x come from `lend` of a cell of its kind below.
    `span` says for how many steps at most a unit remembers when training begins.
    """

    inputs: int
    width: int
    layer: int = 0
    layers: int = 1
    lent: bool = False
    span: int | None = None


@dataclass(frozen=True)
class Habits:
    """What the network puts around a cell when it is not told otherwise.

    `lr_share` is the share of an optimiser's usual learning rate at which the cell learns well, but
    for Muon, whose share is `muon`, or None where the cell learns more with AdamW in the same time.
    """

    layers: int = 1
    norm: str = "none"
    residual: bool = False
    feed_forward: bool = False
    lr_share: float = 1.0
    muon: float | None = None


class Cell(ABC):
    """The base of every cell: subclasses give shapes, initialisers, `project` and `recur`.

    `step` is the recurrence and `scan` is the same recurrence over T steps. A subclass may
    replace `scan` by something faster that gives the same outputs, state and gradients; `fused`
    says that it is best left as it is by torch.compile. Where torch.autocast is on, sums over many
    steps are made in full precision all the same (`ops.in_full`).
    """

    habits = Habits()
    fused = False
    spans = False  # whether its gates can begin as the place's span says
    # Which of the weights, where there are such, are the matrices that the cell's output goes
    # through to come back to it; training may drop a part of them.
    recurrent: tuple[str, ...] = ("weight_h",)
    # What follows the cell in a block that has a feed-forward part; None is the network's usual.
    feed_forward: "Cell | None" = None
    # What the lowest cell of a kind lends to those above it, who get it as the last `width` entries
    # of their x: `lend(xp, w, x, state)` is (B, D) from x (B, inputs), or (B, T, D) from a context.
    lend: Callable[..., Array] | None = None

    @abstractmethod
    def shapes(self, place: Place) -> dict[str, Shape]:
        """The weights' shapes by name."""

    @abstractmethod
    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        """How each weight begins, by name."""

    @abstractmethod
    def state_shapes(self, place: Place) -> dict[str, Shape]:
        """The shape of each part of the state by name, without the batch dimension."""

    def initial_state(self, xp: Any, place: Place, batch: int, like: Array) -> State:
        """The state before anything was read: zeros (B, ...), of the kind of `like`."""
        return tuple(
            xp.zeros((batch, *shape), dtype=like.dtype, device=like.device)
            for shape in self.state_shapes(place).values()
        )

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        """What the step takes from x alone, for any leading shape.

        Apart from the rest so that it can be one product over a whole context, or a table over
        the vocabulary that is looked up.
        """
        return x

    @abstractmethod
    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        """The output y (B, D) and the next state, from u = `project(x)` and the state."""

    def step(self, xp: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        """The output y (B, D) and the next state, from x (B, inputs) and the state."""
        return self.recur(xp, w, self.project(xp, w, x), state)

    def scan(self, torch: Any, w: Weights, x: Array, state: State) -> tuple[Array, State]:
        """The outputs y (B, T, D) and the last state, from x (B, T, inputs); T is at least 1."""
        return ops.in_full(torch, self._loop, torch, w, self.project(torch, w, x), state)

    def _loop(self, torch: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        outputs = []
        for u_t in u.unbind(1):
            y, state = self.recur(torch, w, u_t, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state
