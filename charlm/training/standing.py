"""What a run tells while it goes, what it remembers beside its trainer, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Listener:
    """What a run tells while it goes: log objects, text for people, and each update's progress."""

    report: Callable[[dict[str, Any]], None] = lambda entry: None
    say: Callable[[str], None] = lambda text: None
    update: Callable[[float, int], None] = lambda progress, tokens: None


@dataclass
class Standing:
    """What a run remembers beside its trainer."""

    elapsed_s: float = 0.0
    best_nats_per_char: float | None = None
    best_steps: int = 0
    stale_validations: int = 0
    validated_steps: int = 0
    validated_progress: float = 0.0
    next_report: int = 1
    log_bytes: int = 0
    val_share: float = 1.0
    finished: bool = False
    init: dict[str, Any] | None = None  # of the model that it went on from
    losses: list[Any] = field(default_factory=list)  # since the last report


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at its end, for want of patience, or by the signal of that number."""

    steps: int
    best_nats_per_char: float | None
    signal: int | None
