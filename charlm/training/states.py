"""Saved recurrent states, checked as they are loaded."""

import torch
from torch import Tensor

from charlm.network.states import State


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
