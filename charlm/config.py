"""Every knob of charlm, declared once: name, default, range and help.

The dataclasses are what the rest of the code is given; the command line makes its options from
their fields (`cli/options.py`), and a model file carries them whole.
"""

from dataclasses import dataclass, fields

from charlm.errors import ConfigError
from charlm.knobs import Knobs, knob

LEVELS = ("char", "byte", "word", "bpe")
RECORDS = ("none", "line", "blank", "file")
WORDS = ("text", "spaces")
NORMALIZATIONS = ("none", "nfc", "nfkc")
DROPOUT_KINDS = ("plain", "variational")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "muon")
AVERAGES = ("none", "ema", "nt-asgd")
SCHEDULES = ("linear", "cosine", "wsd", "exponential", "constant")
NORMS = ("none", "layer", "rms")
PRECISIONS = ("float32", "tf32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
# No network is larger, so that a model file cannot ask for endless layers or memory.
UNITS, LAYERS = {"low": 1, "high": 1 << 16}, {"low": 1, "high": 256}
UNKNOWN_POLICIES = ("error", "skip", "replace", "nearest")


@dataclass(frozen=True)
class PrepConfig(Knobs):
    """How text becomes a corpus."""

    level: str = knob("char", "What one token is.", choices=LEVELS)
    words: str = knob(
        "text",
        "word: a word is a run of letters and a mark stands alone; or, in a text prepared so, such"
        " as WikiText, it is what stands between spaces.",
        choices=WORDS,
    )
    vocab_size: int | None = knob(
        None,
        "At most this many tokens in the vocabulary, the most frequent ones"
        " (word: 20000 unless told, between spaces all of them; bpe: 1024).",
        low=2,
    )
    min_count: int = knob(1, "Leave out of the vocabulary what is rarer than this.", low=1)
    val: float = knob(0.05, "Fraction of the text held out for validation.", low=0, below=1)
    test: float = knob(0.05, "Fraction of the text held out for the final test.", low=0, below=1)
    records: str = knob(
        "none",
        "What ends a record; a model never sees across two records.",
        choices=RECORDS,
    )
    normalize: str = knob("none", "Unicode normal form of the text.", choices=NORMALIZATIONS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val + self.test >= 1:
            raise ConfigError(
                f"val {self.val:g} and test {self.test:g} leave nothing to train on;"
                " together they must be below 1."
            )
        if self.level != "word" and self.words != "text":
            raise ConfigError(f"words is {self.words} and level {self.level}; add --level word.")
        if self.records != "none" and self.words != "text":
            raise ConfigError(
                f"words {self.words} is for one running text, whose newlines are words; leave"
                " --records out."
            )
        if self.level == "byte" and self.normalize != "none":
            raise ConfigError(
                "normalize works on characters; use --level char, or leave --normalize out."
            )


@dataclass(frozen=True)
class NetworkConfig(Knobs):
    """The shape of a network: everything that decides what its weights are."""

    cell: str = knob("lstm", "The recurrent cell, or several from the bottom up: mlstm,slstm.")
    width: int | None = knob(
        None,
        "Units in each layer (default: as the budget and the machine allow; else 384).",
        **UNITS,
    )
    layers: int | None = knob(
        None, "Recurrent layers, one above the other (default: as the cell wants).", **LAYERS
    )
    embedding: int | None = knob(
        None,
        "Width of the input embedding (default: width where --residual or --tied is, else at"
        " most 64).",
        **UNITS,
    )
    norm: str | None = knob(
        None, "Norm before each cell and the head (default: as the cell wants).", choices=NORMS
    )
    residual: bool | None = knob(
        None, "Add each layer's input to its output (default: as the cell wants)."
    )
    feed_forward: bool | None = knob(
        None, "A feed-forward part after each cell (default: as the cell wants)."
    )
    tied: bool = knob(
        False,
        "Share the input embedding with the output head, with a product between the two"
        " where --embedding differs from --width.",
    )
    mixtures: int = knob(1, "Mix the head's probabilities from so many softmaxes.", low=1, high=64)
    attention: bool = knob(False, "Attend to the network's own past, in one layer.")
    memory: int = knob(512, "How many past positions --attention reaches back.", **UNITS)
    span: int | None = knob(
        None, "Gates begin so that units remember for up to so many steps.", low=3, high=10**6
    )
    bidirectional: bool = knob(
        False, "Predict each symbol from the text on both sides: for `fill`, not `sample`."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        cells = self.cell.count(",") + 1
        if cells > LAYERS["high"]:
            raise ConfigError(f"cell names {cells:,} cells; {LAYERS['high']} are the most.")
        if self.layers is not None and self.layers % cells:
            raise ConfigError(
                f"layers is {self.layers}, and cell names {cells} ({self.cell}), which are repeated"
                " from the bottom up; make layers a multiple of that, or leave it out."
            )
        if self.bidirectional and self.tied:
            raise ConfigError("tied is not for a bidirectional network; leave it out.")


@dataclass(frozen=True)
class TrainingConfig(Knobs):
    """How a network is fitted to a corpus."""

    budget: float | None = knob(
        None,
        "Wall-clock time of the whole process, such as 90s, 10m or 1.5h"
        " (2m when neither --steps nor --epochs is given).",
        above=0,
        unit="duration",
    )
    steps: int | None = knob(None, "Stop after this many updates.", low=1)
    epochs: float | None = knob(None, "Stop after this many passes over the text.", above=0)
    batch: int | None = knob(
        None, "Rows read side by side in one update (default: 16; 32 with muon).", low=1
    )
    context: int = knob(64, "Time steps per update; the state is carried on.", low=1)
    vary_context: bool = knob(
        False,
        "Let contexts differ in length, and the learning rate with them (not for records).",
    )
    lr: float | None = knob(
        None,
        "Peak learning rate (adamw, adam, muon: 0.008, more for a short budget; rmsprop: 0.002;"
        " sgd: 2; but for muon half of it for GRU, minGRU, minLSTM and xLSTM).",
        above=0,
    )
    schedule: str = knob("linear", "How the learning rate falls to its end.", choices=SCHEDULES)
    warmup: float = knob(0.02, "Fraction of the run in which the rate rises.", low=0, high=1)
    optimizer: str | None = knob(
        None,
        "The optimiser (default: adamw; by budget muon for lstm, gru, mogrifier, rnn and jordan).",
        choices=OPTIMIZERS,
    )
    weight_decay: float = knob(0.0, "Weight decay of the matrices.", low=0)
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
    seed: int | None = knob(
        None, "Seed of every random choice (default: chosen, and told).", low=0, high=2**63 - 1
    )
    precision: str | None = knob(
        None, "Arithmetic in training (default: bfloat16 where fast).", choices=PRECISIONS
    )
    compile: bool = knob(False, "Compile the training step with torch.compile.")
    device: str = knob("auto", "Where to train; auto says what it took.", choices=DEVICES)
    eval_every: int | None = knob(None, "Updates between validations (default: by time).", low=1)
    patience: int | None = knob(None, "Stop after this many validations without a new best.", low=1)
    peek: int | None = knob(None, "Characters of sample text shown at each validation.", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(value is not None for value in (self.budget, self.steps, self.epochs)) > 1:
            raise ConfigError("--budget, --steps and --epochs each say how long; give one of them.")


@dataclass(frozen=True)
class SamplingConfig(Knobs):
    """How text is drawn from a model."""

    temperature: float = knob(
        1.0, "Below 1 safer, above 1 wilder; 0 is the same as --greedy.", low=0
    )
    top_k: int | None = knob(None, "Draw from the K most likely tokens only.", low=1)
    top_p: float = knob(
        1.0, "Draw from the fewest tokens that hold this much probability.", above=0, high=1
    )
    min_p: float = knob(
        0.0, "Leave out tokens less likely than this share of the best one.", low=0, high=1
    )
    repetition_penalty: float = knob(
        1.0,
        "Above 1, what was among the last tokens is less likely to come again.",
        above=0,
        high=100,
    )
    repetition_window: int = knob(
        64, "How many tokens --repetition-penalty looks back, over sample and prompt.", low=1
    )
    greedy: bool = knob(False, "Always take the most likely token.")
    length: int | None = knob(
        None, "Characters to make (default: 500; of records, to their end or 10000).", low=0
    )
    samples: int = knob(1, "How many samples to make.", low=1, short="-n")
    seed: int | None = knob(
        None, "Seed of the draws (default: chosen, and told).", low=0, high=2**63 - 1
    )


@dataclass(frozen=True)
class AdaptationConfig(Knobs):
    """What a model learns from a text on its way through it."""

    adapt: bool = knob(
        False, "Learn from the text, each symbol after it was predicted (this takes torch)."
    )
    adapt_lr: float = knob(0.001, "Learning rate of --adapt.", low=0, high=1)
    adapt_decay: float = knob(
        0.003, "Share by which --adapt goes back to the trained weights.", low=0, high=1
    )
    adapt_context: int = knob(32, "Tokens that --adapt learns from at once.", low=1, high=4096)
    cache: int | None = knob(
        None, "Expect what followed similar places among the last so many.", low=1, high=1_000_000
    )
    cache_weight: float = knob(0.1, "Share of --cache in what is expected.", low=0, below=1)
    cache_flatness: float = knob(
        20.0, "How much more the most similar places count for --cache.", low=0, high=1000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for switch, on in (("adapt", self.adapt), ("cache", self.cache is not None)):
            for f in fields(self):
                if (
                    f.name.startswith(f"{switch}_")
                    and not on
                    and getattr(self, f.name) != f.default
                ):
                    raise ConfigError(
                        f"{f.name} is for --{switch}, which is off; give --{switch}, too."
                    )

    @property
    def off(self) -> bool:
        """Whether nothing is learned."""
        return not self.adapt and self.cache is None


PLAINLY = AdaptationConfig()  # nothing is learned
