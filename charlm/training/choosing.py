"""What a budget is best spent on: how wide a network, and how much of it is dropped.

A wide network learns more from each token and reads fewer of them. So the machine is measured for a
moment, and the width taken at which READINGS tokens are read for each parameter of the layers. That
number is a guess from few runs: on tiny Shakespeare, for the same arithmetic, 1x384 read 0.33,
1x256 0.68 and 1x192 1.1 million characters, and the last was best (1.84, 1.72 and 1.67 nats/char,
one seed); in the same time a narrow one reads less than that. What the command line says stays.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from charlm.cells import cells_named
from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import Network, build
from charlm.training import optimizers
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams
from charlm.training.trainer import Trainer

READINGS = 3.0
WIDTHS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536)
PROBES = (128, 384)  # widths
UPDATES = 5
# Of a budget, validations take some; its beginning and its end are no training either.
TRAINING_SHARE, ENDING_S = 0.92, 2.0
# How often the text may be read until so much of each layer is dropped.
DROPOUTS = ((2.5, 0.0), (6.0, 0.1), (12.0, 0.3), (float("inf"), 0.5))
# More readings than this are taken to bring nothing, so a run ends before its budget does.
MOST_EPOCHS = 100.0
# Muon learns more from each update, which takes it longer: in the same time it reads this share of
# the text. On tiny Shakespeare (lstm 1x384, 2.2 instead of 3.0 million characters, in 1,076 updates
# of 32 rows) it ended at 1.437 nats/char instead of 1.467. Shorter runs were not compared.
MUON_SHARE, MUON_UPDATES = 0.72, 800


@dataclass(frozen=True)
class Pace:
    """How long a token takes in training: `token_s`, and `parameter_s` for each parameter."""

    token_s: float
    parameter_s: float

    def tokens(self, parameters: int, seconds: float) -> float:
        """How many tokens a network of so many parameters reads in that time."""
        return seconds / (self.token_s + self.parameter_s * parameters)


@dataclass(frozen=True)
class Choice:
    """What was chosen, the tokens that will be read with it, and the budget that takes."""

    width: int
    dropout: float
    optimizer: str
    tokens: float
    budget_s: float

    def why(self, tokens: int) -> str:
        """The choice and its reason, for a text of so many tokens."""
        epochs = self.tokens / tokens
        return (
            f"width {self.width}, dropout {self.dropout:g}, {self.optimizer}: in"
            f" {self.budget_s:.0f} s it reads about {self.tokens:,.0f} tokens here, the text"
            f" {epochs:.2g} times"
        )

    def fill(
        self, network: NetworkConfig, config: TrainingConfig
    ) -> tuple[NetworkConfig, TrainingConfig]:
        """Both configs with what they leave open as it was chosen, and with the budget it takes."""
        return replace(network, width=self.width), replace(
            config,
            budget=self.budget_s,
            dropout=self.dropout if config.dropout is None else config.dropout,
            optimizer=config.optimizer or self.optimizer,
        )


def for_budget(
    network: NetworkConfig,
    config: TrainingConfig,
    vocabulary: int,
    tokens: int,
    device: torch.device,
    started: float,
) -> Choice:
    """What to do with `config.budget`, whose clock began at `started`."""
    pace = measure(network, config, vocabulary, device)
    other_s = time.monotonic() - started + ENDING_S
    return choose(network, config, vocabulary, tokens, pace, config.budget, other_s)


def measure(
    network: NetworkConfig, config: TrainingConfig, vocabulary: int, device: torch.device
) -> Pace:
    """The pace of networks of this kind on this machine, from a few updates of two of them."""
    rows = config.batch or optimizers.batch_of(optimizers.USUAL)
    config = replace(config, seed=0, lr=1e-4, dropout=0.1, optimizer=optimizers.USUAL, batch=rows)
    ids = np.random.default_rng(0).integers(0, vocabulary, 4 * config.batch * config.context)
    sizes, seconds = [], []
    for width in PROBES:
        probe = build(replace(network, width=width), vocabulary)
        streams = ContiguousStreams(
            ids, rows=config.batch, context=config.context, start=probe.start
        )
        trainer = Trainer(probe, config, initial_weights(probe, 0), streams, device)
        moments = [time.perf_counter()]
        for _ in range(UPDATES):
            float(trainer.step(0.5)[0])  # a number, which is there only when the update is done
            moments.append(time.perf_counter())
        sizes.append(active(probe))
        # The first ones pay for what is made once, and any may be held up by something else.
        seconds.append(min(np.diff(moments)) / (config.batch * config.context))
    # A moment in which the machine did something else must not make parameters cost nothing.
    slope = max((seconds[1] - seconds[0]) / (sizes[1] - sizes[0]), 0.3 * seconds[1] / sizes[1])
    return Pace(max(seconds[1] - slope * sizes[1], 0.0), slope)


def choose(
    network: NetworkConfig,
    config: TrainingConfig,
    vocabulary: int,
    tokens: int,
    pace: Pace,
    budget_s: float,
    other_s: float = 0.0,
) -> Choice:
    """What suits a text of `tokens` and a budget of which `other_s` is not training.

    Law: more time never means a narrower network.
    """
    seconds = max(TRAINING_SHARE * (budget_s - other_s), 0.2 * budget_s)
    best = None
    for width in WIDTHS:
        found = build(replace(network, width=width), vocabulary)
        read = pace.tokens(active(found), seconds)
        if best is not None and read < READINGS * layers_parameters(found):
            break
        best = (width, read)
    width, read = best
    optimizer = config.optimizer
    if optimizer is None:
        optimizer = optimizers.USUAL
        rows = config.batch or optimizers.batch_of("muon")
        updates = MUON_SHARE * read / (rows * config.context)
        if all(cell.habits.muon for cell in cells_named(network.cell)) and updates > MUON_UPDATES:
            optimizer, read = "muon", MUON_SHARE * read
    dropout = next(share for limit, share in DROPOUTS if read < limit * tokens)
    share = min(1.0, MOST_EPOCHS * tokens / read)
    return Choice(width, dropout, optimizer, share * read, other_s + share * (budget_s - other_s))


def active(network: Network) -> int:
    """The parameters that a token is multiplied with: all but its embedding, which is looked up."""
    return network.parameters() - (network.vocabulary + 1) * network.config.embedding


def layers_parameters(network: Network) -> int:
    """The parameters between the embedding and the head."""
    return active(network) - network.vocabulary * network.config.width
