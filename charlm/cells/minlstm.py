"""The minLSTM: an LSTM whose gates see the input alone and always add up to one.

    f = σ(W_f x + b_f);  i = σ(W_i x + b_i)
    h' = f / (f + i) ⊙ h + i / (f + i) ⊙ g(W_h x + b_h);  y = h'              (g: min_rnn.py)

Source: Feng et al. 2024 (arXiv:2410.01201), sec. 3.2 and app. B. The rows lie in the order f, i, h.
"""

from typing import Any

from charlm import ops
from charlm.cells.cell import Place
from charlm.cells.initial import Constant, Initialiser, Stacked, Uniform
from charlm.cells.min_rnn import MinRNN, spread
from charlm.ops import Array


class MinLSTM(MinRNN):
    """The minLSTM cell. State: h (B, D)."""

    gates = 2

    def initialisers(self, place: Place) -> dict[str, Initialiser]:
        return {
            "weight_x": Uniform(place.inputs**-0.5),
            # With opposite biases i / (f + i) begins as the minGRU's update gate does.
            "bias": Stacked((spread(place, -1.0), spread(place), Constant(0.0))),
        }

    def update(self, xp: Any, gates: Array) -> Array:
        # i / (f + i) from logarithms, as f and i may both vanish.
        f_i = ops.log_sigmoid(xp, gates)
        D = f_i.shape[-1] // 2
        return ops.sigmoid(xp, f_i[..., D:] - f_i[..., :D])
