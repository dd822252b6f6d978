"""Rows of recurrent states, which are values: taken, put, joined and compared.

A state has for each part of a network a tuple of arrays (B, ...), of numpy or of torch, with one
row for each of B texts.
"""

from typing import Any

from charlm.ops import Array

State = tuple[tuple[Array, ...], ...]


def take_rows(state: State, rows: Any) -> State:
    """The state of those rows, in that order: indices, of which one may occur often, or a slice."""
    return tuple(tuple(part[rows] for part in layer) for layer in state)


def put_rows(xp: Any, state: State, rows: Any, other: State) -> State:
    """`state` with those rows taken from `other`, which has as many."""

    def put(whole: Array, part: Array) -> Array:
        whole = xp.asarray(whole, copy=True)
        whole[rows] = part
        return whole

    return tuple(
        tuple(put(a, b) for a, b in zip(*layers, strict=True))
        for layers in zip(state, other, strict=True)
    )


def join(xp: Any, states: Any) -> State:
    """The rows of all states in one, in that order."""
    return tuple(
        tuple(xp.concat(parts) for parts in zip(*layers, strict=True))
        for layers in zip(*states, strict=True)
    )


def choose(xp: Any, first: Array, state: State, other: State) -> State:
    """The rows of `state` where `first` (B,) is true, and of `other` elsewhere."""
    return tuple(
        tuple(
            xp.where(first.reshape(-1, *[1] * (a.ndim - 1)), a, b)
            for a, b in zip(*layers, strict=True)
        )
        for layers in zip(state, other, strict=True)
    )


def differ(state: State, other: State, tolerance: float) -> list[bool]:
    """Whether a row of two states differs by more than `tolerance` of 1 + its size: (B,).

    Two equal infinities do not differ. States without arrays have no rows that could.
    """
    found: Any = None
    for layers in zip(state, other, strict=True):
        for a, b in zip(*layers, strict=True):
            gap = abs(a - b)
            # Where one is infinite, the other says how large the gap may be.
            wide = (gap > tolerance * (1 + abs(a))) | (gap > tolerance * (1 + abs(b)))
            wide = wide.reshape(len(a), -1).any(1)
            found = wide if found is None else wide | found
    return [] if found is None else found.tolist()
