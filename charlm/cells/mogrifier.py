"""The Mogrifier LSTM: before each step its input and its output gate one another, turn by turn.

    x ← 2 σ(Q_i h) ⊙ x  in rounds i = 1, 3, 5;  h ← 2 σ(R_i x) ⊙ h  in rounds i = 2, 4
    then the LSTM's step from x, h and c

Source: Melis, Kočiský and Blunsom 2020 (arXiv:1909.01792), eqs. 1-2, with matrices of full rank.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Cell, Habits, Place, Shape, State, Weights
from charlm.cells.initial import Initialiser, Uniform
from charlm.cells.lstm import LSTM
from charlm.ops import Array

ROUNDS = 5  # the authors' best on most of their texts


class Mogrifier(LSTM):
    """The Mogrifier LSTM cell. State: h (B, D), c (B, D)."""

    # At the whole rate the gradient of 352 units exploded after some hundred updates.
    habits = Habits(muon=0.5)
    fused = False

    def shapes(self, place: Place) -> dict[str, Shape]:
        sizes = {1: (place.inputs, place.width), 0: (place.width, place.inputs)}
        gates = {f"gate_{i}": sizes[i % 2] for i in range(1, ROUNDS + 1)}
        return {**super().shapes(place), **gates}

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        uniform = Uniform(place.width**-0.5)
        return {**dict.fromkeys(self.shapes(place), uniform), **super().initialisers(place)}

    def project(self, xp: Any, w: Weights, x: Array) -> Array:
        return x

    def recur(self, xp: Any, w: Weights, u: Array, state: State) -> tuple[Array, State]:
        x, (h, c) = u, state
        for i in range(1, ROUNDS + 1):
            if i % 2:
                x = 2.0 * ops.sigmoid(xp, h @ w[f"gate_{i}"].T) * x
            else:
                h = 2.0 * ops.sigmoid(xp, x @ w[f"gate_{i}"].T) * h
        return super().recur(xp, w, super().project(xp, w, x), (h, c))

    scan = Cell.scan  # there is no fused form of it
