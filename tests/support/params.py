"""Parameters of which the quick tests take some."""

from collections.abc import Iterable

import pytest


def quick(some: Iterable, every: Iterable) -> list:
    """Every value as a parameter; those that are not among `some` are of the slow tests."""
    some = list(some)
    return [
        pytest.param(
            *(one if isinstance(one, tuple) else (one,)),
            marks=() if one in some else pytest.mark.slow,
        )
        for one in every
    ]
