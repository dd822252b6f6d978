"""Optimisers by name, each made of the parameters by name.

They follow the rules of `torch.optim`, which are functions there. Its classes are not used: the
first one that is made imports torch's compiler, which takes two seconds of a run of twenty.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_rule
from torch.optim.adamw import adamw as adamw_rule
from torch.optim.rmsprop import rmsprop as rmsprop_rule
from torch.optim.sgd import sgd as sgd_rule

from charlm.config import TrainingConfig
from charlm.training.orthogonal import orthogonal
from charlm.training.states import shaped

Named = dict[str, Tensor]
Tensors = list[Tensor]  # of several weights
Memory = dict[str, Tensors]  # by name, what is remembered of each of them

# Peak learning rates when --lr is not given. 8e-3 is high for AdamW; one-layer recurrent nets with
# orthogonal recurrent weights and a linear decay learn best there (tiny Shakespeare, 1x384).
USUAL = "adamw"
RATES = {"adamw": 8e-3, "adam": 8e-3, "muon": 8e-3, "rmsprop": 2e-3, "sgd": 2.0}
# Runs of fewer updates than these learn more at a higher rate, by the root of what is missing and
# up to MOST times. On the training part of tiny Shakespeare (lstm, one seed, nats/char on its last
# tenth) Muon's 430 updates of 1x192 ended at 1.78 with 8e-3, at 1.56 with 25e-3; AdamW's 600 at
# 1.82 with 8e-3, 1.69 with 15e-3 and 1.78 with 25e-3.
ENOUGH_UPDATES = {"adamw": 2000, "adam": 2000, "muon": 4000}
MOST = 3.0
# The norm of Muon's update grows as the root of the width: an rnn of 784 exploded at twice the rate
# at which it learned well.
MUON_WIDTH = 256
# What Muon's three times three products cost, beside the six of a token with the same weights.
MUON_TOKENS_PER_WIDTH = 2.4


def rate(optimizer: str, updates: float | None = None) -> float:
    """The usual peak learning rate, for a run of so many updates if that is known."""
    enough = ENOUGH_UPDATES.get(optimizer)
    if not updates or enough is None:
        return RATES[optimizer]
    return RATES[optimizer] * min(max((enough / updates) ** 0.5, 1.0), MOST)


def width_share(width: int) -> float:
    """The share of Muon's usual rate for a network of that width."""
    return min(1.0, (MUON_WIDTH / width) ** 0.5)


def training_share(optimizer: str, width: int, update_tokens: int) -> float:
    """How much of the text is read in the time in which a plain optimiser would read all of it."""
    if optimizer != "muon":
        return 1.0
    return 1.0 / (1.0 + MUON_TOKENS_PER_WIDTH * width / (Muon.EVERY * update_tokens))


def batch_of(optimizer: str) -> int:
    """The rows of an update, unless told: more for Muon, whose update takes its time."""
    return 32 if optimizer == "muon" else 16


@dataclass
class Group:
    """Weights that are updated alike: at `lr`, which is `peak_lr` at the height of the run."""

    weights: list[Tensor]
    weight_decay: float
    lr: float
    peak_lr: float = field(init=False)

    def __post_init__(self) -> None:
        self.peak_lr = self.lr


class Optimizer(ABC):
    """Groups of weights, and what is remembered of each weight from one update to the next."""

    remembered: ClassVar[tuple[str, ...]] = ()

    def __init__(self, groups: list[Group]) -> None:
        self.groups = [group for group in groups if group.weights]
        self.memory: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, number: int) -> None:
        """Updates every weight that has a gradient, after `number` earlier updates."""
        for group in self.groups:
            weights = [weight for weight in group.weights if weight.grad is not None]
            for weight in weights:
                if weight not in self.memory:
                    self.memory[weight] = {
                        name: torch.zeros(_shape(name, weight), device=weight.device)
                        for name in self.remembered
                    }
            if weights:
                entries = [self.memory[weight] for weight in weights]
                memory = {name: [entry[name] for entry in entries] for name in self.remembered}
                gradients = [weight.grad for weight in weights]
                self._update(group, weights, gradients, memory, number)

    @abstractmethod
    def _update(
        self, group: Group, weights: Tensors, gradients: Tensors, memory: Memory, number: int
    ) -> None:
        """Changes weights of a group, and what is remembered of each, in place."""

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for weight in self._weights():
            weight.grad = None

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        """What is remembered, by the number of the weight and by name."""
        numbered = enumerate(self._weights())
        return {i: self.memory[weight] for i, weight in numbered if weight in self.memory}

    def load_state_dict(self, entries: dict[int, dict[str, Tensor]]) -> None:
        """Remembers what `state_dict` gave; ValueError where that is not of these weights."""
        weights = self._weights()
        if any(set(entry) != set(self.remembered) for entry in entries.values()):
            raise ValueError("what the optimiser remembers of the weights is something else")
        self.memory = {
            weights[number]: {
                name: shaped(value, _shape(name, weights[number]))
                .to(weights[number].device, torch.float32)
                .clone()
                for name, value in entry.items()
            }
            for number, entry in entries.items()
        }

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.groups for weight in group.weights]


