"""Every knob of charlm, declared once: name, default, range and help.

The dataclasses are what the rest of the code is given; the command line makes its options from
their fields (`cli/options.py`), and a model file carries them whole.
"""

from charlm.config.network import NO_CELL, NORMS, NetworkConfig
from charlm.config.preparation import LEVELS, NORMALIZATIONS, RECORDS, WORDS, PrepConfig
from charlm.config.training import (
    AVERAGES,
    DEVICES,
    DROPOUT_KINDS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    TrainingConfig,
)
from charlm.config.use import PLAINLY, UNKNOWN_POLICIES, AdaptationConfig, SamplingConfig

__all__ = [
    "AVERAGES",
    "DEVICES",
    "DROPOUT_KINDS",
    "LEVELS",
    "NORMALIZATIONS",
    "NORMS",
    "NO_CELL",
    "OPTIMIZERS",
    "PLAINLY",
    "PRECISIONS",
    "RECORDS",
    "SCHEDULES",
    "UNKNOWN_POLICIES",
    "WORDS",
    "AdaptationConfig",
    "NetworkConfig",
    "PrepConfig",
    "SamplingConfig",
    "TrainingConfig",
]
