"""Draws the weights that a network's initialisers describe."""

import torch
from torch import Tensor

from charlm.cells.initial import (
    Constant,
    Initialiser,
    Normal,
    Orthogonal,
    Stacked,
    Uniform,
    Values,
)
from charlm.network import Network


def initial_weights(network: Network, seed: int) -> dict[str, Tensor]:
    """The weights a run begins with, float32 on the CPU, by name. Law: `seed` decides them."""
    generator = torch.Generator().manual_seed(seed)
    initialisers = network.initialisers()
    return {
        name: draw(initialisers[name], shape, generator) for name, shape in network.shapes().items()
    }


def draw(initialiser: Initialiser, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A float32 tensor of that shape, begun as `initialiser` says."""
    match initialiser:
        case Constant(value):
            return torch.full(shape, value)
        case Uniform(bound):
            return torch.empty(shape).uniform_(-bound, bound, generator=generator)
        case Normal(std):
            return torch.empty(shape).normal_(0.0, std, generator=generator)
        case Orthogonal(gain):
            return torch.nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)
        case Values(entries):
            return torch.tensor(entries).view(shape)
        case Stacked(parts):
            part = (shape[0] // len(parts), *shape[1:])
            return torch.cat([draw(each, part, generator) for each in parts])
