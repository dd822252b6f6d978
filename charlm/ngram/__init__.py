"""Counts of a text: an n-gram model that predicts beside the network. No torch."""

from charlm.ngram.adaptive import AdaptiveNgram
from charlm.ngram.counting import count, usual_order
from charlm.ngram.model import Estimate, Ngram, histories

__all__ = ["AdaptiveNgram", "Estimate", "Ngram", "count", "histories", "usual_order"]
