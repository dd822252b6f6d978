"""Characters/s in training: charlm's update against the same network written plainly in torch."""

import time

import torch
from torch import nn

from bench.measure import figure, in_turn, tiny_shakespeare
from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import Network
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams
from charlm.training.trainer import Trainer

SECONDS, RUNS = 5.0, 5


class Plain:
    """nn.Embedding as wide as the network, nn.LSTM, nn.Linear, cross-entropy, AdamW."""

    def __init__(
        self, config: TrainingConfig, width: int, streams: ContiguousStreams, V: int
    ) -> None:
        self.streams = streams
        self.embedding = nn.Embedding(V + 1, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, V)
        self.parameters = [
            p for module in (self.embedding, self.lstm, self.head) for p in module.parameters()
        ]
        self.optimizer = torch.optim.AdamW(self.parameters, 8e-3)
        self.clip = config.clip
        self.state = None

    def step(self, progress: float) -> None:
        """One update."""
        batch = self.streams.next()
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        state = None if batch.fresh.all() else self.state
        y, state = self.lstm(self.embedding(inputs), state)
        loss = nn.functional.cross_entropy(self.head(y).flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state)


def main() -> None:
    """Prints the figures."""
    text = tiny_shakespeare().read_text(encoding="utf-8")
    symbols = {symbol: id for id, symbol in enumerate(sorted(set(text)))}
    ids = torch.tensor([symbols[symbol] for symbol in text]).numpy()
    config, V = TrainingConfig(seed=1), len(symbols)
    network = Network(NetworkConfig(), V)

    def streams() -> ContiguousStreams:
        return ContiguousStreams(ids, rows=config.batch, context=config.context, start=V)

    weights = initial_weights(network, 1)
    ours = Trainer(network, config, weights, streams(), torch.device("cpu"))
    plain = Plain(config, network.config.width, streams(), V)

    def chars_per_s(one: Trainer | Plain) -> float:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            one.step(0.5)
            steps += 1
        return steps * config.batch * config.context / (time.perf_counter() - began)

    found = in_turn(RUNS, ours=lambda: chars_per_s(ours), plain=lambda: chars_per_s(plain))
    how = f"lstm 1x{network.config.width}, batch {config.batch}, context {config.context}"
    how += f", median of {RUNS} in turn"
    figure("charlm's update", found["ours"], "chars/s", how=how)
    figure("plain torch: nn.Embedding, nn.LSTM, nn.Linear", found["plain"], "chars/s", how=how)
    figure("ratio to plain torch", found["ours"] / found["plain"], "x", how=how)


if __name__ == "__main__":
    main()
