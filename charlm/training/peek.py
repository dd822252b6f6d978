"""A sample of what a run has learned so far."""

import numpy as np

from charlm.config import SamplingConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Row
from charlm.sampling.text import Manner, opening, sample_texts


def peek(
    network: Network, weights: dict[str, np.ndarray], corpus: Corpus, config: TrainingConfig
) -> str:
    """A sample of `config.peek` characters, drawn with the run's own seed."""
    tokenizer = corpus.tokenizer
    pieces: list[str] = []
    sample_texts(
        NumpyEngine(network, weights),
        tokenizer,
        [Row(0, opening(tokenizer, corpus.records, np.empty(0, dtype=np.int64)))],
        Manner(SamplingConfig(), config.seed or 0, config.peek),
        emit=lambda row, text: pieces.append(text),
        ended=lambda row, sample: None,
    )
    return "".join(pieces)
