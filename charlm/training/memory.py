"""A lack of memory, as an error of ours that names what takes the most."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from charlm.config import TrainingConfig
from charlm.errors import TrainingError
from charlm.network import Network

# About so many numbers are kept of each weight (its gradient, the optimizer's, an average) and, of
# each unit and token, for the gradient of an update.
PER_WEIGHT, PER_UNIT = 5, 16


def memory_advice(network: Network, config: TrainingConfig) -> str:
    """What to lower where memory runs out, by what takes the most of it."""
    shape, parameters = network.config, network.parameters()
    rows = config.micro_batch or config.batch or 1
    units = shape.width * shape.layers * shape.members
    if PER_UNIT * rows * config.context * units > PER_WEIGHT * parameters:
        return "The tokens of an update take the most of it: lower --batch, --context or --width."
    weights = network.shapes().items()
    of_vocabulary = sum(
        math.prod(size) for name, size in weights if "embedding" in name or "head" in name
    )
    if of_vocabulary > parameters / 2:
        return (
            f"A vocabulary of {network.vocabulary:,} takes the most of it: prepare the text with"
            " a lower --vocab-size or a higher --min-count, or lower --embedding and --width."
        )
    return f"{parameters:,} weights take the most of it: lower --width, --layers or --members."


@contextmanager
def memory_needed(kind: type[TrainingError], advice: Callable[[], str]) -> Iterator[None]:
    """Raises an error of that kind, with that advice, where memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU torch has no type for it.
        lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not (lacks or "can't allocate" in str(error)):
            raise
        raise kind(f"memory ran out. {advice()}") from error
