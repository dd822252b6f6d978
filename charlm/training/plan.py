"""How long a run is: by updates or by the clock."""

from dataclasses import dataclass

# What the end of a run costs besides its last validation: saving, and the process's own exit.
EXIT_S = 0.7


@dataclass
class StepPlan:
    """A run of a fixed number of updates."""

    total: int

    def progress(self, steps: int, elapsed_s: float) -> float:
        """How much of the run is done, from 0 to 1."""
        return steps / self.total

    def during(self, steps: int, elapsed_s: float) -> float:
        """The progress in the middle of the next update, so that neither end has rate 0."""
        return (steps + 0.5) / self.total


@dataclass
class BudgetPlan:
    """A run that ends, with its last validation and save, when the clock says so.

    `validation_s` is what the last validation is expected to take; the run updates it.
    """

    budget_s: float
    validation_s: float = 0.0

    def progress(self, steps: int, elapsed_s: float) -> float:
        """How much of the run is done, from 0 to 1 (or a little above)."""
        # A budget too short for its own ending still trains for some of it.
        training_s = max(self.budget_s - 1.1 * self.validation_s - EXIT_S, 0.2 * self.budget_s)
        return elapsed_s / training_s

    def during(self, steps: int, elapsed_s: float) -> float:
        """The progress at the next update."""
        return self.progress(steps, elapsed_s)


Plan = StepPlan | BudgetPlan
