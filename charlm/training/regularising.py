"""Regularisers of a training step, each of them off unless the config says otherwise.

- Dropout of each part's output, of the embedding's output, and of what the head reads. Plain: a
  mask of its own for each step. Variational: one for all steps of a context and row, as in Gal and
  Ghahramani 2016 (arXiv:1512.05287), eq. 7.
- Dropout of whole symbols from the embedding: the same source, sec. 4.2; without the head, where
  the two are tied, as in Merity, Keskar and Socher 2017 (arXiv:1708.02182), sec. 4.3.
- DropConnect of the recurrent matrices, one mask an update: Wan et al. 2013, "Regularization of
  neural networks using DropConnect"; for recurrent networks Merity et al. 2017, sec. 2.
- Penalties of what leaves the stack: α mean(m ⊙ x)² of what the head reads, and β mean(x_t −
  x_{t+1})²: Merity, McCann and Socher 2017 (arXiv:1708.01009), sec. 3, divided by the size as in
  their code. Padding does not count.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.cells.cell import Cell
from charlm.config import TrainingConfig
from charlm.errors import ConfigError
from charlm.network import Hooks, Network
from charlm.network.hooks import Scan
from charlm.network.stack import Weights


def check(network: Network, config: TrainingConfig) -> None:
    """Raises ConfigError where `config` asks for what the network has not."""
    if config.weight_drop and not network.recurrent():
        raise ConfigError(
            f"weight_drop is for recurrent matrices, and {network.config.cell} has none;"
            " leave it out."
        )


class Rows(NamedTuple):
    """Rows of a batch that are read together: from row `first` on, of `total` in the batch.

    `pairs` is their share of the pairs of neighbouring places that count, beside their share of the
    places that count: 1 where the rows are all there are, or no row is shorter than another.
    """

    first: int
    total: int
    pairs: float = 1.0

    @classmethod
    def of(cls, counted: np.ndarray, rows: slice) -> "Rows":
        """Those `rows` of a batch, of which the places `counted` (B, T) count."""
        places, pairs = counted[rows], counted[:, 1:] & counted[:, :-1]
        share = pairs[rows].sum() * counted.sum() / max(places.sum() * pairs.sum(), 1)
        return cls(rows.start, len(counted), float(share))


class Regularised(Hooks):
    """The regularisers of some rows of an update; `penalty` is what they add to its loss.

    `counted` (B, T) says which places are not padding; random numbers come from `generator` alone,
    and are drawn for all rows of the batch, so that a row gets the same whatever is read with it.
    """

    def __init__(
        self,
        config: TrainingConfig,
        generator: torch.Generator,
        counted: Tensor,
        rows: Rows,
        scan_of: Callable[[Cell], Scan],
    ) -> None:
        self.config = config
        self.generator = generator
        self.counted = counted
        self.rows = rows
        self.penalty: Tensor | float = 0.0
        self._scan_of = scan_of

    def arrange(self, network: Network, flat: dict[str, Tensor]) -> Weights:
        """The weights by name, as `network` wants them, with some of them dropped."""
        if self.config.weight_drop:
            dropped = {
                name: self._drop(flat[name], self.config.weight_drop)
                for name in network.recurrent()
            }
            flat = {**flat, **dropped}
        w = network.arrange(flat)
        if self.config.dropout_embedding:
            table = w["embedding"]
            symbols = self._drop(table.new_ones(len(table), 1), self.config.dropout_embedding)
            w = {**w, "embedding": table * symbols}
        return w

    def scan_of(self, cell: Cell) -> Scan:
        """What the trainer puts in place of a cell's own scan."""
        return self._scan_of(cell)

    def embedded(self, x: Tensor) -> Tensor:
        """`x`, with some of it dropped."""
        return self._drop_steps(x, self.config.dropout_input)

    def part(self, y: Tensor, *, highest: bool) -> Tensor:
        """`y`, with some of it dropped, unless that is left to `top`."""
        if highest and self.config.dropout_output is not None:
            return y
        return self._drop_steps(y, self.config.dropout or 0.0)

    def top(self, x: Tensor) -> Tensor:
        """`x`, with some of it dropped; what is penalised is counted."""
        config = self.config
        dropped = self._drop_steps(x, config.dropout_output or 0.0)
        if config.activation_penalty:
            mean = mean_square(dropped, self.counted)
            self.penalty = self.penalty + config.activation_penalty * mean
        if config.temporal_penalty:
            pairs = self.counted[:, 1:] & self.counted[:, :-1]
            mean = mean_square(x[:, 1:] - x[:, :-1], pairs)
            self.penalty = self.penalty + config.temporal_penalty * self.rows.pairs * mean
        return dropped

    def _drop_steps(self, x: Tensor, share: float) -> Tensor:
        """`x` (B, T, D) with that share of it dropped, at every step anew or at all steps alike."""
        if not share:
            return x
        steps = 1 if self.config.dropout_kind == "variational" else x.shape[1]
        first, total = self.rows.first, self.rows.total
        mask = self._mask(x.new_empty(total, steps, x.shape[2]), share)
        if len(x) < total:
            mask = mask[first : first + len(x)].clone()  # the others need not be kept
        return x * mask / (1.0 - share)

    def _drop(self, x: Tensor, share: float) -> Tensor:
        return x * self._mask(torch.empty_like(x), share) / (1.0 - share)

    def _mask(self, like: Tensor, share: float) -> Tensor:
        return like.bernoulli_(1.0 - share, generator=self.generator)


def mean_square(x: Tensor, counted: Tensor) -> Tensor:
    """The mean square of x (B, T, D) where counted (B, T) is true; 0 where nothing is."""
    squares = x.float().square().mean(-1) * counted
    return squares.sum() / counted.sum().clamp(min=1)
