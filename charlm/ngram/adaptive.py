"""An n-gram model that goes on counting in the text it reads.

An n-gram that was read is counted at the highest order, and where it was new there also at the next
lower one, and so on: a count of a lower order stays what Kneser-Ney's are, in how many longer
contexts a token came. What was just read weighs BOOST times what the training text had: it is
likelier to come again.

N rows, V vocabulary, D tokens of the longest context.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlm.ngram.model import ABSENT, Estimate, Ngram

BOOST = 2
MIXED_BITS = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two products are alike


@dataclass(slots=True)
class _Added:
    """What was added at one context: counts by token, their sum, and what discounts take more."""

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    taken: float = 0.0


class AdaptiveNgram:
    """The counts of `base`, which stays as it is, and of all that was added since.

    Law: what is expected depends on the n-grams added so far and on nothing else. Before any it is
    what `base` expects, but for rounding.
    """

    def __init__(self, base: Ngram) -> None:
        self.base = base
        self.order = base.order
        self.vocabulary = base.vocabulary
        self.initial_history = base.initial_history
        self.advanced = base.advanced
        self._discounts = base.discounts.tolist()
        self._added: list[dict[int, _Added]] = [{} for _ in range(base.order)]

    def add(self, history: np.ndarray, ids: np.ndarray) -> None:
        """Counts that ids (N,) came, each after its history (N, D)."""
        nodes = [some.tolist() for some in self.base.nodes(history)]
        keys, depths = _keys(history)
        for row, (id, deepest) in enumerate(zip(ids.tolist(), depths.tolist(), strict=True)):
            for depth in range(deepest, -1, -1):
                before = self.base.count_at(depth, nodes[depth][row], id)
                added = self._added[depth].setdefault(keys[depth][row], _Added())
                own = added.counts.get(id, 0)
                added.counts[id] = own + BOOST
                added.total += BOOST
                taken = self._discounts[depth]
                count = before + own
                added.taken += taken[min(count + BOOST, 3)] - taken[min(count, 3)]
                if count:
                    break

    def estimate(self, history: np.ndarray) -> Estimate:
        """What each order expects after those histories (N, D)."""
        keys, _ = _keys(history)
        nodes = self.base.nodes(history)
        return self.base.smoothed(
            self._counts(depth, nodes[depth], keys[depth]) for depth in range(self.order)
        )

    def estimate_of(self, history: np.ndarray, ids: np.ndarray) -> Estimate:
        """The estimate of ids (N,) alone, each after its history (N, D): `p` is (N, n, 1)."""
        found, known = [], []
        p: Any = 1 / self.vocabulary
        keys, _ = _keys(history)
        for depth, nodes in enumerate(self.base.nodes(history)):
            own = self.base.count_of(depth, nodes, ids).astype(np.float64)
            totals, taken = self.base.sums(depth, nodes)
            for row, (key, id) in enumerate(zip(keys[depth], ids.tolist(), strict=True)):
                added = self._added[depth].get(key)
                if added is not None:
                    own[row] += added.counts.get(id, 0)
                    totals[row] += added.total
                    taken[row] += added.taken
            seen = totals > 0
            totals_or_1 = np.where(seen, totals, 1)
            left = np.where(seen, taken / totals_or_1, 1)
            off = self.base.discounts[depth][np.minimum(own, 3).astype(np.intp)]
            p = (own - off) / totals_or_1 + left * p
            found.append(p)
            if depth:
                known += [np.log1p(totals), left]
        rests_on = np.stack(known, axis=1) if known else np.empty((len(ids), 0))
        return Estimate(np.stack(found, axis=1)[..., None], rests_on)

    def _counts(self, depth: int, nodes: np.ndarray, keys: list[int]) -> np.ndarray:
        """The counts (N, V), float64, at a depth: of the base, and added."""
        found = self.base.counts(depth, nodes)
        rows: list[int] = []
        tokens: list[int] = []
        counts: list[int] = []
        for row, key in enumerate(keys):
            added = self._added[depth].get(key)
            if added is not None:
                rows += [row] * len(added.counts)
                tokens += added.counts
                counts += added.counts.values()
        if rows:
            found[rows, tokens] += counts
        return found


def _keys(history: np.ndarray) -> tuple[list[list[int]], np.ndarray]:
    """A number for the context of each depth and row, and how many tokens (N,) each row has.

    A context that a row lacks has the number 0, which is no other's.
    """
    key = np.zeros(len(history), np.uint64) + np.uint64(1)
    found = [key.tolist()]
    there = np.ones(len(history), bool)
    for token in history.T:
        there = there & (token != ABSENT)
        key = (key ^ (token + 2).astype(np.uint64)) * MIXED_BITS
        key ^= key >> np.uint64(29)
        found.append(np.where(there, key, 0).tolist())
    return found, (history != ABSENT).cumprod(axis=1).sum(axis=1)
