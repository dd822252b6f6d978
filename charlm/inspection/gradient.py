"""How the gradient flows back through time: that of the loss at t by the state at t - k.

Where its norm falls with k it vanishes, and what lies so far back can't be learned from; where it
grows it explodes.

Source: Hochreiter 1991; Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013, sec. 2.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from charlm.amounts import counted
from charlm.errors import DataError
from charlm.network import Network
from charlm.packages import missing_packages_named

ROWS = 32  # places t, evenly spaced over the text
WARMUP = 64  # symbols read before the first state that is looked at


def norms(
    network: Network,
    weights: dict[str, Any],
    ids: np.ndarray,
    back: int,
    advance: Callable[[int], object] = lambda steps: None,
) -> np.ndarray:
    """The mean norm (back,) of the gradient of the loss at t by the whole state at t - k, k from 1.

    The loss at t is that of the prediction made by step t, and the state at t - k what step t - k
    has handed on. `ids` (T,) are one running text. `advance` gets how many more of WARMUP + `back`
    steps were made. Raises DataError where it is too short,
    and MissingPackageError without torch.
    """
    with missing_packages_named():
        import torch  # here because nothing else that looks into a model needs it

    length = WARMUP + back
    if len(ids) <= length:
        raise DataError(
            f"the text has {counted(len(ids), 'symbol')}, and this takes"
            f" {length + 1:,}; give a longer text, or a lower --back."
        )
    begins = np.unique(np.linspace(0, len(ids) - length - 1, ROWS).astype(int))
    read = torch.from_numpy(ids[begins[:, None] + np.arange(length + 1)].astype(np.int64))
    # float64: what has almost vanished is to be told from nothing.
    flat = {name: torch.as_tensor(value).detach().double() for name, value in weights.items()}
    w = network.arrange(flat)
    state = network.initial_state(torch, w, len(begins))
    with torch.no_grad():
        for t in range(WARMUP):
            _, state = network.step(torch, w, read[:, t], state)
            advance(1)
    states = []
    for t in range(WARMUP, length):
        # Parts of their own: else the gradient by a part has that by those made from it, too.
        state = tuple(tuple(_apart(part) for part in layer) for layer in state)
        states.append(state)
        logits, state = network.step(torch, w, read[:, t], state)
        advance(1)
    loss = torch.nn.functional.cross_entropy(logits, read[:, length], reduction="sum")
    parts = [[part for layer in each for part in layer] for each in reversed(states)]
    parts = [[part for part in each if part.is_floating_point()] for each in parts]
    flat_parts = [part for each in parts for part in each]
    gradients = iter(torch.autograd.grad(loss, flat_parts, allow_unused=True))
    found = []
    for each in parts:
        # What leads nowhere has no gradient.
        own = [one for one in itertools.islice(gradients, len(each)) if one is not None]
        squares = sum((one.flatten(1) ** 2).sum(dim=1) for one in own)
        found.append(float(squares.sqrt().mean()))
    return np.array(found)


def _apart(part: Any) -> Any:
    """A copy of part of a state, by which there is a gradient unless it counts something."""
    return part.clone().requires_grad_() if part.is_floating_point() else part
