"""The same training with several seeds: each a whole run in RUN/seed-N, one after another.

RUN/model.safetensors is the best model of those that have ended.
"""

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charlm import atomic, model_file
from charlm.config import NetworkConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.errors import DataError, TrainingError
from charlm.training import begin, checkpoint, directory, run_corpus, watch
from charlm.training.device import choose_device
from charlm.training.fine_tuning import Origin
from charlm.training.standing import Listener, Standing


@dataclass(frozen=True)
class Result:
    """What became of the run of one seed; `error` says why it failed, `signal` what stopped it.

    `nats_per_char` is of its best validation, None where there was none.
    """

    seed: int
    run: Path
    steps: int = 0
    nats_per_char: float | None = None
    error: str | None = None
    signal: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the run came to its end."""
        return self.error is None and self.signal is None


@dataclass(frozen=True)
class Spread:
    """How the runs that came to their end compare, in nats per character."""

    best: Result | None
    mean: float | None
    deviation: float | None  # the standard deviation of the sample, of two runs or more

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Spread":
        """The spread of these results."""
        ended = [result for result in results if result.ended]
        if not ended:
            return cls(None, None, None)
        figures = [result.nats_per_char for result in ended]
        deviation = statistics.stdev(figures) if len(figures) > 1 else None
        best = min(ended, key=lambda result: result.nats_per_char)
        return cls(best, statistics.fmean(figures), deviation)


def begin_all(
    corpus: Corpus,
    out: Path,
    network_config: NetworkConfig,
    config: TrainingConfig,
    count: int,
    listener: Listener,
    origin: Origin | None = None,
) -> None:
    """Makes the runs of `count` seeds in `out`, from that of `config` on, each ready to go.

    An earlier run there is removed only when nothing can be found wrong with the new one any more.
    Raises DataError where there is no validation text to tell the best by.
    """
    run_corpus.check_corpus(corpus, several=True)
    device = choose_device(config, listener)
    network_config, config = begin.decided(
        corpus,
        network_config,
        config,
        device,
        listener,
        time.monotonic(),
        tuned=origin is not None,
    )
    configs = [replace(config, seed=config.seed + i) for i in range(count)]
    runs = directory.seed_runs(out, [each.seed for each in configs])
    for each in configs:
        first = each is configs[0]
        told = listener if first else Listener()
        run = runs[each.seed]
        begin.begin(corpus, run, network_config, each, told, time.monotonic(), origin).save()
        if first:
            directory.clear(out, keep=tuple(runs.values()))
            directory.write_seeds(out, list(runs))


def result_before(seed: int, run: Path) -> Result | None:
    """The result of a run that has come to its end already."""
    last = checkpoint.load(run / directory.LAST_NAME)
    try:
        standing, steps = Standing.from_dict(last.run), int(last.trainer["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run / directory.LAST_NAME} is damaged ({error}).") from error
    return Result(seed, run, steps, standing.kept_nats_per_char) if standing.finished else None


def go(
    seed: int, run: Path, corpus: Path | None, changes: dict[str, Any], eyes: watch.Watch
) -> Result:
    """Goes on with the run of a seed; `corpus` and `changes` are those of `begin.resume`."""
    try:
        with directory.held(run):
            resumed = begin.resume(run, corpus, changes, eyes.listener(), time.monotonic())
            outcome = watch.go(resumed, eyes)
    except TrainingError as error:
        return Result(seed, run, error=str(error))
    return Result(seed, run, outcome.steps, outcome.best_nats_per_char, signal=outcome.signal)


def keep_best(out: Path, results: Sequence[Result]) -> None:
    """Makes the best model of `results` that of `out`; a stopped one where none has ended."""
    best = Spread.of(results).best or next((result for result in results if result.signal), None)
    if best is not None:
        with atomic.whole_file(out / model_file.MODEL_NAME) as temporary:
            shutil.copyfile(best.run / model_file.MODEL_NAME, temporary)
