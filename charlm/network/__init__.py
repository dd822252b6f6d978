"""The network around the cells, from ids to logits: one-sided or reading from both sides."""

from charlm.config import NetworkConfig
from charlm.network.bidirectional import Bidirectional
from charlm.network.hooks import Hooks
from charlm.network.network import Network

__all__ = ["Bidirectional", "Hooks", "Network", "build"]


def build(config: NetworkConfig, vocabulary: int) -> Network | Bidirectional:
    """The network that `config` describes over ids 0..vocabulary-1."""
    return (Bidirectional if config.bidirectional else Network)(config, vocabulary)
