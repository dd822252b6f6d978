"""How long a run of characters a text shares with the training text of a corpus."""

from charlm.novelty.build import build
from charlm.novelty.index import Index, Match, Watch

__all__ = ["Index", "Match", "Watch", "build"]
