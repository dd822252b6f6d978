"""How long a run is: by updates, by the clock, or by both, of which the first to end ends it."""

from dataclasses import dataclass

# What the end of a run costs besides its last validation: saving, and the process's own exit.
EXIT_S = 0.7


@dataclass
class Plan:
    """So many `updates`, or until the clock says so, last validation and save included.

    `validation_s` is what the last validation is expected to take; the run updates it.
    """

    updates: int | None = None
    budget_s: float | None = None
    validation_s: float = 0.0

    def progress(self, steps: int, elapsed_s: float) -> float:
        """How much of the run is done, from 0 to 1 (or a little above)."""
        counted = steps / self.updates if self.updates else 0.0
        if self.budget_s is None:
            return counted
        # A budget too short for its own ending still trains for some of it.
        training_s = max(self.budget_s - 1.1 * self.validation_s - EXIT_S, 0.2 * self.budget_s)
        return max(counted, elapsed_s / training_s)

    def during(self, steps: int, elapsed_s: float) -> float:
        """The progress in the middle of the next update, so that neither end has rate 0."""
        return self.progress(steps + 0.5, elapsed_s)
