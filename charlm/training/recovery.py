"""Back to what was saved last, and more carefully: when numbers go bad or memory runs out.

After bad numbers the learning rate is halved; after a lack of memory each update is made in twice
as many parts. Either happens a few times at most; then the run ends with an error.
"""

import math
from pathlib import Path

from charlm.errors import TrainingError
from charlm.training import checkpoint
from charlm.training.standing import Standing
from charlm.training.trainer import Trainer

RECOVERIES = 4  # of one run
LR_SHARE = 0.5
# A run that has lost all it had learned does not find back by itself: its loss is that of guessing
# again, after it had been at this share of that.
LEARNED = 0.75


class DivergedError(TrainingError):
    """The loss or a weight is not a number any more, or the loss has exploded."""


class MemoryLackError(TrainingError):
    """The device, or the machine, has not enough memory for an update."""


def recovered(
    trainer: Trainer, saved: Path, trouble: TrainingError, now: Standing
) -> tuple[Standing, str]:
    """Takes the trainer back to what is in `saved`: the standing then, and what is otherwise now.

    The best model stays the one that there is `now`. Raises `trouble` where the run has had all its
    recoveries.
    """
    if now.recoveries >= RECOVERIES:
        raise trouble
    last = checkpoint.load(saved)
    trainer.load_state_dict(last.tensors, last.trainer)
    standing = Standing.from_dict(last.run)
    standing.recoveries = now.recoveries + 1
    standing.best_nats_per_char, standing.best_steps = now.best_nats_per_char, now.best_steps
    if isinstance(trouble, MemoryLackError):
        trainer.parts *= 2
        return standing, f"with each update in {trainer.parts} parts"
    trainer.lr_share *= LR_SHARE
    return standing, f"with a learning rate of {trainer.peak_lr:g}"


def exploded(loss_nats: float, lowest_nats: float | None, vocabulary: int) -> bool:
    """Whether a run whose lowest loss was so low has lost what it had learned."""
    guessing = math.log(vocabulary)
    return lowest_nats is not None and lowest_nats < LEARNED * guessing and loss_nats > guessing
