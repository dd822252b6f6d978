"""What a bidirectional network reads on the right of each place of a batch."""

import numpy as np
import torch

from charlm.network.bidirectional import DISTANCES, After
from charlm.training.streams import Batch

# In training some places know all of the text after them, as when it is scored; at others some of
# it is missing, as in a gap, mostly a short one; or all of it, as when a filling is read from the
# left to choose it. With 0.5 and 0.15 held-out tiny Shakespeare had 0.858 bits/char, not 0.880, but
# 55 % of deleted characters came back, not 59 %; with 0.3 and 0.5 it was 0.944 and 57 %.
NEXT_SHARE = 0.35
NOTHING_SHARE = 0.35
SHORTER = 0.8  # a gap longer by one symbol is so much as frequent


def after(
    batch: Batch, start: int, device: torch.device, distances: np.ndarray | None = None
) -> After:
    """What the right stack reads of a batch, as tensors; all `distances` (B, T) are 1 unless told.

    A row is read from the end of its window, or from the end of its text where that comes first,
    so what pads it comes last and is never looked at.
    """
    window, (B, T) = batch.window, batch.targets.shape
    if distances is None:
        distances = np.ones((B, T), dtype=np.int64)
    lengths = (window >= 0).sum(axis=1, keepdims=True)
    turns = np.arange(window.shape[1])  # how many symbols were read
    places = lengths - turns
    ids = np.take_along_axis(window, np.clip(places, 0, window.shape[1] - 1), axis=1)
    ids = np.where((turns > 0) & (places > 0), ids, start)
    read = np.clip(lengths - np.arange(T) - np.maximum(distances, 1), 0, None)
    return After(*(torch.from_numpy(part).to(device) for part in (ids, read, distances)))


def draw_distances(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """How far on the known text begins, for each place of a batch in training."""
    farther = np.minimum(1 + rng.geometric(1 - SHORTER, shape), DISTANCES)
    kind = rng.random(shape)
    found = np.where(kind < NEXT_SHARE, 1, farther)
    return np.where(kind > 1 - NOTHING_SHARE, 0, found)
