"""Every cell learns: a text whose entropy rate is known is predicted to within 3 % of it."""

import numpy as np
import pytest
import torch

from charlm import corpora
from charlm.cells import CELLS
from charlm.config import NetworkConfig, TrainingConfig
from charlm.corpora.markov import Chain
from charlm.network import build
from charlm.score import log_softmax
from charlm.training.begin import default_lr
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams
from charlm.training.trainer import Trainer

# The `markov` corpus is a chain of this kind over 27 symbols; `python -m bench learning` trains
# every cell on it, for a minute each.
CHAIN = Chain(order=2, symbols="\nabcdef", length=450_000, seed=1)
HELD_OUT = 20_000
BATCH, CONTEXT = 16, 64


def test_the_chain_is_of_the_kind_of_the_corpus():
    chain = corpora.describe("markov").chain
    assert (chain.order, type(chain)) == (CHAIN.order, Chain)


@pytest.fixture(scope="module")
def ids():
    text = b"".join(CHAIN.text()).decode("ascii")
    return np.array([CHAIN.symbols.index(symbol) for symbol in text])


def share_of_entropy(cell, ids, steps):
    """How many times the entropy rate a network of that cell takes to predict held-out text."""
    V = len(CHAIN.symbols)
    network = build(NetworkConfig(cell=cell, width=64), V)
    config = TrainingConfig(seed=1, steps=steps, lr=default_lr(network.config, "adamw"))
    streams = ContiguousStreams(ids[:-HELD_OUT], rows=BATCH, context=CONTEXT, start=V, seed=1)
    one = Trainer(network, config, initial_weights(network, 1), streams, torch.device("cpu"))
    for step in range(steps):
        one.step((step + 0.5) / steps)
    with torch.no_grad():
        w = network.arrange(one.weights)
        text = torch.from_numpy(ids[-HELD_OUT:].reshape(20, -1))
        logits, _ = network.scan(torch, w, text[:, :-1], network.initial_state(torch, w, 20))
    nats = -np.take_along_axis(log_softmax(logits.numpy()), text[:, 1:, None].numpy(), -1)
    known = CHAIN.order  # before that much was read, a prediction can't be as good
    return nats[:, known:].mean() / np.log(2) / CHAIN.entropy_bits_per_char()


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_comes_within_3_percent_of_the_entropy_rate(cell, ids):
    assert share_of_entropy(cell, ids, 400) < 1.03


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_a_cell_soon_comes_within_12_percent_of_the_entropy_rate(cell, ids):
    assert share_of_entropy(cell, ids, 120) < 1.12
