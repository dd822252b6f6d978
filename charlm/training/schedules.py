"""Learning-rate schedules: progress in [0, 1] -> share of the peak rate."""

import math
from collections.abc import Callable

# The share of the run in which the warm-up-stable-decay schedule falls.
WSD_DECAY = 0.2

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
    "wsd": lambda progress: min(1.0, (1.0 - progress) / WSD_DECAY),
}


def share(schedule: str, progress: float, warmup: float) -> float:
    """The share of the peak learning rate at `progress`: it rises over `warmup`, then falls.

    Law: within [0, 1], 1 at the end of the warm-up, and (but for `constant`) 0 at progress 1.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1.0 - warmup) if warmup < 1 else 1.0
    return SCHEDULES[schedule](rest)
