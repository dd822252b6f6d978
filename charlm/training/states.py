"""Recurrent states of many rows as values: chosen row by row, and compared."""

import numpy as np
import torch
from torch import Tensor

State = tuple[tuple[Tensor, ...], ...]  # by layer and part, each (B, ...)


def choose(first: Tensor, state: State, other: State) -> State:
    """The rows of `state` where `first` (B,) is true, and of `other` elsewhere."""
    return tuple(
        tuple(
            torch.where(first.view(-1, *[1] * (a.ndim - 1)), a, b)
            for a, b in zip(*layers, strict=True)
        )
        for layers in zip(state, other, strict=True)
    )


def put_rows(state: State, rows: np.ndarray, other: State) -> State:
    """`state` with those rows taken from `other`, which has as many."""
    return tuple(
        tuple(
            a.index_copy(0, torch.from_numpy(rows).to(a.device), b)
            for a, b in zip(*layers, strict=True)
        )
        for layers in zip(state, other, strict=True)
    )


def apart(state: State, other: State, tolerance: float) -> Tensor:
    """Which rows (B,) of two states differ by more than `tolerance` of 1 + their size."""
    found = [
        ((a - b).abs() > tolerance * (1 + b.abs())).reshape(len(a), -1).any(1)
        for layers in zip(state, other, strict=True)
        for a, b in zip(*layers, strict=True)
    ]
    return torch.stack(found).any(0)


def loaded(tensors: dict[str, Tensor], layers: int, device: torch.device) -> State | None:
    """The state whose parts are named LAYER.PART, in float32; None where there are none.

    Layers without a state of their own have left nothing to be found. Raises ValueError for what is
    no part of a state.
    """
    found: list[dict[int, Tensor]] = [{} for _ in range(layers)]
    for key, value in tensors.items():
        i, j = map(int, key.split("."))
        if not value.is_floating_point():
            raise ValueError(f"{key} of the state is {value.dtype}")
        found[i][j] = value.to(device, torch.float32)
    return tuple(tuple(parts[j] for j in sorted(parts)) for parts in found) if tensors else None


def shaped(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The tensor itself. Raises ValueError where its shape is another one."""
    if tensor.shape != shape:
        raise ValueError(f"a tensor is {tuple(tensor.shape)} where {tuple(shape)} belongs")
    return tensor
