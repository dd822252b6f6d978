"""The network around the cells, from ids to logits: one-sided, from both sides, several or none."""

from charlm.config import NO_CELL, NetworkConfig
from charlm.network.bidirectional import Bidirectional
from charlm.network.ensemble import Ensemble
from charlm.network.hooks import Hooks
from charlm.network.network import Network
from charlm.network.uniform import Uniform

__all__ = ["Bidirectional", "Ensemble", "Hooks", "Network", "Uniform", "build"]


def build(config: NetworkConfig, vocabulary: int) -> Network | Bidirectional | Ensemble:
    """The network that `config` describes over ids 0..vocabulary-1."""
    if config.cell == NO_CELL:
        return Uniform(config, vocabulary)
    if (config.members or 1) > 1:
        return Ensemble(config, vocabulary)
    return (Bidirectional if config.bidirectional else Network)(config, vocabulary)
