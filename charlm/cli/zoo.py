"""`charlm zoo`: every cell on one corpus, for the same time at about the same size; one table."""

import random
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm import atomic
from charlm.cells import CELLS
from charlm.cli.options import PATH, CellNames, Duration
from charlm.cli.shading import json_line
from charlm.config import NO_CELL, TrainingConfig
from charlm.errors import DataError, TrainingError
from charlm.process import keep_memory

if TYPE_CHECKING:
    from charlm.network import Network
    from charlm.zoo import Row

HEADER = (
    "CELL", "SHAPE", "PARAMETERS", "TRAIN_CHARS/S", "BITS/CHAR", "NATS/CHAR", "SAMPLE_CHARS/S",
)  # fmt: skip
CONTESTANTS = [NO_CELL, *CELLS]
MOST_PARAMETERS = 10**9  # more than this would not fit the machines the tool is for


@click.command("zoo", short_help="Compare all cells on a corpus.")
@click.argument("corpus", type=PATH)
@click.option(
    "--budget",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Time for each cell, its last validation included.",
)
@click.option(
    "--parameters",
    type=click.IntRange(1, MOST_PARAMETERS),
    metavar="N",
    help="Size of each network, as near as widths in steps of 16 come to it (default: that of the"
    " network `charlm train` makes).",
)
@click.option(
    "--cell",
    "cells",
    type=CellNames(CONTESTANTS),
    multiple=True,
    help="Only these, each on its own (repeatable; default: all).",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    help="Seed of every random choice (default: chosen, and told).",
)
@click.option(
    "-o", "--out", "--output", type=PATH, metavar="DIR", help="Keep the runs, as DIR/CELL."
)
@click.option("--force", is_flag=True, help="Replace existing runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per cell, a line each.")
@click.pass_context
def command(
    ctx: click.Context,
    corpus: Path,
    budget: float,
    parameters: int | None,
    cells: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train every cell on CORPUS, which `charlm prep` made, for the same time at the same size.

    The first row, `none`, is a model of counts alone, and the others are networks without counts:
    so it shows what recurrence adds.

    The table has a row for each cell, as soon as it is done: its layers x width, parameters,
    characters per second in training (validations left out), bits and nats per character on the
    validation split, and characters per second in sampling (one stream, on the CPU). No field has
    a space within and no number has a comma, so that awk and sort can read it. A cell that failed
    has - for every figure, and the exit status is 1 at the end.

    \b
    charlm zoo data
    charlm zoo data --cell lstm,gru --budget 10m -o zoo   then: charlm sample zoo/gru
    charlm zoo data | tail -n +2 | sort -n -k 5           best first
    charlm zoo data --json --parameters 200000 | jq .val_bits_per_char
    """
    if force and out is None:
        raise click.UsageError("--force replaces the runs in -o DIR; there are none without -o.")
    names = list(dict.fromkeys(",".join(cells).split(","))) if cells else CONTESTANTS

    from charlm.corpus import Corpus

    prepared = Corpus(corpus)
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
        click.echo(f"seed {seed}", err=True)
    training = TrainingConfig(budget=budget, seed=seed, ngram=0)

    from charlm.cli.progress import Progress
    from charlm.training import directory, run_corpus

    with _folder(out) as folder, ExitStack() as stack:
        run_corpus.check_corpus(prepared, several=False)
        if out is not None and out.exists() and not out.is_dir():
            raise DataError(f"{out} is a file; -o names a directory to make.")
        runs = [folder / name for name in names]
        for run in runs:
            directory.check_directory(run, force=force)
        folder.mkdir(parents=True, exist_ok=True)  # an unwritable one fails before training
        for run in runs:
            stack.enter_context(directory.held(run))
        # torch takes a second or two to load: after the checks above, and after a sign of life.
        kept = "" if out else "; -o DIR would keep the runs"
        Progress().say(f"training {', '.join(names)}, {budget:g} s each{kept}")

        from charlm import zoo

        vocabulary = prepared.tokenizer.vocabulary
        parameters = parameters or zoo.usual_parameters(vocabulary)
        networks = [zoo.contestant(name, vocabulary, parameters) for name in names]
        keep_memory()  # not before: reading a vocabulary takes memory that is to be given back
        zoo.warm_up(prepared, training)
        show = _show_json if as_json else _table(networks)
        failed = False
        for place, (network, run) in enumerate(zip(networks, runs, strict=True), 1):
            with Progress() as progress:
                progress.say(f"cell {place} of {len(names)}: {run.name}")
                try:
                    outcome, chars_per_s = zoo.train(network, prepared, run, training, progress)
                except TrainingError as error:
                    failed = True
                    progress.say(f"{run.name} failed: {error}")
                    show(zoo.row(network, error=str(error)))
                    continue
            if outcome.signal is not None:
                if out is not None:
                    again = f"charlm train --resume {shlex.quote(str(run))}"
                    progress.say(f"stopped and saved; to go on: {again}")
                ctx.exit(128 + outcome.signal)
            show(zoo.measure(run, chars_per_s, seed))
    if failed:
        ctx.exit(1)


def _folder(out: Path | None) -> AbstractContextManager[Path]:
    """Where the runs go: a directory to keep, or one that is removed again."""
    return atomic.temporary_directory("charlm-zoo-") if out is None else nullcontext(out)


def _table(networks: list["Network"]) -> Callable[["Row"], None]:
    """Prints the header of a table of these networks; what it returns prints a row."""
    cell_size = max(len(name) for name in (HEADER[0], *(n.config.cell for n in networks)))
    shape_size = max(len(shape) for shape in (HEADER[1], *(_shape(n.config) for n in networks)))

    def write(cell: str, shape: str, *figures: str) -> None:
        numbers = [f"{f:>{len(name)}}" for f, name in zip(figures, HEADER[2:], strict=True)]
        click.echo("  ".join([f"{cell:<{cell_size}}", f"{shape:<{shape_size}}", *numbers]))

    def show(row: "Row") -> None:
        write(
            row.cell,
            _shape(row),
            str(row.parameters),
            _figure(row.train_chars_per_s, 0),
            _figure(row.val_bits_per_char, 4),
            _figure(row.val_nats_per_char, 4),
            _figure(row.sample_chars_per_s, 0),
        )

    write(*HEADER)
    return show


def _show_json(row: "Row") -> None:
    click.echo(json_line(asdict(row)))


def _shape(sized: Any) -> str:
    return "-" if sized.width is None else f"{sized.layers}x{sized.width}"


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
