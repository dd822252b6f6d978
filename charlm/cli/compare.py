"""`charlm compare`: the same text through several models, whatever their tokens are."""

import codecs
import math
import sys
from pathlib import Path

import click

from charlm.amounts import counted
from charlm.cli.bars import Bar
from charlm.cli.options import PATH
from charlm.cli.shading import figure, json_line
from charlm.errors import DataError


@click.command("compare", short_help="Compare models on the same text.")
@click.argument("models", type=PATH, nargs=-1, metavar="MODEL MODEL...")
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model, a line each.")
def command(models: tuple[Path, ...], file: Path, as_json: bool) -> None:
    """Compare how well each MODEL predicts the text in FILE (- is stdin).

    A table on stdout, a row per model: its bits per byte with their 95 % interval, how much more
    that is than the best model's, with the interval of this difference, and on how many lines it
    is better than the best one. The intervals are by the bootstrap over lines; that of a difference
    draws a line for both models at once, and is the narrower for it. One that lies above 0 says
    that the best model is truly better on text of this kind.

    Models of characters, bytes, words and byte pairs are compared on the same bytes. A symbol that
    a model does not know costs log2(1114112) bits for each of its characters: as much as to name
    one code point of all there are. So does what a model does not read: carriage returns and blank
    lines between its records, and characters that have another form in its normal form.

    \b
    charlm compare gru lstm test.txt
    tail -n 500 new.txt | charlm compare chars words pairs - | column -t
    charlm compare runs/a runs/b test.txt --json | jq .bits_per_byte
    """
    if len(models) < 2:
        raise click.UsageError("Name two models at least, and then the text.")

    import numpy as np

    from charlm.measuring import evaluation
    from charlm.measuring.bootstrap import difference, interval
    from charlm.measuring.lines import line_nats, line_sizes
    from charlm.score import NAMING_NATS

    loaded = [evaluation.load(path) for path in models]
    data = _read(file)
    text = data.decode("utf-8", "surrogateescape")
    sizes = line_sizes(data)
    nats, unknown = [], []
    for path, model in zip(models, loaded, strict=True):
        with Bar(None, "tokens", str(path)) as bar:
            found, strange = line_nats(model, text, bar.update)
        nats.append(found)
        unknown.append(strange)
        if strange:
            what = "word" if model.tokenizer.level == "word" else "character"
            click.echo(
                f"{path}: {counted(strange, what)} not in the vocabulary,"
                f" at {NAMING_NATS / math.log(2):.2f} bits a character",
                err=True,
            )
    best = nats[int(np.argmin([found.sum() for found in nats]))]
    rows = []
    for path, found, strange in zip(models, nats, unknown, strict=True):
        figures = {
            "bits_per_byte": found.sum() / sizes.sum(),
            **dict(zip(("low", "high"), interval(found, sizes), strict=True)),
            "difference": (found.sum() - best.sum()) / sizes.sum(),
            **dict(
                zip(
                    ("difference_low", "difference_high"),
                    difference(found, best, sizes),
                    strict=True,
                )
            ),
        }
        bits = {name: float(value) / math.log(2) for name, value in figures.items()}
        rows.append(
            {
                "model": str(path),
                # A single line has no interval.
                **{name: None if math.isnan(value) else value for name, value in bits.items()},
                "wins": int(np.count_nonzero(found < best)),
                "lines": len(sizes),
                "unknown": strange,
            }
        )
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    click.echo("\t".join(rows[0]))
    for row in rows:
        click.echo("\t".join(figure(value) for value in row.values()))


def _read(file: Path) -> bytes:
    """The bytes of the text, without a byte order mark. Raises DataError where there are none."""
    from charlm.preparation.sources import opened

    name = "stdin" if str(file) == "-" else str(file)
    if name == "stdin" and sys.stdin.isatty():
        raise click.UsageError("Pipe text into charlm compare, or name a FILE.")
    if file.is_dir():
        raise DataError(f"{name} is a directory; the last argument is the text.")
    with opened(file) as (stream, _):
        data = stream.read().removeprefix(codecs.BOM_UTF8)
    if not data:
        raise DataError(f"{name} is empty; give some text to compare the models on.")
    return data
