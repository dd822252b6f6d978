"""Token shift: inputs that are partly those of the step before.

    x̃ = x_t + m ⊙ (x_{t−1} − x_t)

Source: Peng et al. 2025 (arXiv:2503.14456), sec. 4; in RWKV-4, Peng et al. 2023 (arXiv:2305.13048),
eq. 11-13, μ is 1 − m.
"""

from typing import Any

from charlm.ops import Array


def shifted(x: Array, x_before: Array, mix: Array) -> Array:
    """x̃ (n, R, E) for each of the n mixtures in mix (n * E,), from rows x and x_before (R, E)."""
    return x + mix.reshape(-1, 1, x.shape[-1]) * (x_before - x)


def shifted_rows(torch: Any, x: Array, first: Array, mix: Array) -> list[Array]:
    """The same over a context x (B, T, E), `first` (B, E) being before it, each (B * T, E)."""
    change = (before(torch, x, first) - x).flatten(0, 1)
    x = x.flatten(0, 1)
    return [torch.addcmul(x, m, change) for m in mix.view(-1, x.shape[-1])]


def before(xp: Any, x: Array, first: Array) -> Array:
    """What came before each of x (B, T, E), `first` (B, E) being before them all."""
    return xp.concat((first[:, None], x[:, :-1]), 1)


def shares(inputs: int, power: float) -> tuple[float, ...]:
    """m = 1 − (i / E)^power for unit i of E: the first look at the step before, the last at this.

    The authors' choice in all versions; a layer's height sets the power.
    """
    return tuple(1.0 - (i / inputs) ** power for i in range(inputs))
