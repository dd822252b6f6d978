"""Begins a run, or goes on with one that was stopped."""

import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from charlm import __version__, atomic, model_file
from charlm.config import NetworkConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.errors import ConfigError, DataError
from charlm.network import Network
from charlm.training import checkpoint
from charlm.training.initialise import initial_weights
from charlm.training.plan import BudgetPlan, Plan, StepPlan
from charlm.training.run import LOG_NAME, Run
from charlm.training.standing import Listener, Standing
from charlm.training.streams import Streams, streams_of
from charlm.training.trainer import Trainer

DEFAULT_BUDGET_S = 120.0
# Below so many tokens a run reads its text many times over, and learns it by heart unless some of
# each layer is dropped. Best of 0, 0.3 and 0.5 on the first 9,000, 30,000, 100,000 and 300,000
# characters of tiny Shakespeare, 25 to 40 s, lstm 1x384: 0.5, 0.5, 0.3 and 0.
DROPOUTS = ((50_000, 0.5), (250_000, 0.3))


def prepare_directory(out: Path, *, force: bool) -> None:
    """Makes the run directory `out`, empty of any earlier run; see `atomic.refuse_existing`."""
    atomic.refuse_existing(out, marker=LOG_NAME, force=force)
    out.mkdir(parents=True, exist_ok=True)
    for name in (checkpoint.LAST_NAME, model_file.MODEL_NAME, LOG_NAME):
        (out / name).unlink(missing_ok=True)


def begin(
    corpus: Corpus,
    out: Path,
    network_config: NetworkConfig,
    config: TrainingConfig,
    listener: Listener,
    started: float,
) -> Run:
    """A new run in the prepared directory `out`; `started` is when its clock began."""
    if config.seed is None:
        config = replace(config, seed=random.SystemRandom().randrange(2**31))
        listener.say(f"seed {config.seed}")
    if config.dropout is None:
        config = replace(config, dropout=default_dropout(corpus.size("train").tokens))
        if config.dropout:
            listener.say(f"dropout {config.dropout:g}, as the text is short")
    network = Network(network_config, corpus.tokenizer.vocabulary)
    streams = _streams(corpus, config)
    device = choose_device(config.device, listener)
    weights = initial_weights(network, config.seed)
    trainer = Trainer(network, config, weights, streams, device)
    first = {
        "version": __version__,
        "network": network_config.to_dict(),
        "training": config.to_dict(),
        "corpus": str(corpus.path),
        "corpus_hash": corpus.hash,
        "parameters": network.parameters(),
        "vocabulary": network.vocabulary,
        "device": str(device),
    }
    standing = Standing()
    with (out / LOG_NAME).open("w", encoding="utf-8") as log:
        log.write(json.dumps(first) + "\n")
        standing.log_bytes = log.tell()
    plan = _plan(config, streams)
    return Run(out, corpus, trainer, plan, standing, listener, started)


def resume(
    out: Path,
    corpus_path: Path | None,
    changes: dict[str, Any],
    listener: Listener,
    started: float,
) -> Run:
    """The run in `out`, exactly where it stopped.

    `corpus_path` says where the corpus lies if it has moved; `changes` may name a new budget,
    steps, epochs or device. Raises DataError where the corpus is not the one it was trained on.
    """
    last = checkpoint.load(out / checkpoint.LAST_NAME)
    corpus = Corpus(corpus_path or last.corpus_path)
    if corpus.hash != last.corpus_hash:
        raise DataError(
            f"{corpus.path} is not the corpus that {out} was trained on, or has changed since."
            " Name the right one, or begin a new run."
        )
    config = last.training
    if {"budget", "steps", "epochs"} & changes.keys():
        config = replace(config, budget=None, steps=None, epochs=None)
    config = replace(config, **changes)
    standing = Standing(**last.run)
    if "budget" in changes:
        # The clock of a run goes on where it stopped; a new budget is time from now.
        config = replace(config, budget=changes["budget"] + standing.elapsed_s)
    network = Network(last.network, corpus.tokenizer.vocabulary)
    streams = _streams(corpus, config)
    device = choose_device(config.device, listener)
    trainer = Trainer(network, config, initial_weights(network, 0), streams, device)
    trainer.load_state_dict(last.tensors, last.trainer)
    plan = _plan(config, streams)
    if plan.progress(trainer.steps, standing.elapsed_s) >= 1:
        raise ConfigError(
            f"{out} has reached its end, after {trainer.steps} updates."
            " Say how much further with --steps, --epochs or --budget."
        )
    if config.patience is not None and standing.stale_validations >= config.patience:
        raise ConfigError(
            f"{out} stopped because {standing.stale_validations} validations brought nothing"
            " better. Give it more with --patience, or begin a new run."
        )
    if (out / LOG_NAME).exists():
        # Reports made after the last save are made again.
        os.truncate(out / LOG_NAME, standing.log_bytes)
    return Run(out, corpus, trainer, plan, standing, listener, started)


def default_dropout(tokens: int) -> float:
    """The dropout for a training text of so many tokens."""
    return next((dropout for limit, dropout in DROPOUTS if tokens < limit), 0.0)


def choose_device(name: str, listener: Listener) -> torch.device:
    """The device of that name; `auto` is the best there is, and says which.

    Raises ConfigError where a device asked for by name is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(each for each, is_there in there.items() if is_there)
        threads = f", {torch.get_num_threads()} threads" if name == "cpu" else ""
        listener.say(f"training on {name}{threads}")
    if not there[name]:
        raise ConfigError(f"there is no {name} device here; use --device auto or --device cpu.")
    return torch.device(name)


def _streams(corpus: Corpus, config: TrainingConfig) -> Streams:
    if corpus.size("train").tokens == 0:
        raise DataError(f"{corpus.path} has no training text; prepare it from more text.")
    return streams_of(
        corpus, "train", rows=config.batch, context=config.context, seed=config.seed or 0
    )


def _plan(config: TrainingConfig, streams: Streams) -> Plan:
    if config.steps is not None:
        return StepPlan(config.steps)
    if config.epochs is not None:
        return StepPlan(max(1, math.ceil(config.epochs * streams.epoch_batches())))
    return BudgetPlan(config.budget if config.budget is not None else DEFAULT_BUDGET_S)
