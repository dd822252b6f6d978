"""What an n-gram model holds, some at a time: its n-grams, and the contexts that they stand in.

A history here is one of `Ngram`, ABSENT beyond the depth that it is of.

N rows, D = order - 1 tokens of the longest context.
"""

from collections.abc import Iterator

import numpy as np

from charlm.ngram.model import Ngram


def shortened(ngram: Ngram) -> Ngram:
    """The model without the highest orders where these have no n-gram; one order stays."""
    order = max(depth for depth, size in enumerate(ngram.ngrams, 1) if size or depth == 1)
    own = {name: array for name, array in ngram.arrays.items() if name != "discounts"}
    own = {name: array for name, array in own.items() if int(name.split(".")[0]) < order}
    return Ngram(ngram.vocabulary, {**own, "discounts": ngram.discounts[:order]})


def contexts(ngram: Ngram, depth: int, most: int) -> Iterator[np.ndarray]:
    """The contexts (N, D) of `depth` tokens that something came after, N <= most."""
    nodes = len(ngram.arrays[f"{depth}.keys"])
    for first in range(0, nodes, most):
        yield _histories(ngram, depth, np.arange(first, min(first + most, nodes)))


def entries(ngram: Ngram, depth: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What came after contexts of `depth` tokens: these (N, D) and ids (N,), N <= most."""
    begins, symbols = (ngram.arrays[f"{depth}.{name}"] for name in ("begins", "symbols"))
    for first in range(0, len(symbols), most):
        # searchsorted would copy all of another type.
        places = np.arange(first, min(first + most, len(symbols))).astype(begins.dtype)
        nodes = begins.searchsorted(places, "right") - 1
        yield _histories(ngram, depth, nodes), symbols[places].astype(np.int64)


def holds(ngram: Ngram, depth: int, history: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Whether each of ids (N,) came after the first `depth` tokens of its history (N, D)."""
    return ngram.count_of(depth, ngram.nodes(history)[depth], ids) > 0


def _histories(ngram: Ngram, depth: int, nodes: np.ndarray) -> np.ndarray:
    found = ngram.initial_history(len(nodes))
    for d in range(depth, 0, -1):
        keys = ngram.arrays[f"{d}.keys"][nodes].astype(np.int64)
        nodes, found[:, d - 1] = np.divmod(keys, ngram.vocabulary + 1)
    return found
