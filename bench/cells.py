"""Every cell: its training form against its own stepped loop, and its numpy step against torch's.

Training is forward and backward through one cell (with RWKV's own channel mix), width 256, context
256, batch 16, in the arithmetic that `charlm train` takes on the machine. Sampling is one stream
through a whole network, its own step on numpy and on eager torch: of two layers of 128, where calls
are the cost, and of about the default number of parameters, where reading the weights is a good
part of it for both.
"""

import time

import numpy as np
import torch

from bench.measure import figure, in_turn
from charlm.cells import CELLS
from charlm.cells.cell import Cell, Place
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.process import keep_memory, tune_process
from charlm.sampling.engine import NumpyEngine, TorchEngine
from charlm.training.device import default_precision
from charlm.training.initialise import draw, initial_weights
from charlm.zoo import contestant, usual_parameters

WIDTH, CONTEXT, BATCH, RUNS = 256, 256, 16, 5
TARGETS = {"mingru": 8, "minlstm": 8, "mlstm": 8, "rwkv": 5, "rwkv4": 5}
STEPS, V = 400, 65
PRECISION = default_precision(torch.device("cpu"))


def stepped(cell: Cell, xp, w, x, state):
    """The loop over `step` that a scan replaces."""
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


class Training:
    """One cell, and its feed-forward part where that has a state, on random input."""

    def __init__(self, cell: Cell) -> None:
        generator = torch.Generator().manual_seed(1)
        place = Place(WIDTH, WIDTH)
        feed = (
            cell.feed_forward
            if cell.feed_forward and cell.feed_forward.state_shapes(place)
            else None
        )
        self.x = torch.randn(BATCH, CONTEXT, WIDTH, generator=generator)
        self.parts = []
        for part in filter(None, (cell, feed)):
            begin = part.initialisers(place)
            w = {n: draw(begin[n], s, generator) for n, s in part.shapes(place).items()}
            # Zeros would make all that follows them zero, too.
            w = {n: v if v.any() else v + 0.02 for n, v in w.items()}
            state = part.initial_state(torch, place, BATCH, self.x)
            self.parts.append((part, {n: v.requires_grad_() for n, v in w.items()}, state))

    def ms(self, way) -> float:
        """Milliseconds of one pass forward and backward."""
        began = time.perf_counter()
        y = self.x
        with torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bfloat16"):
            for part, w, state in self.parts:
                y, _ = way(part, torch, w, y, state)
        y.sum().backward()
        return 1e3 * (time.perf_counter() - began)


def scanned(cell: Cell, xp, w, x, state):
    """The training form."""
    return cell.scan(xp, w, x, state)


def steps_per_s(engine) -> float:
    """The speed of one stream."""
    state = engine.initial_state(1)
    ids = np.arange(STEPS) % V
    began = time.perf_counter()
    for t in range(STEPS):
        _, state = engine.step(ids[t : t + 1], state)
    return STEPS / (time.perf_counter() - began)


def main() -> None:
    """Prints the figures."""
    for name, cell in CELLS.items():
        if type(cell).scan is not Cell.scan:
            one = Training(cell)
            one.ms(scanned)
            found = in_turn(RUNS, scan=lambda: one.ms(scanned), loop=lambda: one.ms(stepped))  # noqa: B023
            how = f"{PRECISION}: {found['scan']:.0f} ms against {found['loop']:.0f} ms, both ways"
            target = f"≥ {TARGETS[name]}" if name in TARGETS else ""
            ratio = found["loop"] / found["scan"]
            figure(f"{name}: training form to stepped loop", ratio, "x", target=target, how=how)
    small = {name: build(NetworkConfig(cell=name, width=128, layers=2), V) for name in CELLS}
    usual = {name: contestant(name, V, usual_parameters(V)) for name in CELLS}
    for name, network in [*small.items(), *usual.items()]:
        weights = {n: w.numpy() for n, w in initial_weights(network, 1).items()}
        ours, eager = NumpyEngine(network, weights), TorchEngine(network, weights, "cpu")
        steps_per_s(ours), steps_per_s(eager)
        found = in_turn(RUNS, ours=lambda: steps_per_s(ours), eager=lambda: steps_per_s(eager))  # noqa: B023
        config = network.config
        how = f"{config.layers}x{config.width}, {network.parameters():,} parameters:"
        how += f" {found['ours']:,.0f} against {found['eager']:,.0f} steps/s"
        ratio = found["ours"] / found["eager"]
        figure(f"{name}: numpy step to eager torch step", ratio, "x", target="≥ 3", how=how)


if __name__ == "__main__":
    tune_process()
    keep_memory()
    main()
