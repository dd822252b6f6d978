"""How long a run is: by updates, by the clock, or by both, of which the first to end ends it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from charlm.config import TrainingConfig
from charlm.knobs import as_option
from charlm.presets import LENGTHS

# What the end of a run costs besides its last validation: saving, and the process's own exit.
EXIT_S = 0.7


@dataclass
class Plan:
    """So many `updates`, or until the clock says so, last validation and save included.

    `begun_s` is when the first update began, and `validation_s` and `mixing_s` what the last
    validation and the mixing with counts are expected to take; the run tells all three. Progress by
    the clock counts from `begun_s`: what comes before is no part of the schedule, and takes not the
    same time twice.
    """

    updates: int | None = None
    budget_s: float | None = None
    begun_s: float = 0.0
    validation_s: float = 0.0
    mixing_s: float = 0.0

    def progress(self, steps: int, elapsed_s: float) -> float:
        """How much of the run is done, from 0 to 1 (or a little above)."""
        counted = steps / self.updates if self.updates else 0.0
        if self.budget_s is None:
            return counted
        # A budget too short for its own ending still trains for some of it.
        last_s = 1.1 * (self.validation_s + self.mixing_s) + EXIT_S
        end_s = max(self.budget_s - last_s, 0.2 * self.budget_s)
        if self.begun_s >= end_s:
            return 1.0
        return max(counted, (elapsed_s - self.begun_s) / (end_s - self.begun_s))

    def over(self, steps: int) -> bool:
        """Whether that many updates are all of them, whatever the clock says."""
        return self.updates is not None and steps >= self.updates

    def during(self, steps: int, elapsed_s: float) -> float:
        """The progress in the middle of the next update, so that neither end has rate 0.

        An update that is made when the time is over already is in the middle of the run.
        """
        progress = self.progress(steps + 0.5, elapsed_s)
        return progress if progress < 1 else 0.5


def with_changes(
    config: TrainingConfig, changes: dict[str, Any], say: Callable[[str], None]
) -> TrainingConfig:
    """`config` with `changes`, of which a length takes the place of the one that there was.

    What does not end the run any more is said, unless it is changed itself.
    """
    if not changes.keys() & set(LENGTHS):
        return replace(config, **changes)
    gone = {name: getattr(config, name) for name in LENGTHS if name not in changes}
    for name, value in gone.items():
        if value is not None:
            say(f"{as_option(name, value)} of the run does not end it any more")
    return replace(config, **dict.fromkeys(gone), **changes)
