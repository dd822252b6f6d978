"""The network of a model of counts alone, which knows nothing.

B rows, T time steps, V vocabulary.
"""

from typing import Any

from charlm.cells.cell import State
from charlm.config import NetworkConfig
from charlm.network.hooks import NOTHING, Hooks
from charlm.network.network import Network
from charlm.network.stack import Found, Part, Weights
from charlm.ops import Array


class Uniform(Network):
    """A network without weights or state, to which every token is as likely as any other."""

    is_wide = False

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.start = vocabulary
        self.config = config

    @property
    def parts(self) -> list[Part]:
        """None."""
        return []

    @property
    def logits_per_token(self) -> int:
        """How many numbers are made of one token."""
        return self.vocabulary

    def recurrent(self) -> list[str]:
        """None."""
        return []

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """None."""
        return {}

    def with_table(self, xp: Any, w: Weights) -> Weights:
        """None."""
        return w

    def initial_state(self, xp: Any, w: Weights, batch: int) -> tuple[State, ...]:
        """The state, which has no parts."""
        return ()

    def read(self, xp: Any, w: Weights, ids: Array) -> tuple[Array, ...]:
        """What a step takes from ids (B,)."""
        return (ids,)

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V), from x (..., 0)."""
        return xp.zeros((*x.shape[:-1], self.vocabulary), dtype=xp.float32)

    def outputs(
        self, torch: Any, w: Weights, ids: Array, state: tuple[State, ...], hooks: Hooks = NOTHING
    ) -> tuple[Array, tuple[State, ...]]:
        """Nothing (B, T, 0), and the state."""
        return torch.zeros((*ids.shape, 0)), state

    def _through(
        self, xp: Any, w: Weights, read: tuple[Array, ...], state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        return xp.zeros((len(read[0]), 0)), state

    def _weights(self) -> Found:
        return {}
