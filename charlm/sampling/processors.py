"""Processors: `logits (B, V) -> logits (B, V)`, each one way to bend a distribution.

They are applied in the order ban, temperature, top-k, top-p, min-p. A token that is left out has
the logit -inf. Laws: every row keeps its most likely token that is not banned; at its neutral value
a processor changes nothing.
"""

from collections.abc import Callable

import numpy as np

from charlm.config import SamplingConfig

Processor = Callable[[np.ndarray], np.ndarray]


def pipeline(config: SamplingConfig) -> list[Processor]:
    """The processors that `config` asks for, in their one order; neutral ones are left out."""
    found: list[Processor] = []
    if config.temperature not in (0, 1):
        found.append(temperature(config.temperature))
    if config.top_k is not None:
        found.append(top_k(config.top_k))
    if config.top_p < 1:
        found.append(top_p(config.top_p))
    if config.min_p > 0:
        found.append(min_p(config.min_p))
    return found


def ban(ids: list[int]) -> Processor:
    """Leaves these ids out, which must not be all there are."""

    def process(logits: np.ndarray) -> np.ndarray:
        bent = logits.copy()
        bent[..., ids] = -np.inf
        return bent

    return process


def temperature(value: float) -> Processor:
    """Divides the logits by `value`, which is above 0."""

    def process(logits: np.ndarray) -> np.ndarray:
        # float64, and quietly: next to 0 all but the likeliest go to -inf, as they should.
        with np.errstate(over="ignore"):
            return _shifted(logits.astype(np.float64)) / value

    return process


def top_k(count: int) -> Processor:
    """Keeps the `count` most likely tokens, and those as likely as the last of them."""

    def process(logits: np.ndarray) -> np.ndarray:
        if count >= logits.shape[-1]:
            return logits
        least = np.partition(logits, -count, axis=-1)[..., -count, None]
        return np.where(logits >= least, logits, -np.inf)

    return process


def top_p(mass: float) -> Processor:
    """Keeps the fewest most likely tokens that together have probability `mass` or more.

    Source: Holtzman et al. 2020 (arXiv:1904.09751), sec. 3.1.
    """

    def process(logits: np.ndarray) -> np.ndarray:
        order = np.argsort(-logits, axis=-1, kind="stable")
        sorted_logits = np.take_along_axis(logits, order, axis=-1)
        p = np.exp(_shifted(sorted_logits))
        p /= p.sum(axis=-1, keepdims=True)
        before = np.cumsum(p, axis=-1) - p  # the probability of all that are likelier
        kept = np.where(before < mass, sorted_logits, -np.inf)
        kept[..., 0] = sorted_logits[..., 0]
        bent = np.empty_like(logits)
        np.put_along_axis(bent, order, kept, axis=-1)
        return bent

    return process


def min_p(share: float) -> Processor:
    """Keeps the tokens at least `share` times as likely as the likeliest.

    Source: Nguyen et al. 2024 (arXiv:2407.01082), sec. 3.
    """

    def process(logits: np.ndarray) -> np.ndarray:
        return np.where(_shifted(logits) >= np.log(share), logits, -np.inf)

    return process


def _shifted(logits: np.ndarray) -> np.ndarray:
    """The logits less the row's largest: the same distribution, safe to divide or exponentiate."""
    return logits - logits.max(axis=-1, keepdims=True)
