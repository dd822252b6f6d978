"""One side of a bidirectional network, read by itself."""

from typing import Any

import numpy as np

from charlm.network.stack import Stack
from charlm.network.states import State

# What a side has read: its output (B, D) in a layer of its own, then its stack's state. It is a
# value, and its rows are taken as a state's are.
Reading = State


class Side:
    """One stack of a bidirectional network, reading ids in its own direction."""

    def __init__(self, stack: Stack, w: list[dict[str, Any]], embedding: np.ndarray) -> None:
        self._stack = stack
        self._w = w
        self._embedding = embedding  # its last row is the start's

    def begin(self) -> Reading:
        """What one row has read before any text: the start."""
        state = self._stack.initial_state(np, 1, self._embedding)
        return self.step(((), *state), np.array([len(self._embedding) - 1]))

    def step(self, reading: Reading, ids: np.ndarray) -> Reading:
        """The reading after one more id of each row (B,)."""
        output, state = self._stack.step(np, self._w, self._embedding[ids], reading[1:])
        return (output,), *state
