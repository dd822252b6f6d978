"""Who watches runs: told that one begins, what it says, and how it ended."""

from typing import Protocol

from charlm.training.run import Run
from charlm.training.standing import Listener, Outcome


class Watch(Protocol):
    """What is told of each run."""

    def listener(self) -> Listener:
        """What hears the run while it goes."""

    def begin(self, run: Run) -> None:
        """Called before the run's first update."""

    def end(self, run: Run, outcome: Outcome) -> None:
        """Called after the run's last save."""


def go(run: Run, watch: Watch) -> Outcome:
    """Trains `run` to its end, under the eyes of `watch`, and says how it ended."""
    watch.begin(run)
    outcome = run.go()
    watch.end(run, outcome)
    return outcome
