"""Begins a run, or goes on with one that was stopped."""

import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from charlm import __version__
from charlm.amounts import counted
from charlm.cells import cells_named
from charlm.config import NetworkConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.directories import LAST_NAME, LOG_NAME
from charlm.errors import ConfigError, DataError
from charlm.network import Network, build
from charlm.network.bidirectional import DISTANCES
from charlm.network.stack import settled
from charlm.tokenizer.room import check_room
from charlm.training import checkpoint, choosing, directory, optimizers, run_corpus
from charlm.training.device import arithmetic, choose_device, default_precision, place
from charlm.training.fine_tuning import LR_SHARE, Origin
from charlm.training.initialise import initial_weights
from charlm.training.plan import Plan, with_changes
from charlm.training.ranks import ALONE, Ranks
from charlm.training.run import Run
from charlm.training.standing import Listener, Standing
from charlm.training.streams import Streams, streams_of
from charlm.training.trainer import Trainer

DEFAULT_BUDGET_S = 120.0
LEAST_BUDGET_S = 3.0
# Below so many tokens a run reads its text many times over, and learns it by heart unless some of
# each layer is dropped. Best of 0, 0.3 and 0.5 on the first 9,000, 30,000, 100,000 and 300,000
# characters of tiny Shakespeare, 25 to 40 s, lstm 1x384: 0.5, 0.5, 0.3 and 0.
DROPOUTS = ((50_000, 0.5), (250_000, 0.3))


def begin(
    corpus: Corpus,
    out: Path,
    network_config: NetworkConfig,
    config: TrainingConfig,
    listener: Listener,
    started: float,
    origin: Origin | None = None,
    ranks: Ranks = ALONE,
) -> Run:
    """A new run in the directory `out`; `started` is when its clock began.

    With `origin` it goes on from that model, whose shape `network_config` is and whose ids the
    corpus has (`fine_tuning.fitted`). An earlier run in `out` is removed only when nothing can be
    found wrong with the new one any more. The first of several ranks begins it, and the others go
    on with what it has saved.
    """
    corpus.verify()
    check_room(corpus.tokenizer.to_json())
    device = choose_device(config, listener, ranks)
    network_config, config = decided(
        corpus, network_config, config, device, listener, started, ranks, tuned=origin is not None
    )
    _share(config, ranks)
    if network_config.bidirectional and config.peek:
        raise ConfigError("a bidirectional network writes no text to peek at; leave --peek out.")
    if network_config.bidirectional and config.ngram:
        raise ConfigError(
            "counts go from left to right, and a bidirectional network does not; leave --ngram out."
        )
    if config.average == "nt-asgd" and not corpus.size("val").tokens:
        raise ConfigError(
            f"nt-asgd begins when validation stops getting better, and {corpus.path} has no"
            " validation text; use --average ema, or prepare it with --val."
        )
    network = build(network_config, corpus.tokenizer.vocabulary)
    streams = _streams(corpus, network, config)
    weights = initial_weights(network, config.seed) if origin is None else origin.weights(network)
    if origin is not None and (news := origin.news(corpus.tokenizer)):
        listener.say(news)
    trainer = Trainer(network, config, weights, streams, device, ranks)
    first = {
        "version": __version__,
        "network": network.config.to_dict(),
        "training": config.to_dict(),
        "corpus": str(corpus.path),
        "corpus_hash": corpus.hash,
        "parameters": network.parameters(),
        "vocabulary": network.vocabulary,
        "device": str(device),
    }
    if ranks.count > 1:
        first["processes"] = ranks.count
    standing = Standing(init=origin and origin.about(), job=ranks.job)
    if standing.init:
        first["init"] = standing.init
    out.mkdir(parents=True, exist_ok=True)
    directory.clear(out)
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
    ranks: Ranks = ALONE,
) -> Run:
    """The run in `out`, exactly where it stopped.

    `corpus_path` says where the corpus lies if it has moved; `changes` may name a new budget,
    steps, epochs, device or precision, and have been made where the same job of several ranks goes
    on. Raises DataError where the corpus is not the one it was trained on.
    """
    last = checkpoint.load(out / LAST_NAME)
    if again := ranks.job is not None and last.run.get("job") == ranks.job:
        changes = {}
    corpus = run_corpus.corpus_to_resume(out, corpus_path, last.corpus_path, last.corpus_hash)
    corpus.verify()
    config = with_changes(last.training, changes, listener.say)
    try:
        standing = Standing.from_dict(last.run)
    except TypeError as error:
        raise DataError(f"{out / LAST_NAME} is damaged ({error}).") from error
    if not again:
        directory.check_unfinished(out, last.run, config.to_dict(), last.trainer, changes)
    standing.job = ranks.job
    if "budget" in changes:
        # The clock of a run goes on where it stopped; a new budget is time from now.
        config = replace(config, budget=changes["budget"] + standing.elapsed_s)
    _share(config, ranks)
    network = build(last.network, corpus.tokenizer.vocabulary)
    streams = _streams(corpus, network, config)
    plan = _plan(config, streams)  # before the streams move on: epochs may differ in length
    device = choose_device(config, listener, ranks)
    trainer = Trainer(network, config, initial_weights(network, 0), streams, device, ranks)
    try:
        trainer.load_state_dict(last.tensors, last.trainer)
        threads = last.trainer.get("threads", torch.get_num_threads())
        if config.deterministic and 0 < threads <= (os.cpu_count() or 1):
            torch.set_num_threads(threads)
        # A run saved by an earlier version does not tell its arithmetic.
        made = last.trainer.get("arithmetic", arithmetic(last.training.precision, device))
        before = place(last.trainer["device"], threads, made, last.trainer.get("processes", 1))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise DataError(f"{out / LAST_NAME} is damaged ({error}).") from error
    made = arithmetic(config.precision, device)
    now = place(device.type, torch.get_num_threads(), made, ranks.count)
    if before != now:
        listener.say(f"stopped on {before}, and this is {now}: going on, but not bit for bit")
    # However short more time is, it is worth an update.
    more = "budget" in changes and not plan.over(trainer.steps)
    if again:
        listener.say(f"going on after {counted(trainer.steps, 'update')}, the last that were saved")
    elif standing.finished and not more and plan.progress(trainer.steps, standing.elapsed_s) >= 1:
        raise directory.ended(out, trainer.steps)
    standing.finished = False
    log = out / LOG_NAME
    if ranks.is_first and log.exists():
        # Reports made after the last save are made again.
        os.truncate(log, min(standing.log_bytes, log.stat().st_size))
    run = Run(out, corpus, trainer, plan, standing, listener, started)
    run.owes_update = run.owes_update or "budget" in changes
    return run