def _shape(name: str, weight: Tensor) -> torch.Size:
    """The shape of what is remembered of a weight: its own, but for the count of its updates."""
    return torch.Size() if name == "step" else weight.shape


class AdamW(Optimizer):
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019 (arXiv:1711.05101)."""

    remembered = ("step", "exp_avg", "exp_avg_sq")
    rule = staticmethod(adamw_rule)

    def _update(
        self, group: Group, weights: Tensors, gradients: Tensors, memory: Memory, number: int
    ) -> None:
        self.rule(
            weights,
            gradients,
            memory["exp_avg"],
            memory["exp_avg_sq"],
            [],
            memory["step"],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.99,
            lr=group.lr,
            weight_decay=group.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class Adam(AdamW):
    """Adam, its weight decay an L2 penalty. Source: Kingma and Ba 2015 (arXiv:1412.6980)."""

    rule = staticmethod(adam_rule)


class SGD(Optimizer):
    """Stochastic gradient descent, plain, as recurrent word models have long used it."""

    def _update(
        self, group: Group, weights: Tensors, gradients: Tensors, memory: Memory, number: int
    ) -> None:
        sgd_rule(
            weights,
            gradients,
            [None] * len(weights),
            weight_decay=group.weight_decay,
            momentum=0.0,
            lr=group.lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class RMSprop(Optimizer):
    """RMSprop with char-rnn's averaging constant, 0.95."""

    remembered = ("step", "square_avg")

    def _update(
        self, group: Group, weights: Tensors, gradients: Tensors, memory: Memory, number: int
    ) -> None:
        rmsprop_rule(
            weights,
            gradients,
            memory["square_avg"],
            [],
            [],
            memory["step"],
            lr=group.lr,
            alpha=0.95,
            eps=1e-8,
            weight_decay=group.weight_decay,
            momentum=0.0,
            centered=False,
        )


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, gate block by gate block.

    Its products are made in the run's precision; torch's own Muon makes them in bfloat16 always,
    which most CPUs only emulate. The update is scaled to the size of AdamW's, so the two share a
    learning rate. As the momentum changes little from one update to the next, only one of EVERY
    changes the weights, by as much as all of them would.

    Source: Jordan et al. 2024, "Muon"; scale: Liu et al. 2025 (arXiv:2502.16982), eq. 4.
    """

    remembered = ("momentum",)
    MOMENTUM = 0.95
    EVERY = 4

    def __init__(self, groups: list[Group], width: int) -> None:
        super().__init__(groups)
        self.width = width

    def _update(
        self, group: Group, weights: Tensors, gradients: Tensors, memory: Memory, number: int
    ) -> None:
        for weight, gradient, momentum in zip(weights, gradients, memory["momentum"], strict=True):
            momentum.lerp_(gradient, 1 - self.MOMENTUM)
            if number % self.EVERY:
                continue
            ahead = gradient.lerp(momentum, self.MOMENTUM)  # Nesterov
            # Gates of as many rows as the network is wide are stacked in one tall matrix.
            gates, rest = divmod(weight.shape[0], self.width)
            blocks = ahead.view(gates if gates and not rest else 1, -1, weight.shape[1])
            update = orthogonal(blocks) * (0.2 * max(blocks.shape[1:]) ** 0.5)
            lr = self.EVERY * group.lr
            weight.mul_(1 - lr * group.weight_decay)
            weight.add_(update.view_as(weight), alpha=-lr)


def groups(parameters: Named, lr: float, weight_decay: float) -> list[Group]:
    """Matrices, which decay, and vectors, which do not."""
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    vectors = [p for p in parameters.values() if p.ndim < 2]
    return [Group(matrices, weight_decay, lr), Group(vectors, 0.0, lr)]


def muon(parameters: Named, lr: float, weight_decay: float, width: int) -> list[Optimizer]:
    """Muon on the cells' matrices, AdamW on everything else."""
    inner = {n: p for n, p in parameters.items() if ".cell." in n and p.ndim == 2}
    outer = {n: p for n, p in parameters.items() if n not in inner}
    cells = Muon([Group(list(inner.values()), weight_decay, lr)], width)
    return [cells, AdamW(groups(outer, lr, weight_decay))]


def _alone(kind: type[Optimizer]) -> Callable[[Named, float, float, int], list[Optimizer]]:
    """One optimiser for everything."""
    return lambda parameters, lr, weight_decay, width: [kind(groups(parameters, lr, weight_decay))]


OPTIMIZERS: dict[str, Callable[[Named, float, float, int], list[Optimizer]]] = {
    "adamw": _alone(AdamW),
    "adam": _alone(Adam),
    "sgd": _alone(SGD),
    "rmsprop": _alone(RMSprop),
    "muon": muon,
}


def build(config: TrainingConfig, parameters: Named, width: int) -> list[Optimizer]:
    """The optimisers of `config` over all parameters of a network of that width."""
    name = config.optimizer or USUAL
    lr = config.lr if config.lr is not None else RATES[name]
    return OPTIMIZERS[name](parameters, lr, config.weight_decay or 0.0, width)
