"""A lack of memory, told as an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charlm.errors import TrainingError

ADVICE = "Lower --batch, --context or --width."


@contextmanager
def memory_needed(kind: type[TrainingError], advice: str = ADVICE) -> Iterator[None]:
    """Raises an error of that kind where memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU torch has no type for it.
        lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not (lacks or "can't allocate" in str(error)):
            raise
        raise kind(f"memory ran out. {advice}") from error
