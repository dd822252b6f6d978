"""The names and types of what may be given by name, for editors and type checkers.

Each group is a dataclass of `config`, which has ranges, helps and defaults, and checks the values;
a test holds the two together.
"""

from collections.abc import Sequence
from typing import TypedDict

from charlm.sampling.generate import Place


class PrepOptions(TypedDict, total=False):
    """What `prepare` takes: the knobs of config.PrepConfig."""

    level: str
    words: str
    vocab_size: int | None
    min_count: int
    val: float
    test: float
    records: str
    held_out: str
    seed: int
    normalize: str


class TrainOptions(TypedDict, total=False):
    """What `train` takes: the knobs of config.NetworkConfig and config.TrainingConfig."""

    cell: str
    width: int | None
    members: int | None
    layers: int | None
    embedding: int | None
    norm: str | None
    residual: bool | None
    feed_forward: bool | None
    tied: bool
    mixtures: int
    adaptive: bool
    attention: bool
    memory: int
    span: int | None
    bidirectional: bool
    budget: float | None
    steps: int | None
    epochs: float | None
    batch: int | None
    micro_batch: int | None
    context: int
    vary_context: bool
    lr: float | None
    schedule: str
    warmup: float
    optimizer: str | None
    weight_decay: float | None
    clip: float | None
    dropout: float | None
    dropout_kind: str
    dropout_input: float
    dropout_embedding: float
    dropout_output: float | None
    weight_drop: float
    activation_penalty: float
    temporal_penalty: float
    average: str
    average_share: float
    average_wait: int
    ngram: int | None
    seed: int | None
    precision: str | None
    deterministic: bool
    compile: bool
    device: str
    eval_every: int | None
    patience: int | None
    peek: int | None


class SampleOptions(TypedDict, total=False):
    """How `Model` samples: the knobs of config.SamplingConfig, and what it begins and ends with.

    `state` is a place to go on from, and `unknown`, one of config.UNKNOWN_POLICIES, what becomes
    of symbols of the prompt that the model does not know. A sample ends before one of the texts
    `stops`, after `max_lines`, with its record or else its line (`until_record`), or where the
    whole of it matches the expression `match`. `ban` and `allow` are characters or words that are
    never drawn, and that alone are. Where several texts can be given, a `str` is one of them.
    """

    state: Place | None
    unknown: str
    stops: str | Sequence[str]
    max_lines: int | None
    until_record: bool
    ban: str | Sequence[str]
    allow: str | Sequence[str]
    match: str | None
    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    repetition_penalty: float
    repetition_window: int
    greedy: bool
    length: int | None
    seed: int | None