def begun(out: Path, ranks: Ranks) -> bool:
    """Whether the same job of several ranks has begun the run in `out`, and lost one of them."""
    path = out / LAST_NAME
    return (
        ranks.job is not None
        and path.exists()
        and checkpoint.load(path).run.get("job") == ranks.job
    )


def decided(
    corpus: Corpus,
    network: NetworkConfig,
    config: TrainingConfig,
    device: torch.device,
    listener: Listener,
    started: float,
    ranks: Ranks = ALONE,
    *,
    tuned: bool = False,
) -> tuple[NetworkConfig, TrainingConfig]:
    """Both configs with nothing left open, as it will be written down for `info` and for good.

    Where a budget says how long, the machine is measured for a moment and what is left open chosen
    (`choosing`). `tuned` is for a run that goes on from another model.
    """
    config = with_seed(config, listener)
    if network.bidirectional and config.ngram is None:
        config = replace(config, ngram=0)
    config = replace(config, precision=config.precision or default_precision(device))
    if config.budget is config.steps is config.epochs is None:
        config = replace(config, budget=DEFAULT_BUDGET_S)
    tokens = corpus.size("train").tokens
    choice = None
    is_open = None in (config.optimizer, config.lr, config.dropout, config.weight_decay)
    # Of a very short budget a measurement would take too much, unless it must be.
    is_open = network.width is None or (is_open and (config.budget or 0) >= LEAST_BUDGET_S)
    if config.budget is not None and is_open and tokens:
        vocabulary = corpus.tokenizer.vocabulary
        choice = choosing.for_budget(
            network, config, vocabulary, tokens, device, started, ranks.count
        )
        network, config = choice.fill(network, config)
    chosen, decay = config.optimizer or optimizers.USUAL, config.weight_decay or 0.0
    config = replace(config, optimizer=chosen, weight_decay=decay)
    if config.batch is None:
        config = replace(config, batch=optimizers.batch_of(config.optimizer))
    if config.lr is None:
        share, updates = LR_SHARE if tuned else 1.0, choice and choice.updates
        config = replace(config, lr=share * default_lr(network, config.optimizer, updates))
    if config.dropout is None:
        config = replace(config, dropout=default_dropout(tokens))
        if config.dropout:
            listener.say(f"dropout {config.dropout:g}, as the text is short")
    if choice is not None:
        listener.say(choice.why(config.lr, tokens))
    return network, config


def with_seed(config: TrainingConfig, listener: Listener) -> TrainingConfig:
    """`config` with a seed; one that had to be chosen is told."""
    if config.seed is not None:
        return config
    seed = random.SystemRandom().randrange(2**31)
    listener.say(f"seed {seed}")
    return replace(config, seed=seed)


def default_lr(config: NetworkConfig, optimizer: str, updates: float | None = None) -> float:
    """The peak learning rate of an optimiser for a network of these cells and so many updates."""
    habits = [cell.habits for cell in cells_named(config.cell)]
    if optimizer == "muon":  # its updates have one size, whatever the gradient's
        share = min(habit.muon or habit.lr_share for habit in habits)
        share *= optimizers.width_share(settled(config).width)
    else:
        share = min(habit.lr_share for habit in habits)
    return share * optimizers.rate(optimizer, updates)


def default_dropout(tokens: int) -> float:
    """The dropout for a training text of so many tokens."""
    return next((dropout for limit, dropout in DROPOUTS if tokens < limit), 0.0)


def _share(config: TrainingConfig, ranks: Ranks) -> None:
    """Raises ConfigError where there are more ranks than rows for them."""
    if ranks.count > 1 and config.batch < ranks.count:
        raise ConfigError(
            f"batch is {config.batch}, and {ranks.count} processes share its rows; give --batch"
            f" {ranks.count} or more, or torchrun fewer of them."
        )


def _streams(corpus: Corpus, network: Network, config: TrainingConfig) -> Streams:
    run_corpus.check_corpus(corpus, several=False)
    return streams_of(
        corpus,
        "train",
        rows=config.batch,
        context=config.context,
        seed=config.seed or 0,
        vary=config.vary_context,
        # The last place of a context, too, sees some text after it.
        ahead=max(config.context, DISTANCES) if network.config.bidirectional else 0,
    )


def _plan(config: TrainingConfig, streams: Streams) -> Plan:
    updates = config.steps
    if config.epochs is not None:
        updates = max(1, math.ceil(config.epochs * streams.epoch_batches()))
    return Plan(updates, config.budget)
