"""The knobs of what is done with a model: sampling, and learning from what is read."""

from dataclasses import dataclass, fields

from charlm.errors import ConfigError
from charlm.knobs import Knobs, knob

# What may become of a symbol that a model does not know.
UNKNOWN_POLICIES = ("error", "skip", "replace", "nearest")


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


ADAPTED = ("none", "all", "network", "ngram")


@dataclass(frozen=True)
class AdaptationConfig(Knobs):
    """What a model learns from a text on its way through it."""

    adapt: str = knob(
        "none",
        "Learn from the text, each symbol after it was predicted: its n-grams are counted, and the"
        " network's weights follow it (this takes torch); or one of both alone.",
        choices=ADAPTED,
        bare="all",
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
        for switch, on in (("adapt", self.adapt != "none"), ("cache", self.cache is not None)):
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
        return self.adapt == "none" and self.cache is None

    @property
    def adapts_network(self) -> bool:
        """Whether the network learns."""
        return self.adapt in ("all", "network")

    @property
    def adapts_ngram(self) -> bool:
        """Whether the counts learn, where there are any, and how they are mixed."""
        return self.adapt in ("all", "ngram")


PLAINLY = AdaptationConfig()  # nothing is learned
