"""Steps a second of one stream, in a process of its own: `python -m bench.steps MODEL numpy|torch`.

On numpy as `charlm sample` does it; on torch the same network's `step`, eager, as torch comes.
"""

import sys
import time
from pathlib import Path

import numpy as np

from charlm import model_file
from charlm.sampling.engine import NumpyEngine

SECONDS = 1.5


class Eager:
    """The network's own step on torch tensors."""

    def __init__(self, model: model_file.Model) -> None:
        import torch

        self.torch = torch
        self.network = model.network
        flat = {name: torch.from_numpy(value) for name, value in model.weights.items()}
        self.w = model.network.arrange(flat)

    def initial_state(self, batch: int):
        """The state before anything was read."""
        return self.network.initial_state(self.torch, self.w, batch)

    def step(self, ids: np.ndarray, state):
        """The logits of what follows ids, and the next state."""
        with self.torch.inference_mode():
            ids = self.torch.from_numpy(ids)
            return self.network.step(self.torch, self.w, ids, state)


def main(path: str, kind: str) -> None:
    """Prints how many steps were made in a second."""
    model = model_file.load(Path(path))
    engine = NumpyEngine(model.network, model.weights) if kind == "numpy" else Eager(model)
    state, steps, V = engine.initial_state(1), 0, model.network.vocabulary
    for measured in (False, True):  # once to warm up
        steps, began = 0, time.perf_counter()
        while time.perf_counter() - began < (SECONDS if measured else SECONDS / 3):
            _, state = engine.step(np.array([steps % V]), state)
            steps += 1
    print(steps / (time.perf_counter() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
