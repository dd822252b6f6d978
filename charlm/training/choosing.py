"""What a budget is best spent on: how many networks, how wide, how much of them dropped.

A wide network learns more from each token and reads fewer of them. So the machine is measured for a
moment, and the width taken at which READINGS tokens are read for each parameter of the layers. That
number is a guess from few runs, of an lstm with Muon on the training part of tiny Shakespeare: in
40 s widths of 192 and 224 were best, which read 6 and 4, and in 133 s 320 and 384 (1.431 and 1.427
nats/char; 256 units ended at 1.443, 512 at 1.436), which read 5.5 and 3. What the command line says
stays.

A text that one network would read too often is better read by several, whose mean predicts. On that
training part nats/char were

    time altogether    one network    two            four
    40 s               1.429          1.413          1.460
    120 to 133 s       1.406          1.381          1.379
    240 to 300 s       1.392 (300)    1.380 (266)    1.365 (240)

But each must be fitted often enough. On slower cores, with the updates of each,

    text, time altogether       one network    two            four
    100 kB, 60 s                1.493 (496)    1.460 (495)    1.517 (302)
    180 kB of Python, 40 s      1.212 (371)    1.272 (407)
    python-docs, 60 s           1.177 (527)    1.169 (445)    1.224 (310)
    python-docs, 133 s          1.137 (1403)   1.116 (746)    1.124 (593)
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from charlm.amounts import counted
from charlm.cells import cells_named
from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import Network, build
from charlm.training import optimizers
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams
from charlm.training.trainer import Trainer

READINGS = 3.5
WIDTHS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536)
PROBES = (128, 384)  # widths
UPDATES = 5
# So there are as many members as make use of so many readings and updates, up to so many; and more,
# up to MOST_MEMBERS, where each can read the text as often as it ever may.
MEMBER_READINGS, MEMBER_UPDATES, MEMBERS, MOST_MEMBERS = 1.6, 450, 4, 16
# A text that would be read more often than this is better read by a wider network of which more is
# dropped, as long as that is fitted often enough: 300 s of two fast cores and the training part of
# tiny Shakespeare ended at 1.419 nats/char with 640 units, which read it 8 times, and at 1.392 to
# 1.399 with 768, which read it 6 times.
WORN, WIDE_UPDATES = 5.0, 500
# But the layers may have no more parameters than this times the tokens to this power: of its first
# 10 kB 96 units learned most; of 100 kB two networks of 256 (1.442; of 384 they wore out, 1.452);
# of all of it 768.
MOST_PARAMETERS, PARAMETERS_POWER = 45.0, 0.8
# Of a budget, validations take some; its beginning and its end are no training either.
TRAINING_SHARE, ENDING_S = 0.92, 2.0
# How often the text may be read until so much of each layer is dropped. On tiny Shakespeare's
# training part 320 units that read it 3.0 times ended at 1.430 nats/char without dropout and at
# 1.442 with 0.1; 256 units that read it 4.1 times at 1.450 and at 1.443.
DROPOUTS = ((3.3, 0.0), (4.2, 0.1), (5.0, 0.3), (float("inf"), 0.5))
# In fewer updates than this a network has not learned enough to wear a text out, which counts as
# read that much less often: of 100 kB 190 updates (4 readings) ended at 1.634 nats/char without
# dropout and at 1.684 with 0.3; 340 (8 readings) at 1.526, with 0.3 at 1.508 and with 0.5 at 1.536;
# of 10 kB 190 (43 readings) at 2.198 and with 0.5 at 2.140.
FITTED_UPDATES = 600
# Without Muon a text wears out later: 3,000 updates of mingru and minlstm, 3.4 readings of tiny
# Shakespeare's training part, ended at 1.499 and 1.487 nats/char, with 0.1 at 1.524 and 1.521.
SLOWLY_WORN = ((6.0, 0.0), (12.0, 0.3), (float("inf"), 0.5))
# Muon's matrices decay where a text is read that often: 133 s ended at 1.413 without, 1.401 with
# this share and 1.413 with twice as much; 60 s, four readings, at 1.416 without and 1.421 with it.
DECAYED_FROM, DECAY = 5.0, 0.1
# More readings than this bring nothing, if updates are enough, so a run ends before its budget: 100
# kB and 256 units ended at 1.512 nats/char after 22 readings and at 1.545 after 76.
MOST_EPOCHS, LEAST_UPDATES = 12.0, 300
# That is of Muon at widths chosen here; what is told gets its time, such as each cell of a zoo.
MOST_TOLD_EPOCHS = 100.0


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
    """What was chosen, the tokens and updates there will be with it, and the time it takes.

    Every one of the `members` reads all of the `tokens`. A run that its text ends, and not its
    budget, has so many `steps`.
    """

    members: int
    width: int
    dropout: float
    weight_decay: float
    optimizer: str
    tokens: float
    updates: float
    steps: int | None
    seconds: float

    def why(self, lr: float, tokens: int) -> str:
        """The choice and its reason, for a text of so many tokens; `lr` is the rate it led to."""
        epochs = self.tokens / tokens
        times = f"{epochs:.2g}" if epochs < 10 else f"{epochs:,.0f}"
        shape = f"{self.members} networks of width" if self.members > 1 else "width"
        return (
            f"{shape} {self.width}, dropout {self.dropout:g}, weight decay {self.weight_decay:g},"
            f" {self.optimizer} at {lr:.2g}: in {self.seconds:.0f} s it makes about"
            f" {counted(round(self.updates), 'update')} here and"
            f" {'each reads' if self.members > 1 else 'reads'}"
            f" {self.tokens:,.0f} tokens, the text {times} times"
        )

    def fill(
        self, network: NetworkConfig, config: TrainingConfig
    ) -> tuple[NetworkConfig, TrainingConfig]:
        """Both configs with what they leave open as it was chosen, and with an end."""
        return replace(network, width=self.width, members=self.members), replace(
            config,
            steps=self.steps if config.steps is config.epochs is None else config.steps,
            dropout=self.dropout,
            weight_decay=self.weight_decay,
            optimizer=self.optimizer,
        )


def for_budget(
    network: NetworkConfig,
    config: TrainingConfig,
    vocabulary: int,
    tokens: int,
    device: torch.device,
    started: float,
    processes: int = 1,
) -> Choice:
    """What to do with `config.budget`, whose clock began at `started`."""
    pace = measure(network, config, vocabulary, device, processes)
    other_s = time.monotonic() - started + ENDING_S
    return choose(network, config, vocabulary, tokens, pace, config.budget, other_s)


def measure(
    network: NetworkConfig,
    config: TrainingConfig,
    vocabulary: int,
    device: torch.device,
    processes: int = 1,
) -> Pace:
    """The pace of networks of this kind on this machine, from a few updates of two of them.

    Where `processes` share the rows of an update, that of all of them, from the rows of one.
    """
    whole = config.batch or optimizers.batch_of(optimizer_of(network, config))
    rows = max(1, whole // processes)
    # What Muon takes beside is known.
    config = replace(config, seed=0, lr=1e-4, dropout=0.1, optimizer=optimizers.USUAL, batch=rows)
    ids = np.random.default_rng(0).integers(0, vocabulary, 4 * config.batch * config.context)
    sizes, seconds = [], []
    for width in PROBES:
        probe = build(replace(network, width=width, members=1), vocabulary)
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
        seconds.append(min(np.diff(moments)) / (whole * config.context))
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

    Law: more time never means fewer members, nor, of as many, narrower ones.
    """
    seconds = max(TRAINING_SHARE * (budget_s - other_s), 0.2 * budget_s)
    optimizer = optimizer_of(network, config)
    update_tokens = (config.batch or optimizers.batch_of(optimizer)) * config.context
    epochs = MOST_EPOCHS if optimizer == "muon" and network.width is None else MOST_TOLD_EPOCHS
    most = max(epochs * tokens, LEAST_UPDATES * update_tokens)
    if config.steps is not None:
        most = config.steps * update_tokens
    elif config.epochs is not None:
        most = config.epochs * tokens
    alone = []  # networks that have all of the time: width, parameters and tokens read
    for width in WIDTHS if network.width is None else (network.width,):
        one = build(replace(network, width=width, members=1), vocabulary)
        read = pace.tokens(active(one), seconds)
        read *= optimizers.training_share(optimizer, width, update_tokens)
        alone.append((width, layers_parameters(one), read))
    members = network.members
    if members is None:
        one_only = network.width is not None or network.bidirectional
        enough = max(MEMBER_READINGS * tokens, MEMBER_UPDATES * update_tokens)
        # Only a text ends members sooner: a low count that is told makes no more of them.
        if config.steps is config.epochs is None:
            enough = min(enough, most)
        members = 1 if one_only else _members(alone, enough, most)
    best = None
    for width, parameters, read in alone:
        read /= members
        worn = read > WORN * tokens and min(read, most) >= WIDE_UPDATES * update_tokens
        fits = parameters <= MOST_PARAMETERS * tokens**PARAMETERS_POWER
        if best is not None and not (fits and (worn or read >= READINGS * parameters)):
            break
        best = (width, read)
    width, read = best
    dropout = config.dropout
    if dropout is None:
        shares = DROPOUTS if optimizer == "muon" else SLOWLY_WORN
        fitted = min(1.0, min(read, most) / update_tokens / FITTED_UPDATES)
        dropout = next(share for limit, share in shares if fitted * read < limit * tokens)
    weight_decay = config.weight_decay
    if weight_decay is None:
        decays = optimizer == "muon" and read >= DECAYED_FROM * tokens
        weight_decay = DECAY if decays else 0.0
    # An end by count is the same on a machine that turns out faster or slower than it seemed.
    steps = round(most / update_tokens) if most < read else None
    share = min(1.0, most / read)
    read, seconds = share * read, other_s + share * (budget_s - other_s)
    updates = read / update_tokens
    return Choice(members, width, dropout, weight_decay, optimizer, read, updates, steps, seconds)


