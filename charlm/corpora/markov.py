"""A text whose entropy rate is known exactly: a Markov chain over characters.

No model can score below that rate, so a score shows how far from the limit a model is. Every draw
is integer arithmetic on the raw output of PCG64, which numpy keeps the same on every machine and
in every version (NEP 19), so the text is too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# What the successors of one context get, in 256ths: 3 to 6 of them, 1.30 to 1.72 bits.
SHARES = ((160, 64, 32), (160, 48, 32, 16), (144, 64, 24, 16, 8), (160, 40, 24, 16, 8, 8))
BLOCK = 1 << 16  # characters a chunk


@dataclass(frozen=True)
class Chain:
    """A random chain over ASCII `symbols`, in which `order` characters decide what may follow.

    The first symbol may follow every context. So from everywhere, itself included, the context of
    first symbols alone is `order` steps away: the chain has one recurrent class and no period, and
    the text, which begins there, has the entropy rate of the stationary distribution.
    """

    order: int
    symbols: str
    length: int
    seed: int

    def weights(self) -> "np.ndarray":
        """How often each symbol follows each context, in 256ths: integers, (S,) * order + (S,)."""
        import numpy as np

        S = len(self.symbols)
        contexts = S**self.order
        raw = np.random.PCG64([self.seed, 0]).random_raw(contexts * S).reshape(contexts, S)
        shuffled = np.argsort(raw[:, 1:], axis=1, kind="stable") + 1  # every symbol but the first
        weights = np.zeros((contexts, S), dtype=np.int64)
        for row, choice in enumerate(raw[:, 0] % len(SHARES)):
            *shares, last = SHARES[choice]
            weights[row, shuffled[row, : len(shares)]] = shares
            weights[row, 0] = last
        return weights.reshape((S,) * (self.order + 1))

    def text(self) -> Iterator[bytes]:
        """The text, `length` characters in chunks."""
        import numpy as np

        S = len(self.symbols)
        contexts = S**self.order
        # Each context has 256 places, a symbol as many of them as its weight; a draw is a place.
        places = np.repeat(np.tile(np.arange(S), contexts), self.weights().ravel())
        successors = places.astype(np.uint8).tobytes()
        alphabet = self.symbols.encode("ascii").ljust(256)
        generator = np.random.PCG64([self.seed, 1])
        context = 0
        for start in range(0, self.length, BLOCK):
            ids = bytearray()
            for draw in (generator.random_raw(min(BLOCK, self.length - start)) >> 56).tolist():
                symbol = successors[256 * context + draw]
                context = (S * context + symbol) % contexts
                ids.append(symbol)
            yield bytes(ids.translate(alphabet))

    def entropy_bits_per_char(self) -> float:
        """The entropy rate: each context's entropy, weighed by how often the context occurs."""
        import numpy as np

        p = self.weights() / 256
        bits = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=-1)
        return float((stationary(p) * bits).sum())


def stationary(p: "np.ndarray") -> "np.ndarray":
    """The share of each context in the long run, (S,) * order; `p` as `Chain.weights`, over 256.

    By power iteration, to about 1e-13 in the sum of all errors.
    """
    import numpy as np

    shares = np.full(p.shape[:-1], 1 / p[..., 0].size)
    change = 1.0
    while change > 1e-14:
        # A context is left for the one without its oldest character and with the new one.
        after = (shares[..., None] * p).sum(axis=0)
        change = np.abs(after - shares).sum()
        shares = after
    return shares
