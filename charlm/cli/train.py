"""`charlm train`: a corpus in, a run directory out."""

import math
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from charlm.cells import CELLS
from charlm.cli.options import PATH, CellNames, knob_options, take
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.errors import DataError
from charlm.presets import PRESETS, fill

# A budget is the time of the whole process; this module is loaded about 0.1 s after its start.
STARTED = time.monotonic() - 0.1
RESUMABLE = ("budget", "steps", "epochs", "patience", "device")


@click.command("train", short_help="Train a model on a corpus.")
@click.argument("corpus", type=PATH, required=False)
@click.option("-o", "--out", type=PATH, help="The run directory to make.")
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with RUN exactly where it stopped.")
@click.option("--force", is_flag=True, help="Replace an existing run.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Set what a known recipe sets, and tell it; every other option given overrides it.",
)
@knob_options(NetworkConfig, types={"cell": CellNames(list(CELLS))})
@knob_options(TrainingConfig)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    corpus: Path | None,
    out: Path | None,
    resume: Path | None,
    force: bool,
    preset: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Train a recurrent language model on CORPUS, which `charlm prep` made, and save it in RUN.

    CORPUS may also be a text file, or - for stdin: it is prepared into the run first. The best
    model on the validation split is kept; the learning rate falls to its end just when the run
    does.

    \b
    charlm train data -o run                      two minutes, no other flag needed
    charlm train data -o run --budget 10m --cell gru --width 512
    charlm train data -o run --steps 2000 --seed 1
    charlm train data -o run --preset char-rnn    the recipe of char-rnn
    charlm train --resume run                     after Ctrl-C, exactly where it stopped
    """
    if (out is None) == (resume is None):
        raise click.UsageError("Give either -o RUN for a new run, or --resume RUN.")
    if resume is not None:
        if force:
            raise click.UsageError("--force makes a new run; --resume goes on with an old one.")
        if preset is not None:
            raise click.UsageError("--preset is for a new run; --resume goes on with an old one.")
        changes = _changes(ctx, values)
    elif corpus is None:
        raise click.UsageError("Missing argument 'CORPUS': a corpus that `charlm prep` made.")
    elif not corpus.exists() and str(corpus) != "-":
        raise DataError(f"{corpus} does not exist; `charlm prep TEXT -o {corpus}` makes a corpus.")
    if preset is not None:
        found = fill(values, preset, _given(ctx))
        click.echo(f"preset {preset}: {' '.join(map(_option, found.items()))}", err=True)
    network = take(NetworkConfig, values)
    training = take(TrainingConfig, values)

    from charlm.cli.progress import Progress

    with Progress() as progress:
        # torch takes a second or two to load: after the checks above, and after a sign of life.
        from charlm.training import begin

        if resume is not None:
            out = resume
            run = begin.resume(resume, corpus, changes, progress.listener(), STARTED)
        else:
            begin.check_directory(out, force=force)
            prepared = _corpus(corpus, out, progress.say)
            run = begin.begin(prepared, out, network, training, progress.listener(), STARTED)
        progress.begin(run)
        outcome = run.go()
        progress.end(run, outcome)
    if as_json:
        import json

        from charlm import model_file

        best = outcome.best_nats_per_char
        summary = {
            "model": str(out / model_file.MODEL_NAME),
            "steps": outcome.steps,
            "val_nats_per_char": best,
            "val_bits_per_char": None if best is None else best / math.log(2),
            "signal": outcome.signal,
        }
        click.echo(json.dumps(summary))
    if outcome.signal is not None:
        click.echo(f"stopped and saved; to go on: charlm train --resume {out}", err=True)
        sys.stdout.flush()
        ctx.exit(128 + outcome.signal)


def _given(ctx: click.Context) -> set[str]:
    """The knobs that were given on the command line."""
    return {
        f.name
        for f in (*fields(NetworkConfig), *fields(TrainingConfig))
        if ctx.get_parameter_source(f.name) == click.core.ParameterSource.COMMANDLINE
    }


def _option(knob: tuple[str, Any]) -> str:
    """A knob as it would be typed."""
    name, value = knob[0].replace("_", "-"), knob[1]
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}"


def _changes(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run is told to do otherwise; most knobs are part of it and stay."""
    given = _given(ctx)
    fixed = sorted(given - set(RESUMABLE))
    if fixed:
        raise click.UsageError(
            f"--{fixed[0].replace('_', '-')} is part of the run and stays as it was;"
            " with --resume only --budget, --steps, --epochs, --patience and --device can be given."
        )
    return {name: values[name] for name in given}


def _corpus(path: Path, out: Path, say: Any) -> Any:
    from charlm.corpus import Corpus, prepare

    if path.is_dir():
        return Corpus(path)
    from charlm.training.begin import OWN_CORPUS

    say(f"{'stdin' if str(path) == '-' else path} is text: preparing it into {out / OWN_CORPUS}")
    return prepare([path], out / OWN_CORPUS, PrepConfig(), force=True, say=say)