def _members(alone: list[tuple[int, int, float]], enough: float, most: float) -> int:
    """How many members each make use of `enough` tokens, and of `most` where they are many.

    A member makes use of no more than READINGS for each of its parameters; that a short text may
    not take so wide a one is left out of account. `alone` is of networks that have all of the time,
    each with its width, its parameters and the tokens it reads.
    """
    members = 1
    while members < MOST_MEMBERS:
        share = 1 / (members + 1)
        useful = max(min(share * read, READINGS * parameters) for _, parameters, read in alone)
        if useful < (enough if members < MEMBERS else most):
            break
        members += 1
    return members


def optimizer_of(network: NetworkConfig, config: TrainingConfig) -> str:
    """The optimiser that is asked for, or the one with which the cells learn most in a time."""
    if config.optimizer is not None:
        return config.optimizer
    habits = [cell.habits for cell in cells_named(network.cell)]
    return "muon" if all(one.muon is not None for one in habits) else optimizers.USUAL


def active(network: Network) -> int:
    """The parameters that a token is multiplied with: all but its embedding, which is looked up."""
    return network.parameters() - (network.vocabulary + 1) * network.config.embedding


def layers_parameters(network: Network) -> int:
    """The parameters between the embedding and the head."""
    return active(network) - network.vocabulary * network.config.width
