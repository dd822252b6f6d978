"""Optimisers by name. Each is given the parameters by name and returns torch optimisers."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from charlm.config import TrainingConfig

Named = dict[str, Tensor]

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
    return 1.0 / (1.0 + MUON_TOKENS_PER_WIDTH * width / update_tokens)


def batch_of(optimizer: str) -> int:
    """The rows of an update, unless told: more for Muon, whose update takes its time."""
    return 32 if optimizer == "muon" else 16


def build(config: TrainingConfig, parameters: Named, width: int) -> list[torch.optim.Optimizer]:
    """The optimisers of `config` over all parameters of a network of that width.

    Each group remembers its `peak_lr`.
    """
    name = config.optimizer or USUAL
    lr = config.lr if config.lr is not None else RATES[name]
    optimizers = OPTIMIZERS[name](parameters, lr, config.weight_decay or 0.0, width)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def groups(parameters: Named, weight_decay: float) -> list[dict]:
    """Matrices, which decay, and vectors, which do not."""
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    vectors = [p for p in parameters.values() if p.ndim < 2]
    found = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in found if group["params"]]


def adamw(
    parameters: Named, lr: float, weight_decay: float, width: int
) -> list[torch.optim.Optimizer]:
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019 (arXiv:1711.05101)."""
    return [torch.optim.AdamW(groups(parameters, weight_decay), lr, betas=(0.9, 0.99), fused=True)]


def adam(
    parameters: Named, lr: float, weight_decay: float, width: int
) -> list[torch.optim.Optimizer]:
    """Adam, its weight decay an L2 penalty. Source: Kingma and Ba 2015 (arXiv:1412.6980)."""
    return [torch.optim.Adam(groups(parameters, weight_decay), lr, betas=(0.9, 0.99), fused=True)]


def sgd(
    parameters: Named, lr: float, weight_decay: float, width: int
) -> list[torch.optim.Optimizer]:
    """Stochastic gradient descent, plain, as recurrent word models have long used it."""
    return [torch.optim.SGD(groups(parameters, weight_decay), lr)]


def rmsprop(
    parameters: Named, lr: float, weight_decay: float, width: int
) -> list[torch.optim.Optimizer]:
    """RMSprop with char-rnn's averaging constant, 0.95."""
    return [torch.optim.RMSprop(groups(parameters, weight_decay), lr, alpha=0.95)]


def muon(
    parameters: Named, lr: float, weight_decay: float, width: int
) -> list[torch.optim.Optimizer]:
    """Muon on the cells' matrices, AdamW on everything else."""
    inner = {n: p for n, p in parameters.items() if ".cell." in n and p.ndim == 2}
    outer = {n: p for n, p in parameters.items() if n not in inner}
    return [Muon(inner.values(), lr, weight_decay, width), *adamw(outer, lr, weight_decay, width)]


OPTIMIZERS: dict[str, Callable[[Named, float, float, int], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
    "rmsprop": rmsprop,
    "muon": muon,
}

# What each of torch's optimisers keeps of a weight.
REMEMBERED = {
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "RMSprop": {"step", "square_avg"},
    "SGD": set(),
    "Muon": {"momentum"},
}


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, gate block by gate block.

    Its products are made in the run's precision; torch's own Muon makes them in bfloat16 always,
    which most CPUs only emulate. The update is scaled to the size of AdamW's, so the two share a
    learning rate.

    Source: Jordan et al. 2024, "Muon"; scale: Liu et al. 2025 (arXiv:2502.16982), eq. 4.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        width: int,
        momentum: float = 0.95,
    ) -> None:
        knobs = {"lr": lr, "weight_decay": weight_decay, "width": width, "momentum": momentum}
        super().__init__(parameters, knobs)

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter that has a gradient."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - momentum)
                ahead = p.grad.lerp(state["momentum"], momentum)  # Nesterov
                # Gates of as many rows as the network is wide are stacked in one tall matrix.
                gates, rest = divmod(p.shape[0], group["width"])
                blocks = ahead.view(gates if gates and not rest else 1, -1, p.shape[1])
                update = orthogonal(blocks) * (0.2 * max(blocks.shape[1:]) ** 0.5)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"])


# Of a, b and c of a x + b x³ + c x⁵: on the interval that the one before leaves of [0.015, 1], the
# polynomial that is nearest to 1 there. Source: Amsel et al. 2025 (arXiv:2505.16932), sec. 3.
QUINTICS = (
    (7.8983, -22.8513, 16.8346),
    (3.4078, -2.5548, 0.5176),
    (2.384, -1.7427, 0.4268),
)


def orthogonal(blocks: Tensor) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of blocks (G, M, N).

    Each of QUINTICS costs three products. Together they drive singular values from 0.015 to 1 of
    the matrix's norm into [0.84, 1.16], and smaller ones stay below.
    """
    tall = blocks.shape[1] > blocks.shape[2]
    x = blocks.mT if tall else blocks
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in QUINTICS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
