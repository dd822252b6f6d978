"""What a trained network expects at each place of a text, for the mixer: read by torch.

F figures of each token, T tokens, B rows, V vocabulary, D width.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from charlm.measuring.parallel import (
    MOST_LOGITS,
    after,
    record_begins,
    record_figures,
    text_figures,
)
from charlm.model_file import Model
from charlm.training.validate import ScannedReader


def expected(
    model: Model,
    ids: np.ndarray,
    boundary: int | None,
    opening: Sequence[int],
    proceed: Callable[[], None],
    *,
    whole: bool,
) -> np.ndarray:
    """The log-probabilities (V, T) before each of ids (T,), if the `whole` of them is wanted.

    Else (2, T): those of ids, and the entropies. `proceed`, called in each batch, may raise.
    """
    reader = (_WholeReader if whole else _TargetReader)(model, proceed)
    with torch.no_grad():
        if boundary is None:
            return text_figures(reader, ids, after(reader, opening))[0][1:]
        return record_figures(reader, ids, record_begins(ids, boundary))[1:]


class _WholeReader(ScannedReader):
    """A reader that tells the nats and then all log-probabilities of each token."""

    def __init__(self, model: Model, proceed: Callable[[], None]) -> None:
        weights = {name: torch.from_numpy(weight) for name, weight in model.weights.items()}
        super().__init__(model.network, model.network.arrange(weights), proceed)
        self.figures = 1 + self.kept(model.network.vocabulary)

    def figures_of(self, x: Tensor, targets: np.ndarray) -> np.ndarray:
        """The figures (F, B, T) of targets (B, T), from what leaves the blocks (B, T, D)."""
        self._proceed()
        found = np.empty((self.figures, targets.size))
        most = max(1, MOST_LOGITS // self.logits_per_token)
        for some, ids, part in zip(
            x.flatten(0, 1).split(most),
            torch.from_numpy(targets.ravel()).split(most),
            _columns(found, most),
            strict=True,
        ):
            logs = self.network.logits(torch, self.w, some).float().log_softmax(-1)
            part[0] = -logs.gather(-1, ids[:, None])[:, 0].numpy()
            part[1:] = self.of_logs(logs, ids)
        return found.reshape(-1, *targets.shape)

    @staticmethod
    def kept(vocabulary: int) -> int:
        """How many numbers are kept of a token."""
        return vocabulary

    def of_logs(self, logs: Tensor, ids: Tensor) -> np.ndarray:
        """The figures (F - 1, N) that are kept of the log-probabilities (N, V) of ids (N,)."""
        return logs.numpy().T


class _TargetReader(_WholeReader):
    """A reader that tells the nats of each token, and then its log-probability and the entropy."""

    @staticmethod
    def kept(vocabulary: int) -> int:
        """How many numbers are kept of a token."""
        return 2

    def of_logs(self, logs: Tensor, ids: Tensor) -> np.ndarray:
        """The figures (2, N) of the log-probabilities (N, V) of ids (N,)."""
        own = logs.gather(-1, ids[:, None])[:, 0]
        return torch.stack([own, -(logs.exp() * logs).sum(-1)]).numpy()


def _columns(values: np.ndarray, size: int) -> list[np.ndarray]:
    """Views of `values` (F, N), so many columns each."""
    return [values[:, at : at + size] for at in range(0, values.shape[1], size)]
