"""Learning-rate schedules: progress in [0, 1] -> share of the peak rate."""

import math
from collections.abc import Callable

# The share of the run in which the warm-up-stable-decay schedule falls.
WSD_DECAY = 0.2
# The exponential schedule begins to fall after so much of the run, and ends at so much of the peak:
# char-rnn's 0.97 an epoch after 10 of 50.
EXPONENTIAL_AFTER, EXPONENTIAL_END = 0.2, 0.97**40

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
    "exponential": lambda progress: (
        EXPONENTIAL_END ** max(0.0, (progress - EXPONENTIAL_AFTER) / (1.0 - EXPONENTIAL_AFTER))
    ),
    "wsd": lambda progress: min(1.0, (1.0 - progress) / WSD_DECAY),
}


def share(schedule: str, progress: float, warmup: float) -> float:
    """The share of the peak learning rate at `progress`: it rises over `warmup`, then falls.

    Law: within [0, 1], 1 at the end of the warm-up, and 0 at progress 1, but for `constant` and
    `exponential`.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1.0 - warmup) if warmup < 1 else 1.0
    return SCHEDULES[schedule](rest)
