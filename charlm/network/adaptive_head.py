"""The adaptive softmax: a head for large vocabularies, in which rare symbols cost little.

The ids, the most frequent first, are cut into a short list and tails. A first softmax is over the
short list and one entry for each tail, a further one is within each tail, from a narrower vector:

    log p(id) = log softmax(W norm(x) + b)[id]                      of the short list
    log p(id) = log softmax(W norm(x) + b)[tail] + log softmax(U_tail D_tail norm(x))[id]

Its logits are these logarithms. In training a tail is looked at only where a target is in it.

Source: Grave et al. 2017 (arXiv:1609.04309), with its factor of 4 between the widths of tails.

N rows, D width, V vocabulary.
"""

from typing import Any

from charlm import ops
from charlm.cells.initial import Uniform
from charlm.config import NetworkConfig
from charlm.network.head import Head
from charlm.network.stack import Found, Weights, norm
from charlm.ops import Array

# The shares of a vocabulary at which the tails begin. Of English words in order of frequency the
# first tenth of 20,000 makes up nine tenths of a text.
CUTS = (0.1, 0.4)
NARROWING = 4
LEAST_WIDTH = 8


class AdaptiveHead(Head):
    """The adaptive head of a network of that (settled) config."""

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        cuts = {int(cut * vocabulary) for cut in CUTS} - {0}
        self.edges = [*sorted(cuts), vocabulary]

    def weights(self) -> Found:
        """The shape and the initialiser of every weight, by its name in a model file."""
        D = self.config.width
        uniform = Uniform(D**-0.5)
        rows = self.edges[0] + len(self.edges) - 1
        found = super().weights()
        found["head.weight"] = ((rows, D), uniform)
        found["head.bias"] = ((rows,), found["head.bias"][1])
        for i, (begin, end) in enumerate(self._tails()):
            narrow = max(D // NARROWING ** (i + 1), min(LEAST_WIDTH, D))
            found[f"head.down_{i}"] = ((narrow, D), uniform)
            found[f"head.tail_{i}"] = ((end - begin, narrow), Uniform(narrow**-0.5))
        return found

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) from x (..., D): the logarithms of the probabilities."""
        first, x = self._first(xp, w, x)
        short = self.edges[0]
        tails = [
            first[..., short + i : short + i + 1] + self._within(xp, w, x, i)
            for i in range(len(self.edges) - 1)
        ]
        return xp.concat([first[..., :short], *tails], -1)

    @property
    def is_wide(self) -> bool:
        """Never: its logits are made of parts."""
        return False

    def nats(self, torch: Any, w: Weights, x: Array, targets: Array) -> Array:
        """What each of targets (N,) costs after x (N, D): (N,), without the logits of the rest."""
        first, x = self._first(torch, w, x)
        short = self.edges[0]
        at = targets
        for i, (begin, _) in enumerate(self._tails()):
            at = torch.where(targets >= begin, short + i, at)
        found = first.gather(1, at[:, None])[:, 0]
        for i, (begin, end) in enumerate(self._tails()):
            rows = ((targets >= begin) & (targets < end)).nonzero()[:, 0]
            within = self._within(torch, w, x[rows], i)
            costs = within.gather(1, (targets[rows] - begin)[:, None])[:, 0]
            found = found.index_add(0, rows, costs)
        return -found

    def _tails(self) -> list[tuple[int, int]]:
        return list(zip(self.edges, self.edges[1:], strict=False))

    def _first(self, xp: Any, w: Weights, x: Array) -> tuple[Array, Array]:
        x = norm(xp, self.config.norm, w["norm"], x)
        z = ops.affine(xp, x, w["weight"], w["bias"])
        return ops.log_softmax(xp, z), x

    def _within(self, xp: Any, w: Weights, x: Array, i: int) -> Array:
        return ops.log_softmax(xp, (x @ w[f"down_{i}"].T) @ w[f"tail_{i}"].T)
