"""A large vocabulary's logits are made by blocks of tokens: the same update, in bounded memory."""

import numpy as np
import pytest
import torch
from support.trainers import run, trainer

from charlm.config import NetworkConfig, TrainingConfig
from charlm.errors import TrainingError
from charlm.network import build
from charlm.training import blocks
from charlm.training.initialise import initial_weights
from charlm.training.memory import memory_advice, memory_needed
from charlm.training.validate import ScannedReader

HEADS = {
    "plain": {},
    "norm": {"norm": "layer"},
    "tied": {"tied": True},
    "mixtures": {"mixtures": 3},
    "adaptive": {"adaptive": True},
    "members": {"members": 2},
    "bidirectional": {"bidirectional": True},
}


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)
def test_updates_in_blocks_are_the_same_updates(options, records, monkeypatch):
    found = []
    for most, block in ((10**9, 10**9), (0, 35)):
        monkeypatch.setattr(blocks, "MOST_LOGITS", most)
        monkeypatch.setattr(blocks, "BLOCK_LOGITS", block)
        one = trainer(records=records, options=options, optimizer="sgd", activation_penalty=0.1)
        losses = run(one, 5)
        found.append((losses, {n: w.detach().numpy().copy() for n, w in one.weights.items()}))
    (whole, weights), (in_blocks, others) = found
    np.testing.assert_allclose(np.array(in_blocks, float), np.array(whole, float), rtol=1e-5)
    for name, weight in weights.items():
        np.testing.assert_allclose(others[name], weight, atol=1e-5, err_msg=name)


def test_in_bfloat16_too(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_LOGITS", 0)
    monkeypatch.setattr(blocks, "BLOCK_LOGITS", 35)
    one = trainer(options={"mixtures": 2}, precision="bfloat16")
    assert np.isfinite(np.array(run(one, 3), float)).all()


class Counted:
    """Stands for a network, and notes the most logits that it was asked for at once."""

    def __init__(self, network):
        self.network, self.most = network, 0

    def __getattr__(self, name):
        return getattr(self.network, name)

    def logits(self, torch, w, x):
        found = self.network.logits(torch, w, x)
        self.most = max(self.most, found.numel())
        return found


def test_a_validation_never_has_more_logits_than_fit(monkeypatch):
    vocabulary = 3000
    network = build(NetworkConfig(width=4), vocabulary)
    w = network.arrange(initial_weights(network, 1))
    reader = ScannedReader(Counted(network), w)
    monkeypatch.setattr("charlm.training.validate.MOST_LOGITS", 10_000)
    ids = np.arange(64).reshape(4, 16) * 40
    with torch.no_grad():
        nats, _ = reader.read(ids, ids, reader.initial_state(4), np.full(4, 16))
    assert nats.shape == (1, 4, 16)
    assert reader.network.most <= 10_000


@pytest.mark.parametrize(
    ("shape", "training", "vocabulary", "named"),
    [
        ({"width": 8}, {"batch": 4, "context": 8}, 100_000, "vocabulary of 100,000"),
        ({"width": 64}, {"batch": 512, "context": 512}, 100, "--batch, --context or --width"),
        ({"width": 512, "layers": 4}, {"batch": 1, "context": 4}, 100, "--width, --layers"),
    ],
)
def test_a_lack_of_memory_names_what_takes_the_most(shape, training, vocabulary, named):
    network = build(NetworkConfig(**shape), vocabulary)
    advice = memory_advice(network, TrainingConfig(**training))
    assert named in advice
    with (
        pytest.raises(TrainingError, match="memory ran out"),
        memory_needed(TrainingError, lambda: advice),
    ):
        raise MemoryError
