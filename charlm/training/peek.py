"""A sample of what a run has learned so far."""

import numpy as np

from charlm.config import SamplingConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Row
from charlm.sampling.text import Manner, opening, sample_texts

KEPT = 160  # characters of each that the log keeps


def peek(
    network: Network, weights: dict[str, np.ndarray], corpus: Corpus, config: TrainingConfig
) -> str:
    """A sample drawn with the run's own seed: KEPT characters, or `config.peek` if that is more.

    "" of a bidirectional network, which can't go on with a text.
    """
    if network.config.bidirectional:
        return ""
    tokenizer = corpus.tokenizer
    pieces: list[str] = []
    manner = Manner(SamplingConfig(), config.seed or 0, max(KEPT, config.peek or 0))
    begin = Row(0, opening(tokenizer, corpus.records))
    # Of a network that has gone wild anything may be drawn; whether it goes on is not decided here.
    with np.errstate(all="ignore"):
        sample_texts(
            NumpyEngine(network, weights),
            tokenizer,
            [begin],
            manner,
            emit=lambda row, text: pieces.append(text),
            ended=lambda row, sample: None,
        )
    return "".join(pieces)
