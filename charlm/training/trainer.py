"""The trainer: exactly what changes while a network is fitted, and one update of it.

The object is the list of what changes, so its `state_dict` cannot forget anything.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm.cells.cell import Cell
from charlm.config import TrainingConfig
from charlm.network import Bidirectional, Network
from charlm.network.bidirectional import After
from charlm.training import both_sides, optimizers, schedules
from charlm.training.averaging import AVERAGES
from charlm.training.regularising import Regularised, check
from charlm.training.states import State, choose
from charlm.training.streams import IGNORED, Batch, Streams


class Trainer:
    """Weights, their average, optimiser, recurrent state, random state, data position and counts.

    Law: on a CPU, k updates, saved, loaded, and k more equal 2k updates bit for bit.
    """

    def __init__(
        self,
        network: Network,
        config: TrainingConfig,
        weights: dict[str, Tensor],
        streams: Streams,
        device: torch.device,
    ) -> None:
        check(network, config)
        self.network = network
        self.config = config
        self.device = device
        self.streams = streams
        # clone: an update must never reach tensors the caller still holds. The optimiser numbers
        # its states in this order, which must be the same when they are loaded.
        self.weights = {
            name: weights[name].to(device).clone().requires_grad_() for name in network.shapes()
        }
        self.optimizers = optimizers.build(config, self.weights, network.config.width)
        self.average = AVERAGES[config.average](self.weights, config)
        self.state: State | None = None
        self.generator = torch.Generator(device).manual_seed(config.seed or 0)
        self.steps = 0
        self.tokens = 0
        self._loss = torch.compile(self._batch_loss) if config.compile else self._batch_loss
        self._autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
        )

    def step(self, progress: float) -> tuple[Tensor, Tensor, float]:
        """Makes one update at `progress` in [0, 1] through the run.

        Returns the mean loss in nats per token and the gradient's norm before clipping, both as
        tensors that need not be waited for, and the share of the peak learning rate it used.
        """
        batch = self.streams.next()
        inputs, targets = self._tensor(batch.inputs), self._tensor(batch.targets)
        state = self._state_before(batch)
        with self._autocast:
            loss, penalty, state = self._loss(inputs, targets, state, self._after(batch))
        (loss + penalty).backward()
        # clone: a part may be a view of a whole context, or two of them of one
        self.state = tuple(tuple(part.detach().clone() for part in layer) for layer in state)
        clip = self.config.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), clip)
        share = schedules.share(self.config.schedule, progress, self.config.warmup)
        # A context of half the length is half as good an estimate: Merity et al. 2017, sec. 4.1.
        scale = inputs.shape[1] / self.config.context if self.config.vary_context else 1.0
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * share * scale
            optimizer.step()
            optimizer.zero_grad()
        self.steps += 1
        self.average.updated(self.steps)
        self.tokens += batch.tokens
        return loss.detach(), norm, share

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the run."""
        return self.optimizers[0].param_groups[0]["peak_lr"]

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that changes: tensors by name, and plain data."""
        tensors = {f"weights.{name}": weight.detach() for name, weight in self.weights.items()}
        groups = []
        for i, optimizer in enumerate(self.optimizers):
            saved = optimizer.state_dict()
            groups.append(saved["param_groups"])
            for number, entries in saved["state"].items():
                for name, value in entries.items():
                    if value is not None:
                        tensors[f"optimizer.{i}.{number}.{name}"] = torch.as_tensor(value)
        for i, layer in enumerate(self.state or ()):
            for j, part in enumerate(layer):
                tensors[f"state.{i}.{j}"] = part
        tensors["generator"] = self.generator.get_state()
        averaged, average = self.average.state_dict()
        tensors |= {f"average.{name}": weight for name, weight in averaged.items()}
        about = {
            "steps": self.steps,
            "tokens": self.tokens,
            "device": self.device.type,
            "streams": self.streams.state_dict(),
            "optimizer_groups": groups,
            "average": average,
        }
        return tensors, about

    def load_state_dict(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Becomes the trainer whose `state_dict` this was.

        Random states do not carry over to another kind of device; there a new one begins.
        """
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"weights.{name}"])
        for i, (optimizer, groups) in enumerate(
            zip(self.optimizers, about["optimizer_groups"], strict=True)
        ):
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"optimizer.{i}.").items():
                number, name = key.split(".", 1)
                entries.setdefault(int(number), {})[name] = value
            optimizer.load_state_dict({"state": entries, "param_groups": groups})
        self.average.load_state_dict(_under(tensors, "average."), about.get("average", {}))
        parts: dict[int, dict[int, Tensor]] = {}
        for key, value in _under(tensors, "state.").items():
            i, j = map(int, key.split("."))
            parts.setdefault(i, {})[j] = value.to(self.device)
        self.state = None
        if parts:
            # Parts of the network without a state of their own have left nothing to be found.
            count = len(self.network.stack.parts)
            found = [parts.get(i, {}) for i in range(count)]
            self.state = tuple(tuple(part[j] for j in sorted(part)) for part in found)
        if about["device"] == self.device.type:
            self.generator.set_state(tensors["generator"].cpu())
        else:
            self.generator.manual_seed((self.config.seed or 0) + about["steps"])
        self.steps = about["steps"]
        self.tokens = about["tokens"]
        self.streams.load_state_dict(about["streams"])

    def _batch_loss(
        self, inputs: Tensor, targets: Tensor, state: State, after: After | None
    ) -> tuple[Tensor, Tensor | float, State]:
        hooks = Regularised(self.config, self.generator, targets != IGNORED, self._scan_of)
        scan = self.network.scan if after is None else partial(self.network.scan, after=after)
        w = hooks.arrange(self.network, self.weights)
        logits, state = scan(torch, w, inputs, state, hooks)
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED
        )
        return loss, hooks.penalty, state

    def _scan_of(self, cell: Cell) -> Callable:
        scan = cell.scan
        # Some CPUs have products in bfloat16 but no fused recurrence.
        lacking = self.device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if self.config.precision == "bfloat16" and (cell.precise or (cell.fused and lacking)):
            scan = partial(_in_own_precision, scan)
        return torch.compiler.disable(scan) if cell.fused and self.config.compile else scan

    def _after(self, batch: Batch) -> After | None:
        if not isinstance(self.network, Bidirectional):
            return None
        # By the count of updates, so that a resumed run draws what an uninterrupted one would.
        rng = np.random.default_rng([self.config.seed or 0, self.steps])
        distances = both_sides.draw_distances(rng, batch.targets.shape)
        return both_sides.after(batch, self.network.start, self.device, distances)

    def _state_before(self, batch: Batch) -> State:
        if self.state is not None and not batch.fresh.any():
            return self.state
        with torch.no_grad():
            w = self.network.arrange(self.weights)
            initial = self.network.initial_state(torch, w, len(batch.inputs))
            if self.state is None or batch.fresh.all():
                return initial
            return choose(self._tensor(batch.fresh), initial, self.state)

    def _tensor(self, ids: Any) -> Tensor:
        return torch.from_numpy(ids).to(self.device, non_blocking=True)


def _in_own_precision(scan: Callable, xp: Any, w: dict[str, Tensor], x: Tensor, state: Any) -> Any:
    with torch.autocast(x.device.type, enabled=False):
        return scan(xp, w, x.to(next(iter(w.values())).dtype), state)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
