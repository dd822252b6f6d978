"""The loss of many tokens over a large vocabulary, without the logits of all of them at once.

The gradient of a block of tokens is found as soon as its loss is, so that its logits need not be
kept and nothing is computed twice.

N tokens, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from charlm.network.stack import Weights

MOST_LOGITS = 1 << 25  # of one update, made at once
BLOCK_LOGITS = 1 << 22  # where there would be more

# The summed nats (one number) that a head of these weights finds for x (N, D) and targets (N,).
Nats = Callable[[Weights, Tensor, Tensor], Tensor]


def in_blocks(nats: Nats, head: Weights, x: Tensor, targets: Tensor, tokens: int) -> Tensor:
    """What `nats` finds for x (N, D) and targets (N,), by blocks of so many tokens."""
    names, weights = _flat(head)

    def of_block(weights: list[Tensor], x: Tensor, targets: Tensor) -> Tensor:
        return nats(_nested(names, weights), x, targets)

    return _InBlocks.apply(of_block, tokens, targets, x, *weights)


class _InBlocks(torch.autograd.Function):
    """The sum over blocks, whose gradient is ready when it is."""

    @staticmethod
    def forward(
        ctx: Any, nats: Callable, tokens: int, targets: Tensor, x: Tensor, *weights: Tensor
    ) -> Tensor:
        """The sum, and the gradients of x and of the weights for later."""
        leaves = [weight.detach().requires_grad_() for weight in weights]
        of_weights = [torch.zeros_like(weight) for weight in weights]
        # Made before the blocks: small arrays that outlive the large ones of a block would each
        # keep the allocator from using their place again.
        of_x, total = torch.empty_like(x), torch.zeros((), device=x.device)
        parts = (whole.split(tokens) for whole in (x.detach(), targets, of_x))
        for some, wanted, gradient in zip(*parts, strict=True):
            some = some.requires_grad_()
            with torch.enable_grad():
                loss = nats(leaves, some, wanted)
            found, *others = torch.autograd.grad(loss, [some, *leaves])
            gradient.copy_(found)
            for whole, part in zip(of_weights, others, strict=True):
                whole += part
            total += loss.detach()
        ctx.save_for_backward(of_x, *of_weights)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """The gradients, times that of the sum."""
        return None, None, None, *(gradient * own for own in ctx.saved_tensors)


def _flat(head: Weights) -> tuple[list[tuple[str, ...]], list[Tensor]]:
    """The names of a head's weights, those in a dict within it too, and the weights."""
    found = []
    for name, value in head.items():
        if isinstance(value, dict):
            found += [((name, inner), weight) for inner, weight in value.items()]
        else:
            found.append(((name,), value))
    return [names for names, _ in found], [weight for _, weight in found]


def _nested(names: list[tuple[str, ...]], weights: list[Tensor]) -> Weights:
    head: Weights = {"norm": {}}
    for (name, *inner), weight in zip(names, weights, strict=True):
        if inner:
            head.setdefault(name, {})[inner[0]] = weight
        else:
            head[name] = weight
    return head
