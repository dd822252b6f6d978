"""`charlm train`: a corpus in, a run directory out."""

import json
import math
import os
import shlex
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cells import CELLS
from charlm.cli.bars import say_waiting
from charlm.cli.files import STREAM
from charlm.cli.options import PATH, CellNames, knob_options, take
from charlm.config import NO_CELL, NetworkConfig, TrainingConfig
from charlm.directories import LOG_NAME
from charlm.errors import ConfigError, DataError
from charlm.knobs import Knobs, as_option
from charlm.presets import PRESETS, fill
from charlm.process import keep_memory

if TYPE_CHECKING:
    from charlm.model_file import Model
    from charlm.training.ranks import Ranks
    from charlm.training.standing import Outcome

# A budget is the time of the whole process, which until here has loaded modules and not waited.
STARTED = time.monotonic() - time.process_time()
RESUMABLE = ("budget", "steps", "epochs", "patience", "device", "precision")


@click.command("train", short_help="Train a model on a corpus.")
@click.argument("corpora", type=PATH, nargs=-1, metavar="[CORPUS]...")
@click.option("-o", "--out", "--output", type=PATH, help="The run directory to make.")
@click.option(
    "--init", type=PATH, metavar="MODEL", help="Go on from MODEL, a run or a model file, anew."
)
@click.option("--resume", type=PATH, metavar="RUN", help="Go on with RUN exactly where it stopped.")
@click.option(
    "--seeds",
    "count",
    type=click.IntRange(2),
    metavar="N",
    help="Train N times, with --seed and the seeds after it, and keep the best.",
)
@click.option("--force", is_flag=True, help="Replace an existing run.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Set what a known recipe sets, and tell it; every other option given overrides it.",
)
@knob_options(NetworkConfig, types={"cell": CellNames([*CELLS, NO_CELL])})
@knob_options(TrainingConfig)
@click.option(
    "--tensorboard", type=PATH, metavar="DIR", help="Write the figures for TensorBoard to DIR, too."
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of how it gets on.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    corpora: tuple[Path, ...],
    out: Path | None,
    init: Path | None,
    resume: Path | None,
    count: int | None,
    force: bool,
    preset: str | None,
    tensorboard: Path | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Train a recurrent language model on CORPUS, which `charlm prep` made, and save it in RUN.

    CORPUS may also be a text file, or - for stdin: it is prepared into the run first. Several
    corpora that share a tokenizer (`charlm prep --tokenizer`) are joined there. The best
    model on the validation split is kept; the learning rate falls to its end just when the run
    does.

    With --init the run begins from the weights of a model that is there already, and has its shape.
    Symbols are matched by what they are; the model keeps all of its own, and gets those of CORPUS
    that it lacks.

    With --seeds each seed has a run of its own, RUN/seed-N, one after another, and RUN the best
    model of them; --budget is for each. Mean and standard deviation are told at the end.

    torchrun trains one model with several processes, on one machine or more: each reads its share
    of an update's rows, so that the curve is that of one process with the same --batch.

    \b
    charlm train data -o run                      two minutes, no other flag needed
    charlm train data -o run --budget 10m --cell gru --width 512
    charlm train data -o run --steps 2000 --seed 1
    charlm train data -o run --preset char-rnn    the recipe of char-rnn
    charlm train --resume run                     after Ctrl-C, exactly where it stopped
    charlm train new.txt --init run -o tuned      goes on from a model, on another text
    charlm train data -o runs --seeds 5 --steps 900
    """
    if _rank():
        _go_along(ctx, out or resume, corpora, resume and values)
    if (out is None) == (resume is None):
        raise click.UsageError("Give either -o RUN for a new run, or --resume RUN.")
    if resume is not None:
        making = ((force, "--force"), (init, "--init"), (count, "--seeds"), (preset, "--preset"))
        for given, name in making:
            if given:
                raise click.UsageError(f"{name} makes a new run; --resume goes on with an old one.")
        changes = _changes(ctx, values)
    elif not corpora:
        raise click.UsageError("Missing argument 'CORPUS': a corpus that `charlm prep` made.")
    _check_corpora(corpora, out)
    if len(corpora) > 1 and resume is not None:
        raise click.UsageError("A run has one corpus; name that, or none.")
    corpus = corpora[0] if corpora else None
    if preset is not None:
        if init is not None:
            raise click.UsageError("--preset names a network, and --init takes the model's own.")
        found = fill(values, preset, _given(ctx, NetworkConfig, TrainingConfig))
        said = f"preset {preset}: {' '.join(as_option(*each) for each in found.items())}"
        if not quiet:
            click.echo(said, err=True)
    network = take(NetworkConfig, values) if init is None else None
    training = take(TrainingConfig, values)

    from charlm.cli.progress import Progress
    from charlm.cli.seeds import check_seeds, train_seeds
    from charlm.training import board, directory

    if tensorboard is not None:
        board.check(tensorboard)
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # several processes look when they have met
        if resume is not None:
            directory.check_saved(resume, corpus, changes)
            if (resume / directory.SEEDS_NAME).exists():
                check_seeds(resume, corpus, changes)
        else:
            directory.check_new(out, corpora, force=force, several=count is not None)
    model = None
    if init is not None:
        model = _model(init, out, ctx, values)
        network = model.network.config
    if STREAM in corpora:
        say_waiting()

    from charlm.training import counting, run_corpus

    if resume is None and counting.is_enough(network, training, several=count is not None):
        together = "TORCHELASTIC_RUN_ID" in os.environ
        _refuse_for_counts({
            "--init": init, "--seeds": count, "--tensorboard": tensorboard, "torchrun": together,
            "--ngram 0": training.ngram == 0,
        })  # fmt: skip
        with Progress(quiet=quiet) as progress, directory.held(out), directory.corpus_kept(out):
            prepared = run_corpus.corpus_for(corpora, out, None, progress.say)
            progress.say(f"counts alone, on {counted(prepared.size('train').tokens, 'token')}")
            outcome = counting.train(prepared, out, training, progress.listener(), STARTED)
        if as_json:
            _print_outcome(out, outcome)
        return
    with Progress(quiet=quiet) as progress:
        # torch takes a second or two to load: after the checks above, and after a sign of life.
        from charlm.training import begin, checkpoint, ranks, seeds, watch
        from charlm.training.fine_tuning import Origin

        progress.record(tensorboard)
        listener = progress.listener()
        together = ranks.join()
        if resume is None and begin.begun(out, together):
            resume, corpus, changes = out, None, {}
        if resume is not None:
            out = resume
            if not out.is_dir():
                raise DataError(f"{out} is not a run; `charlm train CORPUS -o RUN` makes one.")
            ctx.with_resource(directory.held(out))
            several = (out / directory.SEEDS_NAME).exists()
            _alone(several, together)
            if not several:
                run = begin.resume(out, corpus, changes, listener, STARTED, together)
        else:
            several = count is not None
            _alone(several, together)
            force = force or directory.begun_by(out, together.job)
            directory.check_directory(out, force=force)
            ctx.with_resource(directory.held(out))
            with directory.begun(out, together.job), directory.corpus_kept(out):
                prepared = run_corpus.corpus_for(corpora, out, model, progress.say)
                parts = (prepared, out, network, training)
                origin = model and Origin(init, model)
                if several:
                    seeds.begin_all(*parts, count, listener, origin)
                    corpus, changes = None, {}
                else:
                    run = begin.begin(*parts, listener, STARTED, origin, together)
                    if together.job is not None:
                        run.save()  # where the others begin, or all do when one was lost
        # Not before: what reading a large vocabulary takes for a moment is to be given back.
        keep_memory()
        if not several:
            checkpoint.seen(out / directory.LAST_NAME, together)
            outcome = watch.go(run, progress)
    if several:
        signal = train_seeds(out, corpus, changes, tensorboard, as_json=as_json, quiet=quiet)
    else:
        signal = outcome.signal
        if as_json:
            _print_outcome(out, outcome)
    if signal is not None:
        again = f"charlm train --resume {shlex.quote(str(out))}"
        click.echo(f"stopped and saved; to go on: {again}", err=True)
        ctx.exit(128 + signal)


def _check_corpora(corpora: tuple[Path, ...], out: Path | None) -> None:
    """Raises where one of `corpora` can't be what to train on, and says what was meant."""
    for corpus in corpora:
        name = shlex.quote(str(corpus))
        if not corpus.exists() and str(corpus) != "-":
            raise DataError(
                f"{corpus} does not exist; give a text file, or a corpus, which"
                f" `charlm prep TEXT -o {name}` makes."
            )
        if corpus.suffix == ".safetensors" or (corpus / LOG_NAME).exists():
            run = "NEW" if out is None else shlex.quote(str(out))
            resume = f" `charlm train --resume {name}` goes on with it, and" * corpus.is_dir()
            raise click.UsageError(
                f"{corpus} is a model, and no corpus;{resume} `charlm train TEXT --init {name} -o"
                f" {run}` makes a run that begins from it."
            )
    texts = [shlex.quote(str(corpus)) for corpus in corpora if not corpus.is_dir()]
    if len(corpora) > 1 and texts:
        raise click.UsageError(
            f"{texts[0]} is no corpus, and only corpora"
            f" are joined. `charlm prep {' '.join(texts)} -o DATA` makes one of several texts."
        )


def _refuse_for_counts(given: dict[str, Any]) -> None:
    """Raises UsageError where anything is `given`, by its name, that needs a network."""
    for name, value in given.items():
        if value:
            raise click.UsageError(
                f"{name} is for training a network, and this is a model of counts alone (as --cell"
                " none or a very short --budget wants it)."
            )


def _rank() -> int:
    """The number of this process among those that torchrun has begun; 0 where it is alone."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def _go_along(
    ctx: click.Context, out: Path | None, corpora: tuple[Path, ...], values: dict[str, Any] | None
) -> None:
    """Trains with the first rank in the run that it has in `out`, and says nothing of it."""
    from charlm.training import begin, checkpoint, directory, ranks
    from charlm.training.standing import Listener

    try:
        together = ranks.join()
        # until there is something to go on with, or the first has failed
        checkpoint.seen(out / directory.LAST_NAME, together)
        corpus, changes = None, {}
        if values is not None:
            corpus, changes = next(iter(corpora), None), _changes(ctx, values)
        run = begin.resume(out, corpus, changes, Listener(), STARTED, together)
        keep_memory()
        outcome = run.go()
    except ranks.LostError:
        ctx.exit(1)  # the first one tells
    ctx.exit(0 if outcome.signal is None else 128 + outcome.signal)


def _alone(several: bool, together: "Ranks") -> None:
    if several and together.count > 1:
        raise click.UsageError("--seeds is for one process; train each seed by itself.")


def _print_outcome(out: Path, outcome: "Outcome") -> None:
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


def _given(ctx: click.Context, *knobs: type[Knobs]) -> set[str]:
    """The knobs that stand on the command line."""
    source = click.core.ParameterSource.COMMANDLINE
    names = {f.name for group in knobs for f in fields(group)}
    return {name for name in names if ctx.get_parameter_source(name) == source}


def _changes(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run is told to do otherwise; most knobs are part of it and stay."""
    given = _given(ctx, NetworkConfig, TrainingConfig)
    fixed = sorted(given - set(RESUMABLE))
    if fixed:
        raise click.UsageError(
            f"--{fixed[0].replace('_', '-')} is part of the run and stays as it was;"
            " with --resume only --budget, --steps, --epochs, --patience, --device and --precision"
            " can be given."
        )
    return {name: values[name] for name in given}


def _model(init: Path, out: Path, ctx: click.Context, values: dict[str, Any]) -> "Model":
    """The model to begin from, which nothing on the command line contradicts."""
    from charlm.library.making import model_to_tune

    try:
        return model_to_tune(init, out, {name: values[name] for name in _given(ctx, NetworkConfig)})
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
