"""How a run is made again: the command line that says all that was decided for it."""

import shlex
from dataclasses import fields
from typing import Any

from charlm.config import NetworkConfig, TrainingConfig
from charlm.errors import ConfigError
from charlm.knobs import Knobs, as_option
from charlm.reporting.source import Source


def again(source: Source) -> str:
    """The `charlm train` that makes the run's model once more.

    Law: of a run by steps or epochs on a CPU, with as many threads, it is the same bit for bit.
    """
    words = ["charlm", "train", str(source.corpus.path), "-o", f"{source.run.resolve().name}-again"]
    init = source.model.history.get("init")
    if isinstance(init, dict):
        words += ["--init", str(init.get("path"))]
    options = [
        *_options(NetworkConfig, source.model.network.config.to_dict()),
        *_options(TrainingConfig, source.model.training),
    ]
    return " ".join([*map(shlex.quote, words), *options])


def _options(kind: type[Knobs], values: dict[str, Any]) -> list[str]:
    """The options that make a group of knobs what it is."""
    try:
        knobs = kind.from_dict(values)
    except ConfigError:
        return []  # a model file says what it likes of its training
    return [
        # What is on unless told, such as --clip, is typed 0 where it is off.
        " ".join(map(shlex.quote, as_option(f.name, 0 if value is None else value).split(" ", 1)))
        for f in fields(knobs)
        if (value := getattr(knobs, f.name)) != f.default
    ]
