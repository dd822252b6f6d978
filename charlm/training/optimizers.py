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


def batch_of(optimizer: str) -> int:
    """The rows of an update, unless told: more for Muon, whose update takes its time."""
    return 32 if optimizer == "muon" else 16


def build(config: TrainingConfig, parameters: Named, width: int) -> list[torch.optim.Optimizer]:
    """The optimisers of `config` over all parameters of a network of that width.

    Each group remembers its `peak_lr`.
    """
    name = config.optimizer or USUAL
    lr = config.lr if config.lr is not None else RATES[name]
    optimizers = OPTIMIZERS[name](parameters, lr, config.weight_decay, width)
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


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, gate block by gate block.

    In float32: torch's own Muon iterates in bfloat16, which most CPUs only emulate. The update is
    scaled to the size of AdamW's, so the two share a learning rate.

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


def orthogonal(blocks: Tensor, iterations: int = 4) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of blocks (G, M, N).

    Newton-Schulz with the quintic of Jordan et al. 2024, which drives singular values into about
    [0.7, 1.2] rather than exactly to 1; the smallest need more than these iterations, of which
    each costs three products, and stay below.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = blocks.shape[1] > blocks.shape[2]
    x = blocks.mT if tall else blocks
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
