"""What a run tells while it goes, what it remembers beside its trainer, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from charlm.untrusted import fits


@dataclass
class Listener:
    """What a run tells while it goes: log objects, text for people, and each update's progress.

    `stopping` gets the number of the signal that asks the run to stop, within the signal's handler.
    """

    report: Callable[[dict[str, Any]], None] = lambda entry: None
    say: Callable[[str], None] = lambda text: None
    update: Callable[[float, int], None] = lambda progress, tokens: None
    stopping: Callable[[int], None] = lambda number: None


@dataclass
class Standing:
    """What a run remembers beside its trainer."""

    elapsed_s: float = 0.0
    begun_s: float = 0.0  # when the first update began
    best_nats_per_char: float | None = None
    best_steps: int = 0
    mixed_nats_per_char: float | None = None  # of the best with counts
    stale_validations: int = 0
    validated_steps: int = 0
    validated_progress: float = 0.0
    next_report: int = 1
    log_bytes: int = 0
    val_share: float = 1.0
    owes_validation: bool = False  # as a signal came in the middle of one
    finished: bool = False
    init: dict[str, Any] | None = None  # of the model that it went on from
    job: int | None = None  # of several processes: Ranks.job
    recoveries: int = 0
    lowest_loss_nats: float | None = None  # of a report
    losses: list[Any] = field(default_factory=list)  # since the last report

    @property
    def kept_nats_per_char(self) -> float | None:
        """What the model that is kept reached, with counts if it has them; None if not known."""
        mixed = self.mixed_nats_per_char
        return self.best_nats_per_char if mixed is None else mixed

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Standing":
        """The standing with these values. Raises TypeError for what a run never writes."""
        for name, hint in get_type_hints(cls).items():
            if name in values and not fits(hint, values[name]):
                raise TypeError(f"{name} is {str(values[name])[:40]!r}")
        if not all(type(loss) is float for loss in values.get("losses", ())):
            raise TypeError("a loss is no number")
        return cls(**values)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at its end, for want of patience, or by the signal of that number."""

    steps: int
    best_nats_per_char: float | None
    signal: int | None
