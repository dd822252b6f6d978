"""The knobs of a corpus."""

from dataclasses import dataclass

from charlm.errors import ConfigError
from charlm.knobs import Knobs, knob

LEVELS = ("char", "byte", "word", "bpe")
RECORDS = ("none", "line", "blank", "file")
WORDS = ("text", "spaces")
NORMALIZATIONS = ("none", "nfc", "nfkc")
HELD_OUT = ("random", "last")


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
    held_out: str = knob(
        "random",
        "Which records validation and test take: some drawn at random, or the last of the text."
        " A text without records is cut, and they take its end.",
        choices=HELD_OUT,
    )
    seed: int = knob(1, "Seed of the draw: which records are held out.", low=0)
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
