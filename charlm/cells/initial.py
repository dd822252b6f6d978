"""How weights begin, said without numbers of any library; `training.initialise` draws them."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """Every entry is `value`."""

    value: float


@dataclass(frozen=True)
class Uniform:
    """Entries drawn evenly from [-bound, bound]."""

    bound: float


@dataclass(frozen=True)
class Normal:
    """Entries drawn from a normal distribution with mean 0 and standard deviation `std`."""

    std: float


@dataclass(frozen=True)
class Orthogonal:
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    Source: Saxe, McClelland and Ganguli 2014 (arXiv:1312.6120), sec. 3.
    """

    gain: float = 1.0


@dataclass(frozen=True)
class Values:
    """A vector with exactly these entries."""

    entries: tuple[float, ...]


def memories(width: int, span: int, sign: float = 1.0) -> Values:
    """Biases of a gate that keeps, with which units remember for 2 to `span` steps, evenly spread.

    A gate that is σ(log(τ − 1)) forgets in about τ steps. With sign -1: of a gate that writes.
    Source: Tallec and Ollivier 2018 (arXiv:1804.11188), sec. 2.2.
    """
    steps = (1 + (span - 2) * k / max(width - 1, 1) for k in range(width))
    return Values(tuple(sign * math.log(step) for step in steps))


@dataclass(frozen=True)
class Stacked:
    """Equal parts stacked along the first axis (the gates), each with an initialiser of its own."""

    parts: tuple["Initialiser", ...]


Initialiser = Constant | Uniform | Normal | Orthogonal | Values | Stacked
