"""`charlm plot`: how runs learned, as curves."""

import json
import shutil
from pathlib import Path

import click

from charlm.cli.files import check_output
from charlm.cli.options import PATH
from charlm.cli.shading import coloured
from charlm.errors import DataError
from charlm.packages import require

ROWS = 24


@click.command("plot", short_help="Draw the learning curves of runs.")
@click.argument("runs", nargs=-1, type=PATH, required=True, metavar="RUN...")
@click.option(
    "-o",
    "--output",
    "--out",
    type=PATH,
    metavar="FILE",
    help="Write a picture: .svg, .png or .pdf.",
)
@click.option(
    "--x",
    "across",
    type=click.Choice(["time", "chars", "steps"]),
    default="time",
    show_default=True,
    help="What goes across: seconds, characters read, or updates.",
)
@click.option(
    "--y",
    "up",
    type=click.Choice(["bits", "loss"]),
    default="bits",
    show_default=True,
    help="What goes up: bits per character, or the loss in nats per token.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "both"]),
    default="both",
    show_default=True,
    help="Which curves to draw.",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Whether runs are told apart by colours, not by marks; auto: on a terminal.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="The curves' points, a JSON object each.")
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    across: str,
    up: str,
    split: str,
    color: str,
    force: bool,
    as_json: bool,
) -> None:
    """Draw how the RUNs learned, together: the loss of training, and that of each validation.

    A run of several seeds has curves for each of them. Without -o they are drawn in the terminal.
    It needs plotext, and a picture needs matplotlib: pip install plotext matplotlib.

    \b
    charlm plot run
    charlm plot runs/a runs/b --x chars --split val
    charlm plot run -o curves.svg
    charlm plot run --y loss --x steps --json
    """
    if output is not None and as_json:
        raise click.UsageError("Give -o or --json, not both.")

    from charlm.curves import picture, reading, terminal

    if output is not None:
        if output.suffix not in picture.FORMATS:
            raise click.UsageError(f"-o names a picture: *{', *'.join(picture.FORMATS)}.")
        check_output(output, force)
    if not as_json:
        require("plotext" if output is None else "matplotlib")
    found = [curve for run in runs for curve in reading.curves(run, across, up)]
    found = [curve for curve in found if split in ("both", curve.split)]
    if not found:
        raise DataError("there is nothing to draw: no run has been validated.")
    labels = reading.ACROSS[across], reading.UP[up]
    if as_json:
        for curve in found:
            for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
                point = {"run": curve.run, "split": curve.split, across: x, up: y}
                click.echo(json.dumps(point))
    elif output is not None:
        picture.save(found, *labels, output)
    else:
        columns = shutil.get_terminal_size().columns
        text = terminal.drawn(found, *labels, columns, ROWS, colour=coloured(color))
        click.echo(text, color=True)  # click would take the colours out for a pipe
