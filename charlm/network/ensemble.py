"""Networks of one shape side by side, each of them trained as if alone, whose mean predicts.

    p = 1/K Σ_k p_k

Its logits are the logarithms of p. As the logarithm is concave, no symbol costs more than it costs
the members on average, and it costs less where they differ.

Source: Hansen and Salamon 1990, "Neural network ensembles"; the mean of probabilities as in
Lakshminarayanan, Pritzel and Blundell 2017 (arXiv:1612.01474), sec. 2.4.

K members, B rows, T time steps, D width, V vocabulary.
"""

import math
from dataclasses import replace
from typing import Any

from charlm import ops
from charlm.cells.cell import State
from charlm.config import NetworkConfig
from charlm.network.hooks import NOTHING, Hooks
from charlm.network.network import Network
from charlm.network.stack import Found, Part, Weights, under
from charlm.ops import Array


class Ensemble(Network):
    """`config.members` networks over ids 0..V-1, to be used as one.

    The names of a member's weights begin with its number, as in `members.0.embedding`; a state has
    the first member's parts first.
    """

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        self.member = Network(replace(config, members=1), vocabulary)
        self.vocabulary = vocabulary
        self.start = self.member.start
        self.config = replace(self.member.config, members=config.members)
        self._prefixes = [f"members.{k}." for k in range(config.members)]

    @property
    def is_wide(self) -> bool:
        """Never: its logits are the members' together."""
        return False

    @property
    def parts(self) -> list[Part]:
        """The parts whose states make up a state, in that order."""
        return [
            replace(part, name=f"{prefix}{part.name}")
            for prefix in self._prefixes
            for part in self.member.parts
        ]

    def recurrent(self) -> list[str]:
        """The names of the matrices that a cell's own output goes through to come back to it."""
        return [f"{prefix}{name}" for prefix in self._prefixes for name in self.member.recurrent()]

    def learners(
        self, flat: dict[str, Array], state: tuple[State, ...]
    ) -> list[tuple[Network, dict[str, Array], tuple[State, ...]]]:
        """The networks that learn each for itself, with their weights by name and their states."""
        states = self._shares(state)
        return [
            (self.member, under(flat, prefix), share)
            for prefix, share in zip(self._prefixes, states, strict=True)
        ]

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The weights by name, as `step` and `scan` want them."""
        members = [self.member.arrange(under(flat, prefix)) for prefix in self._prefixes]
        return {"members": members, "embedding": members[0]["embedding"]}

    def with_table(self, xp: Any, w: Weights) -> Weights:
        """The same weights with each layer 0's input product made once for every id, if cheap."""
        return {**w, "members": [self.member.with_table(xp, own) for own in w["members"]]}

    def initial_state(self, xp: Any, w: Weights, batch: int) -> tuple[State, ...]:
        """The state before anything was read: for each part a tuple of arrays (B, ...)."""
        return self.member.initial_state(xp, w, batch) * self.config.members

    def read(self, xp: Any, w: Weights, ids: Array) -> tuple[Array, ...]:
        """What a step takes from ids (B,), for one member after the other."""
        return sum((self.member.read(xp, own, ids) for own in w["members"]), ())

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) of what follows, from what leaves the blocks (..., K D)."""
        D = self.config.width
        each = [
            ops.log_softmax(xp, self.member.logits(xp, own, x[..., k * D : (k + 1) * D]))
            for k, own in enumerate(w["members"])
        ]
        joined = xp.concat([one[..., None, :] for one in each], -2)  # (..., K, V)
        return ops.logsumexp(xp, joined, -2)[..., 0, :] - math.log(len(each))

    def outputs(
        self, torch: Any, w: Weights, ids: Array, state: tuple[State, ...], hooks: Hooks = NOTHING
    ) -> tuple[Array, tuple[State, ...]]:
        """What leaves all blocks (B, T, K D) after each of ids (B, T), and the last state."""
        found = [
            self.member.outputs(torch, own, ids, share, hooks)
            for own, share in zip(w["members"], self._shares(state), strict=True)
        ]
        return torch.concat([x for x, _ in found], -1), sum((after for _, after in found), ())

    def _through(
        self, xp: Any, w: Weights, read: tuple[Array, ...], state: tuple[State, ...]
    ) -> tuple[Array, tuple[State, ...]]:
        found = [
            self.member._through(xp, own, own_read, share)
            for own, own_read, share in zip(
                w["members"], self._shares(read), self._shares(state), strict=True
            )
        ]
        return xp.concat([x for x, _ in found], -1), sum((after for _, after in found), ())

    def _shares(self, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What of `values`, which has as much for each member, is whose."""
        size = len(values) // self.config.members
        return [values[k * size : (k + 1) * size] for k in range(self.config.members)]

    def _weights(self) -> Found:
        return {
            f"{prefix}{name}": found
            for prefix in self._prefixes
            for name, found in self.member._weights().items()
        }
