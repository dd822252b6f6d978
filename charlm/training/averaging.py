"""Averages of the weights along a run: validated and kept, while training goes on without them."""

from typing import Any

import torch
from torch import Tensor

from charlm.config import TrainingConfig

Named = dict[str, Tensor]


class NoAverage:
    """The weights as training leaves them; the base of what averages them.

    `weights` are those to validate and to keep.
    """

    def __init__(self, weights: Named, config: TrainingConfig) -> None:
        self.plain = weights
        self.config = config
        self.weights = weights

    def updated(self, steps: int) -> None:
        """Takes in the weights after update number `steps`, counted from 1."""

    def validated(self, nats_per_char: float) -> None:
        """Hears how well `weights` did."""

    def state_dict(self) -> tuple[Named, dict[str, Any]]:
        """All that changes: tensors by name, and plain data."""
        return {}, {}

    def load_state_dict(self, tensors: Named, about: dict[str, Any]) -> None:
        """Becomes the average whose `state_dict` this was."""


class Running(NoAverage):
    """An average that is kept up to date: `average` is one, or None where there is none yet."""

    average: Named | None = None

    def take(self, share: float) -> None:
        """Moves the average by `share` of the way to the weights as they are; the first is they."""
        plain = {name: weight.detach() for name, weight in self.plain.items()}
        if self.average is None:
            self.average = {name: weight.clone() for name, weight in plain.items()}
            self.weights = self.average
            return
        torch._foreach_lerp_(list(self.average.values()), list(plain.values()), share)

    def state_dict(self) -> tuple[Named, dict[str, Any]]:
        """The average, if there is one."""
        return self.average or {}, {}

    def load_state_dict(self, tensors: Named, about: dict[str, Any]) -> None:
        """Becomes the average whose `state_dict` this was."""
        self.average, self.weights = None, self.plain
        if tensors:
            self.average = self.weights = {
                name: tensors[name].to(weight.device).view(weight.shape).clone()
                for name, weight in self.plain.items()
            }


class EMA(Running):
    """An exponential moving average whose horizon grows with the run: w̄ += (1 − β_t) (w − w̄).

    β_t = (1 − 1/t)^(γ + 1), so that w̄ is the mean of all w_s weighed by about s^γ. Their mean age
    is 1/(γ + 2) of the run, however long it is, and that is `average_share`; 1/2 is the mean of
    all. Nothing needs to know where the run ends.

    Source: Karras et al. 2024 (arXiv:2312.02696), eqs. 1-2; as polynomial decay: Shamir and Zhang
    2013 (arXiv:1212.1824), sec. 4.
    """

    def updated(self, steps: int) -> None:
        """Takes in the weights after update number `steps`, counted from 1."""
        self.take(1.0 - (1.0 - 1.0 / steps) ** (1.0 / self.config.average_share - 1.0))


class NTASGD(Running):
    """The mean of all weights since validation stopped getting better.

    It begins once a validation is worse than the best of those made more than `average_wait`
    validations before it; until then the plain weights are validated and kept.

    Source: Merity, Keskar and Socher 2017 (arXiv:1708.02182), alg. 1, its test as in their code.
    """

    def __init__(self, weights: Named, config: TrainingConfig) -> None:
        super().__init__(weights, config)
        self.validations: list[float] = []
        self.count = 0  # of weights in the average

    def updated(self, steps: int) -> None:
        """Takes in the weights, if the average has begun."""
        if self.average is not None:
            self.count += 1
            self.take(1.0 / self.count)

    def validated(self, nats_per_char: float) -> None:
        """Begins the average where that is worse than what was found so long ago."""
        if self.average is not None:
            return
        earlier = self.validations[: -self.config.average_wait]
        self.validations.append(nats_per_char)
        if earlier and nats_per_char > min(earlier):
            self.count = 1
            self.take(1.0)

    def state_dict(self) -> tuple[Named, dict[str, Any]]:
        """The average, and what decides when it begins."""
        tensors, _ = super().state_dict()
        return tensors, {"validations": list(self.validations), "count": self.count}

    def load_state_dict(self, tensors: Named, about: dict[str, Any]) -> None:
        """Becomes the average whose `state_dict` this was."""
        super().load_state_dict(tensors, about)
        self.validations, self.count = [float(n) for n in about["validations"]], int(about["count"])


AVERAGES: dict[str, type[NoAverage]] = {"none": NoAverage, "ema": EMA, "nt-asgd": NTASGD}
