"""What the coder is told to expect: whole numbers that sum to TOTAL, one for each symbol.

They are made from the logits by float64 arithmetic in one fixed order. Who decompresses must find
the very same numbers, so nothing here may depend on how the work is shared or batched.
"""

import hashlib

import numpy as np

from charlm.adaptation import Reader
from charlm.compression.spelling import Spelling
from charlm.config import AdaptationConfig
from charlm.errors import DataError

TOTAL = 1 << 24  # the precision of the range coder
ESCAPE = TOTAL >> 16  # what the escape has at least
PROBE_STEPS = 64

END = 256  # after a literal's bytes
# How much one byte seen outweighs one never seen: letters are few among 256 bytes.
SEEN = 16


class Predictor:
    """One stream, read as in training: what may follow, then what did.

    The symbols are the network's ids and the spelling's escape, which may be one more. A record's
    end leads back to the state before anything was read.
    """

    def __init__(self, reader: Reader, spelling: Spelling) -> None:
        self._reader = reader
        self._boundary = spelling.boundary
        self._escape = spelling.escape
        self._shares = np.zeros(max(reader.vocabulary, spelling.escape + 1))

    def counts(self) -> np.ndarray:
        """What each symbol has above 1 of TOTAL, for what comes next: int64."""
        self._shares[: self._reader.vocabulary] = shares(self._reader.logits)
        return counts(self._shares, self._escape)

    def read(self, symbol: int) -> None:
        """Goes on by one symbol. An escape that is no id tells the network nothing."""
        if symbol == self._boundary:
            self._reader.end(symbol)
        elif symbol < self._reader.vocabulary:
            self._reader.read(symbol)


class LiteralPredictor:
    """Bytes and END by how often each has come; whatever the text, it adapts."""

    def __init__(self) -> None:
        self._seen = np.ones(END + 1)

    def counts(self) -> np.ndarray:
        """What each of the 257 symbols has above 1 of TOTAL: int64."""
        return counts(self._seen)

    def read(self, symbol: int) -> None:
        """Goes on by one symbol."""
        self._seen[symbol] += SEEN


def shares(logits: np.ndarray) -> np.ndarray:
    """The probabilities (V,) of logits (1, V), float64, up to a factor: the largest is 1."""
    row = logits[0].astype(np.float64)
    top = row.max()
    if not np.isfinite(top):
        raise DataError("the model's logits are not numbers; train it again at a lower --lr.")
    return np.exp(row - top)


def counts(shares: np.ndarray, escape: int | None = None) -> np.ndarray:
    """What each symbol has above 1 of TOTAL, int64, for shares (n,) that are not negative.

    Everything has 1 and the escape ESCAPE more; the rest is shared out in proportion, rounded
    down, and what is left over goes to the largest. So counts + 1 sum to TOTAL, and no symbol is
    impossible.
    """
    free = TOTAL - len(shares) - (0 if escape is None else ESCAPE)
    found = (shares * (free / shares.sum())).astype(np.int64)
    found[shares.argmax()] += free - found.sum()
    if escape is not None:
        found[escape] += ESCAPE
    return found


def fingerprint(reader: Reader, config: AdaptationConfig) -> bytes:
    """8 bytes that tell whether two machines compute the same, from a fixed text.

    It has 64 ids, and more where that would not show how the `reader` learns, which it does as
    `config` says. The float64 shares go in besides the counts, as they differ sooner.
    """
    digest = hashlib.sha256()
    for t in range(PROBE_STEPS + 2 * config.adapt_context * (config.adapt != "none")):
        found = shares(reader.logits)
        digest.update(found.tobytes())
        digest.update(counts(found).tobytes())
        reader.read((t * 40503 >> 4) % reader.vocabulary)  # here and there in the vocabulary
    return digest.digest()[:8]
