"""An n-gram model: interpolated modified Kneser-Ney, of every order up to its own at once.

    p_d(w | context) = (c(w) - δ(c(w))) / N + λ p_{d-1}(w | context without its farthest token)

c are the counts at the context's last d tokens: how often w came there at the highest order, and in
how many longer contexts at the others. N is their sum, δ the discount of a count, λ = Σ δ / N what
is left to the shorter context. p of no context is mixed with all tokens alike; a context that was
never seen leaves all to the shorter one.

Source: Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling",
sec. 3; Kneser and Ney 1995.

N rows, V vocabulary, n orders, D = n - 1 tokens of the longest context.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from charlm.errors import DataError

NAMES = ("keys", "begins", "symbols", "counts")
ABSENT = -1  # in a history, before its first token; as a node, a context that was never seen
MOST_ORDER = 32
KEPT = 1 << 21  # probabilities of contexts read last, so that the same one costs nothing


@dataclass(frozen=True)
class Estimate:
    """What an n-gram model expects after N histories, by each of its orders.

    `p` (N, n, V), float64, are probabilities, the order rising. `known` (N, 2 D) tells what they
    rest on, from one token of context up: log(1 + the counts there), and what of the probability
    is left to the shorter context.
    """

    p: np.ndarray
    known: np.ndarray

    @cached_property
    def logs(self) -> np.ndarray:
        """The logarithms (N, n, V) of p, float32."""
        return np.log(self.p.astype(np.float32))

    @cached_property
    def entropies(self) -> np.ndarray:
        """The entropies (N, n) of the distributions, float32."""
        return -(self.p.astype(np.float32) * self.logs).sum(axis=-1)


@dataclass(frozen=True)
class _Known:
    """What is known of one context: its node, p (V,), and its part of Estimate.known.

    Also the logarithms (V,) of p and its entropy, float32.
    """

    node: int
    p: np.ndarray
    known: tuple[float, float]
    logs: np.ndarray
    entropy: float


def histories(
    ids: np.ndarray,
    vocabulary: int,
    order: int,
    boundary: int | None = None,
    opening: Sequence[int] = (),
) -> np.ndarray:
    """The history (T, D) before each of ids (T,), as a network reads them.

    That is from the id `vocabulary` on, which comes before a text and its `opening`, or before each
    record that a `boundary` has ended.
    """
    read = np.concatenate([[vocabulary, *opening], ids])
    begun = len(read) - len(ids)
    room = np.arange(begun, len(read))  # how many tokens there are before each
    if boundary is not None:
        ends = np.flatnonzero(ids[:-1] == boundary)
        read[ends + begun] = vocabulary
        firsts = np.concatenate([[begun], ends + 1 + begun])
        room = room - firsts[np.searchsorted(firsts, room, "right") - 1] + 1
    found = np.full((len(ids), order - 1), ABSENT, np.int32)
    for back in range(1, order):
        there = np.flatnonzero(room >= back)
        found[there, back - 1] = read[there + begun - back]
    return found


class Ngram:
    """Counts over ids 0..V-1 with what looks them up.

    `arrays` has by name, for each depth d from 0, `{d}.keys`: the nodes there, sorted, as parent *
    (V + 1) + token; `{d}.begins`: where the entries of each node begin; `{d}.symbols` and
    `{d}.counts`: the entries, sorted by token; and `discounts` (n, 4). A history (N, D) holds the
    last D tokens of each row, the last one first; it is all the state that there is.
    """

    def __init__(self, vocabulary: int, arrays: dict[str, np.ndarray]) -> None:
        self.vocabulary = vocabulary
        self.arrays = arrays
        self.discounts = arrays["discounts"]
        self.order = len(self.discounts)
        self._tables = [tuple(arrays[f"{d}.{name}"] for name in NAMES) for d in range(self.order)]
        self._after = lru_cache(KEPT // vocabulary + self.order)(self._worked_out)
        self._sums = lru_cache(None)(self._summed)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is made anew: what was worked out is no part of it."""
        return Ngram, (self.vocabulary, self.arrays)

    @classmethod
    def of_tables(
        cls, vocabulary: int, tables: list[dict[str, np.ndarray]], discounts: list[np.ndarray]
    ) -> "Ngram":
        """The model of these tables by depth, each array in the smallest type that holds it."""
        arrays = {
            f"{depth}.{name}": _small(table[name])
            for depth, table in enumerate(tables)
            for name in NAMES
        }
        return cls(vocabulary, {**arrays, "discounts": np.stack(discounts)})

    @classmethod
    def checked(cls, vocabulary: int, arrays: dict[str, np.ndarray]) -> "Ngram":
        """The model of arrays from a file. Raises DataError for any that counting never makes."""
        try:
            discounts = arrays["discounts"]
            sane = discounts.ndim == 2 and discounts.shape[1] == 4 and discounts.dtype == np.float64
            sane = sane and 0 < len(discounts) <= MOST_ORDER
            sane = sane and bool(((discounts >= 0) & (discounts <= np.arange(4))).all())
            sane = sane and arrays.keys() == {
                "discounts",
                *(f"{d}.{name}" for d in range(len(discounts)) for name in NAMES),
            }
            parents = 1
            for depth in range(len(discounts) if sane else 0):
                table = {name: arrays[f"{depth}.{name}"] for name in NAMES}
                sane = sane and _is_table(table, parents, vocabulary, depth)
                parents = len(table["keys"])
        except KeyError:
            sane = False
        if not sane:
            raise DataError("the model's counts are damaged; copy it again from where it was made.")
        return cls(vocabulary, arrays)

    @property
    def size_bytes(self) -> int:
        """The bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def ngrams(self) -> list[int]:
        """How many n-grams of each order it holds."""
        return [len(symbols) for _, _, symbols, _ in self._tables]

    def initial_history(self, batch: int) -> np.ndarray:
        """The history (batch, D), int32, before anything was read."""
        return np.full((batch, self.order - 1), ABSENT, np.int32)

    def advanced(self, history: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The history (N, D) after ids (N,)."""
        if self.order == 1:
            return history
        return np.concatenate([ids[:, None].astype(np.int32), history[:, :-1]], axis=1)

    def estimate(self, history: np.ndarray) -> Estimate:
        """What each order expects after those histories (N, D)."""
        if len(history) == 1:
            return self._estimate_one(tuple(history[0].tolist()))
        return self.smoothed(self.counts(*at) for at in enumerate(self.nodes(history)))

    def nodes(self, history: np.ndarray) -> list[np.ndarray]:
        """The nodes (N,) at each depth of histories (N, D)."""
        nodes = [np.zeros(len(history), np.int64)]
        for depth in range(1, self.order):
            nodes.append(self._children(depth, nodes[-1], history[:, depth - 1]))
        return nodes

    def smoothed(self, counts_by_depth: Iterable[np.ndarray]) -> Estimate:
        """The estimate from the counts (N, V) at each depth."""
        found, known = [], []
        p: Any = 1 / self.vocabulary
        for depth, counts in enumerate(counts_by_depth):
            taken = self.discounts[depth][np.minimum(counts, 3).astype(np.intp)]
            totals, left = counts.sum(axis=1), taken.sum(axis=1)
            seen = totals > 0
            totals_or_1 = np.where(seen, totals, 1)
            left = np.where(seen, left / totals_or_1, 1)
            p = (counts - taken) / totals_or_1[:, None] + left[:, None] * p
            found.append(p)
            if depth:
                known += [np.log1p(totals), left]
        rests_on = np.stack(known, axis=1) if known else np.empty((len(p), 0))
        return Estimate(np.stack(found, axis=1), rests_on)

    def count_of(self, depth: int, nodes: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The counts (N,) at a depth of ids (N,) at nodes (N,)."""
        _, begins, symbols, counts = self._tables[depth]
        if not len(symbols):
            return np.zeros(len(ids), np.int64)
        seen = nodes != ABSENT
        low = np.where(seen, begins[nodes], 0).astype(np.int64)
        end = np.where(seen, begins[nodes + 1], 0).astype(np.int64)
        high = end
        while (low < high).any():  # a binary search in all rows at once
            middle = (low + high) // 2
            less = (low < high) & (symbols[np.minimum(middle, len(symbols) - 1)] < ids)
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        at = np.minimum(low, len(symbols) - 1)
        return np.where((low < end) & (symbols[at] == ids), counts[at], 0)

    def count_at(self, depth: int, node: int, id: int) -> int:
        """The count of `id` at a node."""
        if node == ABSENT:
            return 0
        _, begins, symbols, counts = self._tables[depth]
        own = symbols[begins[node] : begins[node + 1]]
        at = int(own.searchsorted(id))
        return int(counts[begins[node] + at]) if at < len(own) and own[at] == id else 0

    def sums(self, depth: int, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The counts in all (N,) at nodes (N,), and what the discounts take from them."""
        _, _, total, rest = self._sums(depth)
        seen = nodes != ABSENT
        return np.where(seen, total[nodes], 0), np.where(seen, (total * rest)[nodes], 0)

    def estimate_of(self, history: np.ndarray, ids: np.ndarray) -> Estimate:
        """The estimate of ids (N,) alone, each after its history (N, D): `p` is (N, n, 1)."""
        found, known = [], []
        p: Any = 1 / self.vocabulary
        for depth, nodes in enumerate(self.nodes(history)):
            entries, kept, total, rest = self._sums(depth)
            wanted = nodes * self.vocabulary + ids
            at = entries.searchsorted(wanted)
            own = np.where(entries[at] == wanted, kept[at], 0)
            totals, left = total[nodes], rest[nodes]
            p = own / np.maximum(totals, 1) + left * p
            found.append(p)
            if depth:
                known += [np.log1p(totals), left]
        rests_on = np.stack(known, axis=1) if known else np.empty((len(ids), 0))
        return Estimate(np.stack(found, axis=1)[..., None], rests_on)

    def _estimate_one(self, context: tuple[int, ...]) -> Estimate:
        """The estimate of a single row, where it is the number of operations that counts."""
        found = [self._after(context[:depth]) for depth in range(self.order)]
        known = [number for one in found[1:] for number in one.known]
        estimate = Estimate(np.array([[one.p for one in found]]), np.array([known]))
        # What was worked out once, in the place of the properties.
        vars(estimate)["logs"] = np.array([[one.logs for one in found]])
        vars(estimate)["entropies"] = np.array([[one.entropy for one in found]], np.float32)
        return estimate

    def _worked_out(self, context: tuple[int, ...]) -> "_Known":
        """What is expected after a context, whose last token is the first."""
        depth = len(context)
        if depth:
            shorter = self._after(context[:-1])
            node, p = self._child(depth, shorter.node, context[-1]), shorter.p
            if node == ABSENT:
                return replace(shorter, node=ABSENT, known=(0.0, 1.0))
        else:
            node, p = 0, np.full(self.vocabulary, 1 / self.vocabulary)
        _, begins, symbols, counts = self._tables[depth]
        own = slice(int(begins[node]), int(begins[node + 1]))
        seen = counts[own].astype(np.float64)
        taken = self.discounts[depth][np.minimum(seen, 3).astype(np.intp)]
        total = float(seen.sum())
        if not total:
            return _known(node, p, (0.0, 1.0))
        left = float(taken.sum()) / total
        p = left * p
        p[symbols[own]] += (seen - taken) / total
        return _known(node, p, (math.log1p(total), left))

    def _child(self, depth: int, parent: int, token: int) -> int:
        """The node at a depth of the parent's context with one more token, or ABSENT."""
        keys = self._tables[depth][0]
        if ABSENT in (parent, token) or not len(keys):
            return ABSENT
        wanted = parent * (self.vocabulary + 1) + token
        if wanted > keys[-1]:
            return ABSENT
        found = int(keys.searchsorted(keys.dtype.type(wanted)))
        return found if keys[found] == wanted else ABSENT

    def _children(self, depth: int, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The nodes (N,) at a depth: those of the parents' contexts with one more token."""
        keys = self._tables[depth][0]
        absent = (parents == ABSENT) | (tokens == ABSENT)
        if not len(keys):
            return np.full(len(parents), ABSENT)
        wanted = parents * (self.vocabulary + 1) + tokens
        # searchsorted would copy all keys of another type.
        beyond = wanted > int(keys[-1])
        wanted = np.where(absent | beyond, 0, wanted).astype(keys.dtype)
        found = np.minimum(keys.searchsorted(wanted), len(keys) - 1)
        return np.where(~absent & ~beyond & (keys[found] == wanted), found, ABSENT)

    def _summed(self, depth: int) -> tuple[np.ndarray, ...]:
        """Of a depth's entries node * V + token, and the count less its discount; of its nodes the
        counts in all, and what is left to the shorter context.

        The last of each, where ABSENT leads too, are of what was never seen.
        """
        _, begins, symbols, counts = self._tables[depth]
        nodes = len(begins) - 1
        bounds = begins.astype(np.int64)
        owners = np.repeat(np.arange(nodes), bounds[1:] - bounds[:-1])
        taken = self.discounts[depth][np.minimum(counts, 3)]
        total = np.bincount(owners, counts, nodes + 1)
        rest = np.bincount(owners, taken, nodes + 1)
        rest = np.where(total > 0, rest / np.maximum(total, 1), 1)
        entries = np.append(owners * self.vocabulary + symbols, np.iinfo(np.int64).max)
        return entries, np.append(counts - taken, 0), total, rest

    def counts(self, depth: int, nodes: np.ndarray) -> np.ndarray:
        """The counts (N, V), float64, at nodes (N,)."""
        _, begins, symbols, counts = self._tables[depth]
        found = np.zeros((len(nodes), self.vocabulary))
        rows = np.flatnonzero(nodes != ABSENT)
        firsts = begins[nodes[rows]].astype(np.int64)
        lengths = begins[nodes[rows] + 1] - firsts
        shifts = firsts - np.cumsum(lengths) + lengths
        places = np.arange(int(lengths.sum())) + np.repeat(shifts, lengths)
        found[np.repeat(rows, lengths), symbols[places]] = counts[places]
        return found


def _known(node: int, p: np.ndarray, known: tuple[float, float]) -> _Known:
    p_32 = p.astype(np.float32)
    logs = np.log(p_32)
    return _Known(node, p, known, logs, -float(p_32 @ logs))


def _is_table(table: dict[str, np.ndarray], parents: int, vocabulary: int, depth: int) -> bool:
    """Whether a depth's table can be looked up, whose contexts have so many parents."""
    if not all(a.ndim == 1 and a.dtype.kind == "u" for a in table.values()):
        return False
    keys, begins, symbols, counts = (table[name] for name in NAMES)
    if (
        len(begins) != len(keys) + 1
        or len(symbols) != len(counts)
        or (not depth and len(keys) != 1)
    ):
        return False
    return bool(
        begins[0] == 0
        and begins[-1] == len(symbols)
        and (begins[1:] >= begins[:-1]).all()
        and (keys[1:] > keys[:-1]).all()
        and (not len(keys) or int(keys[-1]) < parents * (vocabulary + 1))
        and int(symbols.max(initial=0)) < vocabulary
        and int(counts.min(initial=1)) > 0
    )


def _small(values: np.ndarray) -> np.ndarray:
    """The values, none negative, in the smallest unsigned type that holds the largest."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
