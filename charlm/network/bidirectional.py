"""The network that predicts each symbol from everything else: the text before it and after it.

A left stack reads the text before a place from left to right, a right stack the text after it from
right to left, and both outputs are merged:

    logits = head(norm(tanh(W_l l + W_r (r ⊙ g_k) + d_k)))

The right stack may leave out some symbols next to the place: r has read what begins k places on,
which g_k and d_k tell. So a gap of n symbols is filled from left to right, its i-th symbol with
k = n - i, and no symbol is ever predicted from itself. k = 0 is for nothing being known there.

Source: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
"""

from dataclasses import dataclass
from typing import Any

from charlm import ops
from charlm.cells.cell import State
from charlm.cells.initial import Constant, Normal, Uniform
from charlm.config import NetworkConfig
from charlm.network.hooks import NOTHING, Hooks
from charlm.network.network import Network
from charlm.network.stack import Found, Stack, Weights, under
from charlm.ops import Array

DISTANCES = 16  # farther is all the same


@dataclass(frozen=True)
class After:
    """What the right stack reads of each row, and what each place of the row takes from it.

    `ids` (B, N) begins with `start`, then has the text from its end backward, and is padded; place
    t reads the output `turns[b, t]` (B, T), counted from 0, at the distance `distances[b, t]`.
    """

    ids: Array
    turns: Array
    distances: Array

    def rows(self, some: slice) -> "After":
        """The same of some of the rows."""
        return After(self.ids[some], self.turns[some], self.distances[some])


class Bidirectional(Network):
    """A model of each symbol given all others. It can't be sampled from left to right."""

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        self.stack = Stack(self.config, "left.")
        self.right = Stack(self.config, "right.")

    def recurrent(self) -> list[str]:
        """The names of the matrices that a cell's own output goes through, on both sides."""
        return [*self.stack.recurrent(), *self.right.recurrent()]

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The weights by name, as `scan`, `stack`, `right` and `merge` want them."""
        right = self.right.arrange(flat)
        return {**super().arrange(flat), "right": right, "merge": under(flat, "merge.")}

    def scan(
        self,
        torch: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        hooks: Hooks = NOTHING,
        after: After | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        """The logits (B, T, V) of what follows each of ids (B, T), and the left stack's last state.

        `after` has the text on the right; without it nothing is known there, and this is a
        network that reads from left to right.
        """
        if after is None:
            return super().scan(torch, w, ids, state, hooks)
        x, state = self.merged(torch, w, ids, state, after, hooks)
        return self.merged_logits(torch, w, x), state

    def merged(
        self,
        torch: Any,
        w: Weights,
        ids: Array,
        state: tuple[State, ...],
        after: After,
        hooks: Hooks = NOTHING,
    ) -> tuple[Array, tuple[State, ...]]:
        """Both stacks' outputs as one (B, T, D) after each of ids (B, T), and the last state.

        With `merged_logits` it is a scan.
        """
        x = ops.lookup(torch, w["embedding"], ids)
        left, state = self.stack.scan(torch, w["stack"], x, state, hooks)
        x = ops.lookup(torch, w["embedding"], after.ids)
        begin = self.right.initial_state(torch, len(x), x)
        outputs, _ = self.right.scan(torch, w["right"], x, begin, hooks)
        places = after.turns[..., None].expand(-1, -1, outputs.shape[-1])
        left, right = hooks.top(left), hooks.top(outputs.gather(1, places))
        return self._merged(torch, w, left, right, after.distances), state

    def merged_logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) from both stacks' outputs as one (..., D)."""
        return super().logits(xp, w, xp.tanh(x))

    def merge(self, xp: Any, w: Weights, left: Array, right: Array, distances: Array) -> Array:
        """The logits (..., V) of a place from both stacks' outputs (..., D).

        `distances` (...) says how many places on the right stack's reading begins; 0 is for
        nothing known there, and leaves `right` out.
        """
        return self.merged_logits(xp, w, self._merged(xp, w, left, right, distances))

    def _merged(self, xp: Any, w: Weights, left: Array, right: Array, distances: Array) -> Array:
        merge, known = w["merge"], (distances > 0)[..., None]
        distances = xp.clip(distances, 0, DISTANCES)
        right = right * ops.lookup(xp, merge["gate"], distances) * known
        x = left @ merge["left"].T + right @ merge["right"].T
        return x + ops.lookup(xp, merge["distance"], distances)

    def costs(self, xp: Any, w: Weights, x: Array, ids: Array) -> tuple[Array, Array, Array]:
        """What ids (N,) cost after both stacks' outputs as one (N, D)."""
        return super().costs(xp, w, xp.tanh(x), ids)

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) from the left stack's output (..., D): nothing is known beyond."""
        return self.merged_logits(xp, w, x @ w["merge"]["left"].T + w["merge"]["distance"][0])

    def _weights(self) -> Found:
        D, E, V = self.config.width, self.config.embedding, self.vocabulary
        return {
            "embedding": ((V + 1, E), Normal(1.0)),
            **self.stack.weights(),
            **self.right.weights(),
            "merge.left": ((D, D), Uniform(D**-0.5)),
            "merge.right": ((D, D), Uniform(D**-0.5)),
            "merge.gate": ((DISTANCES + 1, D), Constant(1.0)),
            "merge.distance": ((DISTANCES + 1, D), Constant(0.0)),
            **self.head.weights(),
        }
