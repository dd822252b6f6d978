"""Recipes as named sets of knobs: what `charlm train --preset NAME` sets unless told otherwise.

Each says where its values come from, and what of them is otherwise here.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A recipe: the knobs of the network and of training that it sets, and its source."""

    source: str
    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """All knobs that it sets, by name."""
        return {**self.network, **self.training}


PRESETS: dict[str, Preset] = {
    "char-rnn": Preset(
        source=(
            "karpathy/char-rnn, the defaults of train.lua. Its 5 bounds each entry of the gradient,"
            " here it bounds the norm; its weights begin in ±0.08; its rate falls by 3 % an epoch"
            " after the tenth, which over its 50 epochs is the schedule `exponential`."
        ),
        network={"cell": "lstm", "layers": 2, "width": 128},
        training={
            "epochs": 50.0, "batch": 50, "context": 50, "optimizer": "rmsprop", "lr": 2e-3,
            "schedule": "exponential", "warmup": 0.0, "clip": 5.0, "dropout": 0.0,
        },
    ),
    "nanogpt-cpu-budget": Preset(
        source=(
            "karpathy/nanoGPT, README, the recipe for a CPU: 0.80 M parameters and 2,000 updates of"
            " 12 rows of 64 characters. The same numbers for a recurrent network."
        ),
        network={"cell": "lstm", "layers": 1, "width": 408},
        training={"steps": 2000, "batch": 12, "context": 64, "dropout": 0.0},
    ),
    "sha-rnn": Preset(
        source=(
            "Merity 2019 (arXiv:1911.11423) and Smerity/sha-rnn, README: four layers of LSTM, one"
            " of which attends, a feed-forward part in each; here a quarter as wide and read in"
            " shorter contexts, with AdamW for LAMB and one rate that falls for two that do not."
        ),
        network={
            "cell": "lstm", "layers": 4, "width": 256, "norm": "layer", "residual": True,
            "feed_forward": True, "tied": True, "attention": True, "memory": 1024,
        },
        training={
            "epochs": 32.0, "batch": 16, "context": 256, "optimizer": "adamw", "lr": 2e-3,
            "clip": 0.25, "dropout": 0.1, "dropout_input": 0.1, "dropout_output": 0.1,
            "dropout_kind": "variational",
        },
    ),
    "awd-lstm": Preset(
        source=(
            "Merity, Keskar and Socher 2017 (arXiv:1708.02182) and salesforce/awd-lstm-lm, README,"
            " WikiText-2. Its third layer is as wide as the embedding; here a product stands"
            " between the two. Validations are as far apart as an epoch of WikiText-2 is long."
        ),
        network={"cell": "lstm", "layers": 3, "width": 1150, "embedding": 400, "tied": True},
        training={
            "epochs": 750.0, "batch": 80, "context": 70, "vary_context": True,
            "optimizer": "sgd", "lr": 30.0, "schedule": "constant", "warmup": 0.0, "clip": 0.25,
            "weight_decay": 1.2e-6, "dropout": 0.2, "dropout_kind": "variational",
            "dropout_input": 0.65, "dropout_embedding": 0.1, "dropout_output": 0.4,
            "weight_drop": 0.5, "activation_penalty": 2.0, "temporal_penalty": 1.0,
            "average": "nt-asgd", "average_wait": 5, "eval_every": 373,
        },
    ),
}  # fmt: skip

# What says how long a run is: a preset's own length gives way to any of them.
LENGTHS = ("budget", "steps", "epochs")


def fill(values: dict[str, Any], name: str, given: set[str]) -> dict[str, Any]:
    """What the preset sets of `values`, which it sets; the knobs in `given` stay as they are."""
    if given & set(LENGTHS):
        given = given | set(LENGTHS)
    found = {knob: v for knob, v in PRESETS[name].values.items() if knob not in given}
    values.update(found)
    return found
