"""A small trainer over a text that can be learned, and what compares two."""

import numpy as np
import torch

from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import build
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams, RecordStreams
from charlm.training.trainer import Trainer

V = 5

IDS = np.tile([0, 1, 2, 3, 1, 4], 300)


def trainer(*, cell="lstm", records=False, layers=1, options=None, **settings):
    config = TrainingConfig(**{"seed": 1, "batch": 4, "context": 8, "lr": 1e-2} | settings)
    network = build(NetworkConfig(cell=cell, width=16, layers=layers, **(options or {})), V)
    common = {"rows": config.batch, "context": config.context, "start": V, "seed": 1, "ahead": 8}
    streams = (
        RecordStreams(IDS, boundary=4, **common)
        if records
        else ContiguousStreams(IDS, vary=config.vary_context, **common)
    )
    weights = initial_weights(network, config.seed)
    return Trainer(network, config, weights, streams, torch.device("cpu"))


def run(trainer, steps, total=1000):
    return [float(trainer.step(trainer.steps / total)[0]) for _ in range(steps)]


def equal(a, b):
    tensors, about = a.state_dict()
    others, other_about = b.state_dict()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    assert about == other_about
