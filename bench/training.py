"""Characters/s in training: charlm's update against the same network written plainly in torch.

Each is a process of its own, in turn, as charlm sets what holds for a whole process: how torch's
threads wait, and what becomes of memory. The processor's own speed with large matrices is measured
beside them.
"""

import subprocess
import sys
import time

import numpy as np

from bench.measure import figure, in_turn, tiny_shakespeare
from charlm.process import keep_memory, tune_process

SECONDS, RUNS = 5.0, 5
WIDTH, EMBEDDING, BATCH, CONTEXT = 384, 64, 16, 64  # charlm's default network and update
PEAK_SIZE = 2048


def text_ids() -> tuple[np.ndarray, int]:
    """Tiny Shakespeare as ids, and how many symbols there are."""
    text = tiny_shakespeare().read_text(encoding="utf-8")
    symbols = {symbol: id for id, symbol in enumerate(sorted(set(text)))}
    return np.array([symbols[symbol] for symbol in text]), len(symbols)


def ours():
    """An update of charlm's trainer, as `charlm train` makes it."""
    tune_process()  # before torch is imported
    keep_memory()
    import torch

    from charlm.config import NetworkConfig, TrainingConfig
    from charlm.network import Network
    from charlm.training.device import default_precision
    from charlm.training.initialise import initial_weights
    from charlm.training.streams import ContiguousStreams
    from charlm.training.trainer import Trainer

    ids, V = text_ids()
    cpu = torch.device("cpu")
    config = TrainingConfig(
        seed=1, batch=BATCH, context=CONTEXT, lr=8e-3, precision=default_precision(cpu)
    )
    network = Network(NetworkConfig(width=WIDTH, embedding=EMBEDDING), V)
    streams = ContiguousStreams(ids, rows=BATCH, context=CONTEXT, start=V)
    weights = initial_weights(network, 1)
    trainer = Trainer(network, config, weights, streams, cpu)
    return lambda: trainer.step(0.5)


def plain():
    """The same network as nn.Embedding, nn.LSTM, nn.Linear, with cross-entropy and AdamW."""
    import torch
    from torch import nn

    ids, V = text_ids()
    rows = torch.from_numpy(ids[: len(ids) // BATCH * BATCH].reshape(BATCH, -1))
    embedding = nn.Embedding(V + 1, EMBEDDING)
    lstm, head = nn.LSTM(EMBEDDING, WIDTH, batch_first=True), nn.Linear(WIDTH, V)
    parameters = [p for module in (embedding, lstm, head) for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, 8e-3)
    begin, state = 0, None

    def step() -> None:
        nonlocal begin, state
        piece = rows[:, begin : begin + CONTEXT + 1]
        y, last = lstm(embedding(piece[:, :-1]), state)
        loss = nn.functional.cross_entropy(head(y).flatten(0, 1), piece[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        state = tuple(part.detach() for part in last)
        begin = (begin + CONTEXT) % (rows.shape[1] - CONTEXT - 1)

    return step


def peak():
    """A product of two large matrices."""
    import torch

    a = torch.randn(PEAK_SIZE, PEAK_SIZE)
    return lambda: a @ a


WAYS = {"ours": ours, "plain": plain, "peak": peak}


def per_s(way: str) -> float:
    """How many times a second a way's function runs, in a process of its own."""
    command = [sys.executable, "-m", "bench.training", way]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(way: str) -> None:
    """Prints how many times a second a way's function runs in this process."""
    step = WAYS[way]()
    for _ in range(5):
        step()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    print(steps / (time.perf_counter() - began))


def main() -> None:
    """Prints the figures."""
    found = in_turn(RUNS, **{way: lambda way=way: per_s(way) for way in WAYS})
    how = f"lstm 1x{WIDTH}, batch {BATCH}, context {CONTEXT}, median of {RUNS} processes in turn"
    chars, plain_chars = (found[way] * BATCH * CONTEXT for way in ("ours", "plain"))
    figure("charlm's update", chars, "chars/s", how=how)
    figure("plain torch: nn.Embedding, nn.LSTM, nn.Linear", plain_chars, "chars/s", how=how)
    figure("ratio to plain torch", chars / plain_chars, "x", target="≥ 1.5", how=how)
    V = text_ids()[1]
    products = 4 * WIDTH * (EMBEDDING + WIDTH) + WIDTH * V  # multiplications for a character
    # Once forward, twice backward; a multiplication and an addition each.
    achieved, most = 6 * products * chars / 1e9, 2 * PEAK_SIZE**3 * found["peak"] / 1e9
    figure("arithmetic of charlm's update", achieved, "GFLOP/s", how=how)
    figure("peak: a product of two matrices", most, "GFLOP/s", how=f"{PEAK_SIZE}, float32")
    figure("share of the peak", 100 * achieved / most, "%", target="≥ 65", how=how)


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
