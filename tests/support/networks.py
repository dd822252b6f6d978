"""Small networks of every cell and shape, with weights that hide no mistake."""

import pytest
import torch

from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.training.initialise import initial_weights

V, B, T = 11, 3, 40

SHAPES = {
    "plain": {},
    "deep": {"layers": 3},
    "tied": {"tied": True},
    "tied, narrow embedding": {"tied": True, "embedding": 5},
    "mixture": {"mixtures": 3},
    "adaptive": {"adaptive": True},
    "tied mixture": {"tied": True, "embedding": 5, "mixtures": 2},
    "residual": {"layers": 2, "residual": True, "norm": "rms"},
    "residual, narrow embedding": {"layers": 3, "residual": True, "embedding": 5, "norm": "layer"},
    "normed": {"layers": 2, "norm": "layer"},
    "feed-forward": {"layers": 2, "norm": "rms", "feed_forward": True},
    "attention": {"layers": 2, "attention": True, "memory": 9},
    "ensemble": {"layers": 2, "members": 3},
    "ensemble, adaptive": {"adaptive": True, "members": 2},
    "reading from the left only": {"layers": 2, "bidirectional": True},
}

# Pairwise: every cell in the plain shape; every other shape with a cell that keeps to itself and
# one whose first layer passes a value on to the others.
PAIRS = [(cell, "plain") for cell in CELLS]
PAIRS += [(cell, shape) for shape in SHAPES if shape != "plain" for cell in ("lstm", "rwkv")]
every_pair = pytest.mark.parametrize(("cell", "shape"), PAIRS)


def make(cell, shape, seed=1):
    network = build(NetworkConfig(cell=cell, width=16, **SHAPES[shape]), V)
    weights = initial_weights(network, seed)
    generator = torch.Generator().manual_seed(seed)
    for weight in weights.values():  # scales of 1 and shifts of 0 would hide mistakes
        weight += 0.1 * torch.randn(weight.shape, generator=generator)
    ids = torch.randint(0, V, (B, T), generator=generator)
    ids[:, 0] = network.start
    return network, weights, ids


def scan(network, weights, ids, state=None):
    w = network.arrange(weights)
    state = state or network.initial_state(torch, w, len(ids))
    return network.scan(torch, w, ids, state)
