"""The trainer: exactly what changes while a network is fitted, and one update of it.

The object is the list of what changes, so its `state_dict` cannot forget anything.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm import ops
from charlm.cells.cell import Cell
from charlm.config import TrainingConfig
from charlm.errors import TrainingError
from charlm.network import Bidirectional, Network
from charlm.network.adaptive_head import AdaptiveHead
from charlm.network.bidirectional import After
from charlm.network.stack import Weights, under
from charlm.network.states import State, choose, take_rows
from charlm.training import blocks, both_sides, optimizers, schedules
from charlm.training.averaging import AVERAGES
from charlm.training.device import arithmetic
from charlm.training.memory import memory_advice, memory_needed
from charlm.training.ranks import ALONE, Ranks
from charlm.training.regularising import Regularised, Rows, check
from charlm.training.states import loaded, shaped
from charlm.training.streams import IGNORED, Batch, Streams


class Trainer:
    """Weights, their average, optimiser, recurrent state, data position and counts.

    Random numbers are drawn anew from the seed and the count of updates. Laws: on a CPU, k updates,
    saved, loaded, and k more equal 2k updates bit for bit; an update of several ranks, each with
    its own rows of the batch, or of several parts, equals that of one to rounding.
    """

    def __init__(
        self,
        network: Network,
        config: TrainingConfig,
        weights: dict[str, Tensor],
        streams: Streams,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        check(network, config)
        self.network = network
        self.config = config
        self.device = device
        self.ranks = ranks
        self.streams = streams
        # clone: an update must never reach tensors the caller still holds. The optimiser numbers
        # its states in this order, which must be the same when they are loaded.
        self.weights = {
            name: weights[name].to(device).clone().requires_grad_() for name in network.shapes()
        }
        self.optimizers = optimizers.build(config, self.weights, network.config.width)
        self.average = AVERAGES[config.average](self.weights, config)
        self.state: State | None = None  # of this rank's rows
        self.rows = 0  # of the last batch, of all ranks
        self.generator = torch.Generator(device)
        self.steps = 0
        self.tokens = 0
        self.lr_share = 1.0  # less after a recovery
        self.parts = 1  # in which an update's rows are read, one after another, at least
        self._loss, self._in_blocks = self._batch_loss, blocks.in_blocks
        if config.compile:  # else this would import the compiler, which takes seconds
            self._loss = torch.compile(self._batch_loss)
            self._in_blocks = torch.compiler.disable(blocks.in_blocks)
        self._autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
        )

    def step(self, progress: float) -> tuple[Tensor, Tensor, float]:
        """Makes one update at `progress` in [0, 1] through the run.

        Returns the mean loss in nats per token and the gradient's norm before clipping, both as
        tensors that need not be waited for, and the share of the peak learning rate it used.
        """
        batch = self.streams.next()
        with self.ranks.together():
            loss = self._gradient(batch)
        # What fails from here on may have been done by others: it cannot be made again in parts.
        alone = self.ranks.count == 1
        with nullcontext() if alone else memory_needed(TrainingError, self.memory_advice):
            norm, share = self._update(batch, loss, progress)
        return loss, norm, share

    def _update(self, batch: Batch, loss: Tensor, progress: float) -> tuple[Tensor, float]:
        """Makes the update of which `_gradient` has found a part; its norm and share, as `step`."""
        self._add_up(loss)
        clip = self.config.clip or float("inf")
        learners = self.network.learners(self.weights, ())
        norms = [torch.nn.utils.clip_grad_norm_(own.values(), clip) for _, own, _ in learners]
        norm = sum(norms) / len(norms)
        share = schedules.share(self.config.schedule, progress, self.config.warmup)
        # A context of half the length is half as good an estimate: Merity et al. 2017, sec. 4.1.
        steps = batch.inputs.shape[1]
        scale = steps / self.config.context if self.config.vary_context else 1.0
        for optimizer in self.optimizers:
            for group in optimizer.groups:
                group.lr = group.peak_lr * share * scale * self.lr_share
            with self._autocast:  # for the products in an update
                optimizer.step(self.steps)
            optimizer.zero_grad()
        self.steps += 1
        self.average.updated(self.steps)
        self.tokens += batch.tokens
        return norm, share

    def memory_advice(self) -> str:
        """What to lower where memory runs out."""
        return memory_advice(self.network, self.config)

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of what is left of the run."""
        return self.optimizers[0].groups[0].peak_lr * self.lr_share

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that changes: tensors by name, and plain data."""
        tensors = {f"weights.{name}": weight.detach() for name, weight in self.weights.items()}
        for i, optimizer in enumerate(self.optimizers):
            for number, entries in optimizer.state_dict().items():
                for name, value in entries.items():
                    tensors[f"optimizer.{i}.{number}.{name}"] = value
        for i, layer in enumerate(self.state or ()):
            for j, part in enumerate(layer):
                tensors[f"state.{i}.{j}"] = self.ranks.whole(part, self.rows)
        averaged, average = self.average.state_dict()
        tensors |= {f"average.{name}": weight for name, weight in averaged.items()}
        about = {
            "steps": self.steps,
            "tokens": self.tokens,
            "lr_share": self.lr_share,
            "parts": self.parts,
            "device": self.device.type,
            "arithmetic": arithmetic(self.config.precision, self.device),
            "threads": torch.get_num_threads(),
            "processes": self.ranks.count,
            "streams": self.streams.state_dict(),
            "average": average,
        }
        return tensors, about

    def load_state_dict(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Becomes the trainer whose `state_dict` this was, of however many ranks."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(shaped(tensors[f"weights.{name}"], weight.shape))
                weight.grad = None
        for i, optimizer in enumerate(self.optimizers):
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in under(tensors, f"optimizer.{i}.").items():
                number, name = key.split(".", 1)
                entries.setdefault(int(number), {})[name] = value
            optimizer.load_state_dict(entries)
        self.average.load_state_dict(under(tensors, "average."), about.get("average", {}))
        self.state = None
        whole = loaded(under(tensors, "state."), len(self.network.parts), self.device)
        if whole is not None:
            self.rows = next((len(layer[0]) for layer in whole if layer), 0)
            begin = self.network.initial_state(torch, self.network.arrange(self.weights), self.rows)
            for ours, theirs in zip(begin, whole, strict=True):
                for one, other in zip(ours, theirs, strict=True):
                    shaped(other, one.shape)
            self.state = take_rows(whole, self.ranks.rows(self.rows))
        # A run saved by an earlier version has had no recovery.
        batch_parts, lr_share = about.get("parts", 1), about.get("lr_share", 1.0)
        for count in (about["steps"], about["tokens"], batch_parts, *about["streams"].values()):
            if type(count) is not int or not 0 <= count < 1 << 62:
                raise ValueError(f"a count is {str(count)[:40]}")
        if not 0 < lr_share <= 1:
            raise ValueError(f"the share of the learning rate is {lr_share}")
        self.steps = about["steps"]
        self.tokens = about["tokens"]
        self.lr_share, self.parts = lr_share, max(1, batch_parts)
        self.streams.load_state_dict(about["streams"])

    def _gradient(self, batch: Batch) -> Tensor:
        """This rank's part of the mean loss of a batch; the weights get its gradient."""
        self.rows, counted = len(batch.inputs), batch.targets != IGNORED
        mine = self.ranks.rows(self.rows)
        count = mine.stop - mine.start
        inputs, targets = self._tensor(batch.inputs), self._tensor(batch.targets)
        before, after = self._state_before(batch), self._after(batch)
        total = torch.zeros((), device=self.device)
        # By the count of updates, so that a resumed run draws what an uninterrupted one would.
        seeds = np.random.SeedSequence([self.config.seed or 0, self.steps])
        drawn = int(seeds.generate_state(1, np.uint64)[0] >> 1)
        # For ranks without a row the state stays as it is, which is empty.
        states = [] if count else [before]
        parts = max(self.parts, -(-count // (self.config.micro_batch or self.rows)))
        edges = np.linspace(mine.start, mine.stop, min(parts, count) + 1).astype(int).tolist()
        for rows in map(slice, edges, edges[1:]):
            here = slice(rows.start - mine.start, rows.stop - mine.start)
            self.generator.manual_seed(drawn)
            with self._autocast:
                loss, penalty, state = self._loss(
                    inputs[rows],
                    targets[rows],
                    take_rows(before, here),
                    after and after.rows(rows),
                    Rows.of(counted, rows),
                )
            # 1 where there is one part; none of a part's targets may count.
            if share := int(counted[rows].sum()) / batch.tokens:
                # Each member has the whole gradient of its own loss.
                ((loss + penalty) * share * self.network.config.members).backward()
                total = total + loss.detach() * share
            states.append(state)
        # cat makes copies: a part may be a view of a whole context, or two of them of one. In
        # float32, whatever autocast has made of it: so it can be saved, and read anywhere.
        self.state = tuple(
            tuple(
                torch.cat([part.detach().float() for part in parts])
                for parts in zip(*layers, strict=True)
            )
            for layers in zip(*states, strict=True)
        )
        return total

    def _add_up(self, loss: Tensor) -> None:
        """Makes the loss and the gradients those of the whole batch."""
        if self.ranks.count == 1:
            return
        for weight in self.weights.values():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        self.ranks.add([loss, *(weight.grad for weight in self.weights.values())])

    def _batch_loss(
        self, inputs: Tensor, targets: Tensor, state: State, after: After | None, rows: Rows
    ) -> tuple[Tensor, Tensor | float, State]:
        """The mean loss and penalty of all who learn each for itself, and their states."""
        counted = targets != IGNORED
        losses, penalties, states = [], [], []
        for network, flat, before in self.network.learners(self.weights, state):
            hooks = Regularised(self.config, self.generator, counted, rows, self._scan_of)
            w = hooks.arrange(network, flat)
            if after is None:
                x, last = network.outputs(torch, w, inputs, before, hooks)
            else:
                x, last = network.merged(torch, w, inputs, before, after, hooks)
            losses.append(self._mean_nats(network, w, x, targets, merged=after is not None))
            penalties.append(hooks.penalty)
            states += last
        return sum(losses) / len(losses), sum(penalties) / len(losses), tuple(states)

    def _scan_of(self, cell: Cell) -> Callable:
        scan = cell.scan
        # Some CPUs have products in bfloat16 but no fused recurrence.
        if (
            self.config.precision == "bfloat16"
            and cell.fused
            and self.device.type == "cpu"
            and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        ):
            scan = partial(ops.in_full, torch, scan)
        return torch.compiler.disable(scan) if cell.fused and self.config.compile else scan

    def _after(self, batch: Batch) -> After | None:
        if not isinstance(self.network, Bidirectional):
            return None
        rng = np.random.default_rng([self.config.seed or 0, self.steps])
        distances = both_sides.draw_distances(rng, batch.targets.shape)
        return both_sides.after(batch, self.network.start, self.device, distances)

    def _state_before(self, batch: Batch) -> State:
        fresh = batch.fresh[self.ranks.rows(len(batch.fresh))]
        if self.state is not None and not batch.fresh.any():
            return self.state
        with torch.no_grad():
            w = self.network.arrange(self.weights)
            initial = self.network.initial_state(torch, w, len(fresh))
            if self.state is None or batch.fresh.all():
                return initial
            return choose(torch, self._tensor(fresh), initial, self.state)

    def _tensor(self, ids: Any) -> Tensor:
        return torch.from_numpy(ids).to(self.device, non_blocking=True)

    def _mean_nats(
        self, network: Network, w: Weights, x: Tensor, targets: Tensor, *, merged: bool
    ) -> Tensor:
        """The mean nats of targets (B, T), those that are IGNORED left out, after x (B, T, D)."""
        logits = network.merged_logits if merged else network.logits
        x, targets = x.flatten(0, 1), targets.flatten()
        if len(x) * network.logits_per_token <= blocks.MOST_LOGITS:
            if isinstance(network.head, AdaptiveHead):
                counted = targets != IGNORED
                nats = network.head.nats(torch, w["head"], x[counted], targets[counted])
                return nats.sum() / max(len(nats), 1)
            found = logits(torch, w, x).float()
            return functional.cross_entropy(found, targets, ignore_index=IGNORED)

        def block_nats(head: Weights, x: Tensor, targets: Tensor) -> Tensor:
            if isinstance(network.head, AdaptiveHead):
                return network.head.nats(torch, head, x, targets).sum()
            found = logits(torch, {"head": head}, x).float()
            return functional.cross_entropy(found, targets, reduction="sum")

        counted = targets != IGNORED
        x, targets = x[counted], targets[counted]
        tokens = max(1, blocks.BLOCK_LOGITS // network.logits_per_token)
        return self._in_blocks(block_nats, w["head"], x, targets, tokens) / max(len(x), 1)
