"""Counts the n-grams of a text, as the tables that an `Ngram` looks them up in.

A context of d tokens is a node at depth d, and its parent is the context without the token that
lies farthest back. So nodes at depth d are numbered by sorting (parent, token), and nothing depends
on how large the vocabulary is. A context whose parent was never seen can't be found, and none that
occurred less often than its `least` has a node of its own.

N tokens, V vocabulary, D = order - 1 tokens of the longest context.
"""

import numpy as np

from charlm.ngram.model import ABSENT, Ngram, histories

ORDERS = {"letters": 7, "words": 4}
LETTERS = 1024  # a vocabulary up to so large is one of letters or bytes
BYTES_PER_TOKEN, MOST_BYTES = 8, 100_000_000  # of the tables, unless an order is asked for
MOST_TOKENS = 1 << 24  # of a larger text as many are counted, in BLOCKS spread over it
BLOCKS = 64
FALLBACK = (0.0, 0.5, 1.0, 1.5)  # KenLM's discounts where the counts of counts give none


def usual_order(vocabulary: int) -> int:
    """The order of a model whose vocabulary has so many tokens, where none is asked for."""
    return ORDERS["letters" if vocabulary <= LETTERS else "words"]


def count(
    ids: np.ndarray,
    vocabulary: int,
    *,
    order: int | None = None,
    boundary: int | None = None,
    opening: tuple[int, ...] = (),
) -> Ngram:
    """The n-gram model of ids (N,), each below `vocabulary`.

    `boundary` ends a record, beyond which no context reaches; without one the text stands after
    `opening`, as the network reads it. The first context of a text or record is the id
    `vocabulary`, which is what a network reads before the first token. Without an `order` it is the
    usual one, and of the longest contexts those that were seen once are left out where the tables
    would else take more than BYTES_PER_TOKEN or MOST_BYTES.
    """
    ids = _spread(np.asarray(ids))
    if order is not None:
        return _counted(ids, vocabulary, order, boundary, opening, least=1)
    order, least = usual_order(vocabulary), 1
    room = min(MOST_BYTES, BYTES_PER_TOKEN * max(len(ids), 1 << 14))
    found = _counted(ids, vocabulary, order, boundary, opening, least)
    while found.size_bytes > room and least < 1 << 20:
        least *= 2
        found = _counted(ids, vocabulary, order, boundary, opening, least)
    return found


def discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more: (4,), float64.

    Source: Chen and Goodman 1998, "An empirical study of smoothing techniques for language
    modeling", eq. 26, from the counts of counts; FALLBACK where a text is too small or too odd for
    these.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == i)) for i in (1, 2, 3, 4))
    if not n1 * n2 * n3 * n4:
        return np.array(FALLBACK)
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    sane = (found[1:] > 0).all() and (found <= np.arange(4)).all()
    return found if sane else np.array(FALLBACK)


def _spread(ids: np.ndarray) -> np.ndarray:
    """The ids, or MOST_TOKENS of them in BLOCKS that lie as far apart as they can."""
    if len(ids) <= MOST_TOKENS:
        return ids
    size = MOST_TOKENS // BLOCKS
    begins = np.linspace(0, len(ids) - size, BLOCKS).astype(np.int64)
    return np.concatenate([ids[begin : begin + size] for begin in begins])


def _counted(
    ids: np.ndarray,
    vocabulary: int,
    order: int,
    boundary: int | None,
    opening: tuple[int, ...],
    least: int,
) -> Ngram:
    """The model whose contexts of two tokens and more were seen `least` times each."""
    history = histories(ids, vocabulary, order, boundary, opening)
    targets = ids.astype(np.int64)
    nodes = np.zeros(len(ids), np.int64)  # of each place, the one of its context
    keys = np.zeros(1, np.int64)
    tables: list[dict[str, np.ndarray]] = []
    for depth in range(order):
        if depth:
            deep = history[:, depth - 1] != ABSENT
            history, targets, nodes = history[deep], targets[deep], nodes[deep]
            keys = nodes * (vocabulary + 1) + history[:, depth - 1]
            keys, nodes = np.unique(keys, return_inverse=True)
        entries, counts = np.unique(nodes * vocabulary + targets, return_counts=True)
        owners, symbols = np.divmod(entries, vocabulary)
        if depth:
            _continue(tables[-1], keys // (vocabulary + 1), owners, symbols, vocabulary)
        if depth > 1 and least > 1:
            kept = np.bincount(owners, counts, len(keys)) >= least
            numbers = np.cumsum(kept) - 1
            inside = kept[nodes]
            history, targets = history[inside], targets[inside]
            nodes, keys = numbers[nodes[inside]], keys[kept]
            inside = kept[owners]
            owners, symbols, counts = numbers[owners[inside]], symbols[inside], counts[inside]
        begins = np.searchsorted(owners, np.arange(len(keys) + 1))
        tables.append(
            {"keys": keys, "begins": begins, "symbols": symbols, "counts": counts, "owners": owners}
        )
    return Ngram.of_tables(vocabulary, tables, [discounts(table["counts"]) for table in tables])


def _continue(
    table: dict[str, np.ndarray],
    parents: np.ndarray,
    owners: np.ndarray,
    symbols: np.ndarray,
    vocabulary: int,
) -> None:
    """Makes the counts of a table continuation counts: in how many longer contexts each came.

    `parents` has the node in it of each longer context, and `owners` and `symbols` what came in
    these. What came at the very beginning alone is in no longer one, and keeps its count.
    """
    entries = table["owners"] * vocabulary + table["symbols"]
    longer = parents[owners] * vocabulary + symbols
    found = np.bincount(np.searchsorted(entries, longer), minlength=len(entries))
    table["counts"] = np.where(found > 0, found, table["counts"])
