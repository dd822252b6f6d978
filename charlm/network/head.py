"""The head: from what leaves the blocks to the logits of the next symbol.

    logits = W norm(x) + b

A tied head has the embedding for W, after one product more where the two differ in width: Press and
Wolf 2017 (arXiv:1608.05859); Inan, Khosravi and Socher 2017 (arXiv:1611.01462).

A mixture of K softmaxes is not bound by the rank of W; its logits are logarithms of probabilities:

    logits = log Σ_k π_k softmax(W tanh(L_k norm(x) + l_k) + b),  π = softmax(P norm(x))

Source: Yang et al. 2018 (arXiv:1711.03953), eq. 3 and below.

B rows, T time steps, D width, E embedding width, V vocabulary.
"""

from typing import Any

from charlm import ops
from charlm.cells.initial import Constant, Uniform
from charlm.config import NetworkConfig
from charlm.network.costs import WIDE, costs
from charlm.network.stack import Found, Weights, norm, norm_weights, under
from charlm.ops import Array


class Head:
    """The head of a network of that (settled) config."""

    def __init__(self, config: NetworkConfig, vocabulary: int) -> None:
        self.config = config
        self.vocabulary = vocabulary

    def weights(self) -> Found:
        """The shape and the initialiser of every weight, by its name in a model file."""
        config, V = self.config, self.vocabulary
        D, K = config.width, config.mixtures
        reads = config.embedding if config.tied else D
        uniform = Uniform(D**-0.5)
        found = norm_weights(config.norm, "norm.", D)
        if K > 1:
            found["head.prior"] = ((K, D), uniform)
            found["head.latent"] = ((K * reads, D), uniform)
            found["head.latent_bias"] = ((K * reads,), Constant(0.0))
        elif reads != D:
            found["head.projection"] = ((reads, D), uniform)
        if not config.tied:
            found["head.weight"] = ((V, D), uniform)
        found["head.bias"] = ((V,), Constant(0.0))
        return found

    def arrange(self, flat: dict[str, Array]) -> Weights:
        """The head's weights by name, its norm's under "norm"."""
        arranged = {**under(flat, "head."), "norm": under(flat, "norm.")}
        if self.config.tied:
            arranged["weight"] = flat["embedding"][: self.vocabulary]
        return arranged

    def logits(self, xp: Any, w: Weights, x: Array) -> Array:
        """The logits (..., V) from x (..., D)."""
        K = self.config.mixtures
        if K == 1:
            return ops.affine(xp, self._projected(xp, w, x), w["weight"], w["bias"])
        x = norm(xp, self.config.norm, w["norm"], x)
        latent = xp.tanh(x @ w["latent"].T + w["latent_bias"])
        latent = latent.reshape(*x.shape[:-1], K, -1)
        each = ops.log_softmax(xp, latent @ w["weight"].T + w["bias"])  # (..., K, V)
        share = ops.log_softmax(xp, x @ w["prior"].T)[..., None]
        return ops.logsumexp(xp, each + share, -2)[..., 0, :]

    @property
    def is_wide(self) -> bool:
        """Whether `costs` finds what tokens cost, without the logits of all the vocabulary."""
        return self.config.mixtures == 1 and self.vocabulary >= WIDE

    def costs(self, xp: Any, w: Weights, x: Array, ids: Array) -> tuple[Array, Array, Array]:
        """What ids (N,) cost after x (N, D), where the head `is_wide`; see `network.costs`."""
        return costs(xp, self._projected(xp, w, x), w["weight"], w["bias"], ids)

    def _projected(self, xp: Any, w: Weights, x: Array) -> Array:
        """What a row of the head's matrix is multiplied by, (..., D or E) from x (..., D)."""
        x = norm(xp, self.config.norm, w["norm"], x)
        return x @ w["projection"].T if "projection" in w else x
