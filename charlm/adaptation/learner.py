"""Dynamic evaluation: a step of gradient descent after each piece of a text, with torch.

    m ← mean of all g² so far;  r = √m + ε mean(√m)
    θ ← θ + δ (√m / mean(√m)) (θ₀ - θ) - η g / r

g is the gradient of a piece's mean nats, θ₀ are the trained weights and the means are over all
weights. What moves most is drawn back most.

Source: Krause, Kahembwe, Murray and Renals 2018 (arXiv:1709.07432), sec. 4 and 5. There m comes
from the training set. A model file has none, and so it is gathered from the text itself.
"""

import math
from typing import NoReturn

import numpy as np
import torch
from torch.nn import functional

from charlm.config import AdaptationConfig
from charlm.errors import DataError
from charlm.network import Network
from charlm.network.states import State
from charlm.process import torch_threads

EPSILON = 0.1


class Learner:
    """Weights that learn a text as it is read: an update after every `adapt_context` ids.

    `weights` are numpy arrays by name, which change in place. Law: they depend on the ids and
    states that were added and on nothing else, to the bit, on one machine: one thread computes
    them, as several may add up in another order.
    """

    def __init__(
        self, network: Network, weights: dict[str, np.ndarray], config: AdaptationConfig
    ) -> None:
        self._network = network
        self._lr = config.adapt_lr
        self._decay = config.adapt_decay
        self._context = config.adapt_context
        # One vector of all weights, of which each is a part, and one of all gradients.
        self._trained = torch.cat([torch.tensor(value).flatten() for value in weights.values()])
        self._present = self._trained.clone()
        self._gradient = torch.zeros_like(self._present)
        self._squares = torch.zeros_like(self._present)  # summed over the updates
        self.weights: dict[str, np.ndarray] = {}
        learning, at = {}, 0
        for name, value in weights.items():
            part = slice(at, at := at + value.size)
            weight = self._present[part].view(value.shape)
            self.weights[name] = weight.numpy()
            learning[name] = weight.detach().requires_grad_()
            learning[name].grad = self._gradient[part].view(value.shape)
        self._w = network.arrange(learning)
        self._inputs: list[int] = []
        self._targets: list[int] = []
        self._state: State = ()  # before the first of the inputs
        self._ids = 0  # that the gradient is of
        self._updates = 0

    def add(self, last: int, id: int, state: State) -> None:
        """Takes that `id` came after `last`, which was read in `state`; learns when it is time."""
        if not self._inputs:
            self._state = state
        self._inputs.append(last)
        self._targets.append(id)
        if self._ids + len(self._inputs) == self._context:
            self.cut()
            with torch_threads(1):
                self._update()

    def cut(self) -> None:
        """Ends a piece: what comes next is not after what was added last."""
        if not self._inputs:
            return
        with torch_threads(1):
            self._add_gradient()
        self._ids += len(self._inputs)
        self._inputs, self._targets = [], []

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Learner's weights are views of one memory, which no copy would keep.")

    def _add_gradient(self) -> None:
        # tensor: copies, to where torch wants memory to begin, which may decide about rounding
        state = tuple(tuple(torch.tensor(part) for part in layer) for layer in self._state)
        logits, _ = self._network.scan(torch, self._w, torch.tensor([self._inputs]), state)
        nats = functional.cross_entropy(logits[0], torch.tensor(self._targets), reduction="sum")
        (nats / self._context).backward()

    @torch.no_grad()
    def _update(self) -> None:
        self._updates += 1
        self._squares.addcmul_(self._gradient, self._gradient)
        root = (self._squares / self._updates).sqrt_()
        size = float(root.mean())
        if not math.isfinite(size):
            raise DataError("the model diverged as it learned from the text; lower --adapt-lr.")
        back = (root * (self._decay / size)).clamp_(max=1.0)
        self._present += back.mul_(self._trained - self._present)
        self._present -= self._gradient.div_(root.add_(EPSILON * size)).mul_(self._lr)
        self._gradient.zero_()
        self._ids = 0
