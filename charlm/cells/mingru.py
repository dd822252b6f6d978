"""The minGRU: a GRU whose gate and candidate see the input alone.

    z = σ(W_z x + b_z);  h' = (1 − z) ⊙ h + z ⊙ g(W_h x + b_h);  y = h'        (g: min_rnn.py)

Source: Feng et al. 2024 (arXiv:2410.01201), sec. 3.1 and app. B. The rows lie in the order z, h.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Place
from charlm.cells.initial import Constant, Initialiser, Stacked, Uniform
from charlm.cells.min_rnn import MinRNN, spread
from charlm.ops import Array


class MinGRU(MinRNN):
    """The minGRU cell. State: h (B, D)."""

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        return {
            "weight_x": Uniform(place.inputs**-0.5),
            "bias": Stacked((spread(place), Constant(0.0))),
        }

    def update(self, xp: Any, gates: Array) -> Array:
        return ops.sigmoid(xp, gates)
