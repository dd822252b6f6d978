"""The knobs of a run."""

from dataclasses import dataclass

from charlm.errors import ConfigError
from charlm.knobs import Knobs, knob

DROPOUT_KINDS = ("plain", "variational")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "muon")
AVERAGES = ("none", "ema", "nt-asgd")
SCHEDULES = ("linear", "cosine", "wsd", "exponential", "constant")
PRECISIONS = ("float32", "tf32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class TrainingConfig(Knobs):
    """How a network is fitted to a corpus."""

    budget: float | None = knob(
        None,
        "Wall-clock time of the whole process, such as 90s, 10m or 1.5h"
        " (2m when neither --steps nor --epochs is given; with one of them, what ends first).",
        above=0,
        unit="duration",
    )
    steps: int | None = knob(None, "Stop after this many updates.", low=1)
    epochs: float | None = knob(None, "Stop after this many passes over the text.", above=0)
    batch: int | None = knob(
        None, "Rows read side by side in one update (default: 16; 32 with muon).", low=1
    )
    micro_batch: int | None = knob(
        None,
        "At most so many rows at a time in one process; the gradients of an update's rows add up"
        " (default: all of them at once).",
        low=1,
    )
    context: int = knob(64, "Time steps per update; the state is carried on.", low=1)
    vary_context: bool = knob(
        False,
        "Let contexts differ in length, and the learning rate with them (not for records).",
    )
    lr: float | None = knob(
        None,
        "Peak learning rate (adamw, adam, muon: 0.008, more for a short budget; rmsprop: 0.002;"
        " sgd: 2; but for muon half of it for GRU, minGRU, minLSTM and xLSTM; muon: less where the"
        " width is above 256, by its root).",
        above=0,
    )
    schedule: str = knob("linear", "How the learning rate falls to its end.", choices=SCHEDULES)
    warmup: float = knob(0.02, "Fraction of the run in which the rate rises.", low=0, high=1)
    optimizer: str | None = knob(
        None,
        "The optimiser (default: adamw; by budget muon for lstm, gru, mogrifier, rnn and jordan).",
        choices=OPTIMIZERS,
    )
    weight_decay: float | None = knob(
        None,
        "Weight decay of the matrices (default: 0; by budget 0.1 where Muon reads a text often).",
        low=0,
    )
    clip: float | None = knob(1.0, "Largest norm of the whole gradient; 0 is off.", low=0)
    dropout: float | None = knob(
        None,
        "Fraction of each layer's outputs dropped (default: more where a text is read more often).",
        low=0,
        below=1,
    )
    dropout_kind: str = knob(
        "plain",
        "Drop other units at each step, or the same ones over a whole context.",
        choices=DROPOUT_KINDS,
    )
    dropout_input: float = knob(0.0, "Fraction of the embedding's output dropped.", low=0, below=1)
    dropout_embedding: float = knob(
        0.0, "Fraction of the symbols whose whole embedding is dropped.", low=0, below=1
    )
    dropout_output: float | None = knob(
        None,
        "Fraction of what the head reads dropped, in place of --dropout of the highest layer.",
        low=0,
        below=1,
    )
    weight_drop: float = knob(
        0.0, "Fraction of the recurrent matrices dropped (DropConnect).", low=0, below=1
    )
    activation_penalty: float = knob(
        0.0, "Times the mean square of what the head reads is added to the loss (AR).", low=0
    )
    temporal_penalty: float = knob(
        0.0,
        "Times the mean square of the highest output's change from step to step is added to the"
        " loss (TAR).",
        low=0,
    )
    average: str = knob(
        "none",
        "Validate and keep an average of the weights: ema, of the run's last part; nt-asgd, of all"
        " since validation stopped getting better.",
        choices=AVERAGES,
    )
    average_share: float = knob(
        0.05, "ema: the mean age of what is averaged, as a share of the run.", above=0, high=0.5
    )
    average_wait: int = knob(
        5, "nt-asgd: begin when a validation is worse than the best so many before it.", low=1
    )
    ngram: int | None = knob(
        None,
        "Order of the n-gram model of the text that is mixed with the network; 0 leaves counts out"
        " (default: 7, of words 4, and of a large text without what is rare).",
        low=0,
        high=32,
    )
    seed: int | None = knob(
        None, "Seed of every random choice (default: chosen, and told).", low=0, high=2**63 - 1
    )
    precision: str | None = knob(
        None, "Arithmetic in training (default: bfloat16 where fast).", choices=PRECISIONS
    )
    deterministic: bool = knob(
        False,
        "Only arithmetic that comes out the same each time (on a GPU slower), and --resume with as"
        " many threads as before.",
    )
    compile: bool = knob(False, "Compile the training step with torch.compile.")
    device: str = knob("auto", "Where to train; auto says what it took.", choices=DEVICES)
    eval_every: int | None = knob(None, "Updates between validations (default: by time).", low=1)
    patience: int | None = knob(None, "Stop after this many validations without a new best.", low=1)
    peek: int | None = knob(None, "Characters of sample text shown at each validation.", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.epochs is not None:
            raise ConfigError("--steps and --epochs each say how many updates; give one of them.")
