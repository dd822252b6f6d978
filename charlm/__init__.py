"""charlm: turns text into a small recurrent language model and uses it as a Unix filter.

As a library it is `Model`, `prepare` and `train`, which are loaded when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING

from charlm.errors import CharlmError, ConfigError, DataError, TrainingError

if TYPE_CHECKING:
    from charlm.library.making import prepare, train
    from charlm.library.model import Model

__all__ = [
    "CharlmError",
    "ConfigError",
    "DataError",
    "Model",
    "TrainingError",
    "prepare",
    "train",
]

__version__ = "0.1.0"

_HOMES = {"Model": "model", "prepare": "making", "train": "making"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}")
    return getattr(importlib.import_module(f"charlm.library.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
