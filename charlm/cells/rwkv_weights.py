"""The weights of RWKV-7's time mixing: their shapes, and how they begin, which is half the model.

As in the authors' RWKV-v7/train_temp/src/model.py (github.com/BlinkDL/RWKV-LM): at first nothing
is said, the low-rank maps do nothing, and units differ in how long they remember.
"""

from charlm.cells.cell import Place, Shape
from charlm.cells.heads import heads
from charlm.cells.initial import Constant, Initialiser, Orthogonal, Stacked, Uniform, Values
from charlm.cells.token_shift import shares

POWERS = (0.2, 0.7, 0.7, 0.9, 0.9, 0.2)  # of the token shift of r, k, v, w, a, g
RANKS = {"w": 2.5, "a": 2.5, "g": 5.0, "v": 1.7}  # times the root of the width


def inputs(place: Place) -> int:
    """The size of x without what is lent."""
    return place.inputs - place.width * place.lent


def shapes(place: Place) -> dict[str, Shape]:
    """The weights' shapes; v0, v1 and v2 are there where something is lent."""
    D, E = place.width, inputs(place)
    found: dict[str, Shape] = {"mix": (6 * E,), "weight_o": (D, D)}
    found |= dict.fromkeys(("weight_r", "weight_k", "weight_v"), (D, E))
    found |= dict.fromkeys(("k_k", "k_a", "r_k", "norm_scale", "norm_shift"), (D,))
    for name in "wagv" if place.lent else "wag":
        found |= {f"{name}1": (rank(name, D), E), f"{name}2": (D, rank(name, D))}
    return found | {name: (D,) for name in ("w0", "a0", "v0") if name != "v0" or place.lent}


def rank(name: str, width: int) -> int:
    """The rank of a low-rank map: the authors' multiple of 32, of 8 for a width below 512."""
    step = 8 if width < 512 else 32
    return max(step, round(RANKS[name] * width**0.5 / step) * step)


def initialisers(place: Place) -> dict[str, Initialiser]:
    """How each weight begins, by name."""
    D, E = place.width, inputs(place)
    N = D // heads(D)
    height = place.layer / max(place.layers - 1, 1)  # 0 to 1
    rest = 1.0 - place.layer / place.layers  # 1 to nearly 0
    line = [i / max(D - 1, 1) for i in range(D)]  # 0 to 1 over the width
    zigzag = [2 * (i % N) / max(N - 1, 1) - 1 for i in range(D)]  # -1 to 1 over each head
    zigzag = [x * abs(x) for x in zigzag]
    both = list(zip(line, zigzag, strict=True))
    found: dict[str, Initialiser] = {
        "mix": Stacked(tuple(Values(shares(E, power * rest)) for power in POWERS)),
        "weight_r": Uniform(0.5 * E**-0.5),
        "weight_k": Uniform(0.05 * E**-0.5),
        "weight_v": Uniform(0.5 * E**-0.5),
        "weight_o": Constant(0.0),
        "k_k": Values(tuple(0.76 - 0.1 * x for x in line)),
        "k_a": Constant(1.02),
        "r_k": Constant(-0.04),
        "norm_scale": Constant(1.0),
        "norm_shift": Constant(0.0),
        "w0": Values(tuple(6 * x ** (1 + height**0.3) - 5.5 + 2.5 * z for x, z in both)),
        "a0": Values(tuple(-0.39 + 0.4 * x + 0.3 * z for x, z in both)),
        "v0": Values(tuple(0.93 - 0.4 * x for x in line)),
    }
    for name in RANKS:
        found |= {f"{name}1": Constant(0.0), f"{name}2": Orthogonal(0.1)}
    return {name: found[name] for name in shapes(place)}
