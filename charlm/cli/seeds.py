"""What `charlm train --seeds` does with runs that are ready to go: one after another, then told."""

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.progress import Progress
from charlm.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from charlm.training.seeds import Result, Spread


def check_seeds(out: Path, corpus: Path | None, changes: dict[str, Any]) -> None:
    """Raises what speaks against going on with the run of several seeds in `out`.

    It takes no torch. `corpus` and `changes` are those of `begin.resume`.
    """
    from charlm.training import directory

    runs = directory.seeds(out)
    one = f"charlm train --resume {shlex.quote(str(next(iter(runs.values()))))}"
    if lengths := sorted(changes.keys() - {"device"}):
        raise click.UsageError(
            f"--{lengths[0]} is the same for all seeds in {out} and stays as it was; to go further"
            f" with one of them: {one}"
        )
    from charlm.training import run_corpus  # after the checks above, as it takes numpy

    left = [run for run in runs.values() if not run_corpus.has_ended(run)]
    if not left:
        raise ConfigError(
            f"{out} has reached its end, with each of its {len(runs)} seeds. To go further with one"
            f" of them: {one}"
        )
    for run in left:
        directory.check_saved(run, corpus, {})


def train_seeds(
    out: Path,
    corpus: Path | None,
    changes: dict[str, Any],
    tensorboard: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> int | None:
    """Trains those of the seeds in `out` that have not come to their end, and says how they went.

    Returns the signal that stopped it, if one did. `corpus` and `changes` are those of
    `begin.resume`. Each seed has a directory of its own in `tensorboard`, if that is given. Raises
    TrainingError at the end where a seed has failed.
    """
    from charlm.training import directory, seeds

    check_seeds(out, corpus, changes)
    runs = directory.seeds(out)
    before = {seed: seeds.result_before(seed, run) for seed, run in runs.items()}
    results: list[Result] = []
    for place, (seed, run) in enumerate(runs.items(), 1):
        result = before[seed]
        if result is None:
            with Progress(quiet=quiet) as progress:
                progress.record(tensorboard and tensorboard / run.name)
                progress.say(f"seed {seed}, {place} of {len(runs)}")
                result = seeds.go(seed, run, corpus, changes, progress)
                if result.error:
                    progress.complain(f"seed {seed} failed: {result.error}")
        results.append(result)
        seeds.keep_best(out, results)
        if result.signal is not None:
            break
    spread = seeds.Spread.of(results)
    if as_json:
        click.echo(json.dumps(_summary(out, results, spread)))
    if results[-1].signal is None:
        _tell(out, results, spread, progress)
    return results[-1].signal


def _tell(out: Path, results: list["Result"], spread: "Spread", progress: Progress) -> None:
    failed = sum(result.error is not None for result in results)
    if spread.best is not None and not progress.quiet:
        parts = [f"mean {progress.figures(spread.mean)}"]
        if spread.deviation is not None:
            parts.append(f"standard deviation {progress.figures(spread.deviation)}")
        parts.append(f"best {progress.figures(spread.best.nats_per_char)}, of seed")
        click.echo(
            f"{len(results) - failed} seeds: {', '.join(parts)} {spread.best.seed} -> {out}",
            err=True,
        )
    if failed:
        raise TrainingError(f"{failed} of {len(results)} seeds failed, as was told above.")


def _summary(out: Path, results: list["Result"], spread: "Spread") -> dict[str, Any]:
    from charlm import model_file

    return {
        "model": str(out / model_file.MODEL_NAME),
        "seeds": [
            {
                "seed": result.seed,
                "run": str(result.run),
                "steps": result.steps,
                **_both("val", result.nats_per_char),
                "error": result.error,
                "signal": result.signal,
            }
            for result in results
        ],
        **_both("mean", spread.mean),
        **_both("deviation", spread.deviation),
        "best": spread.best and spread.best.seed,
        "signal": results[-1].signal,
    }


def _both(name: str, nats: float | None) -> dict[str, float | None]:
    bits = None if nats is None else nats / math.log(2)
    return {f"{name}_nats_per_char": nats, f"{name}_bits_per_char": bits}
