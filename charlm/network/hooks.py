"""What may be done on the way from ids to logits over a context: training's seam in the network."""

from collections.abc import Callable

from charlm.cells.cell import Cell, State
from charlm.ops import Array

Scan = Callable[..., tuple[Array, State]]


class Hooks:
    """Called at each place on the way, and here does nothing; what goes on is what it returns.

    A network that reads from both sides comes by each place once a side.
    """

    def scan_of(self, cell: Cell) -> Scan:
        """What stands in for a cell's own `scan`."""
        return cell.scan

    def embedded(self, x: Array) -> Array:
        """What the lowest part of a stack reads, from the embedding's output (B, T, E)."""
        return x

    def part(self, y: Array, *, highest: bool) -> Array:
        """A part's output, from its output (B, T, D); `highest` is the last one of its stack."""
        return y

    def top(self, x: Array) -> Array:
        """What the head reads, from what leaves a stack (B, T, D), with a row for each target."""
        return x


NOTHING = Hooks()
