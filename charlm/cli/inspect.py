"""`charlm inspect`: what a model makes of a text, and how it remembers and learns."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cli.bars import Bar, reading, say_waiting, watched
from charlm.cli.files import STREAM
from charlm.cli.options import PATH
from charlm.cli.shading import (
    bar as length_bar,
)
from charlm.cli.shading import (
    coloured,
    json_line,
    shaded_lines,
    surprise,
    within,
)
from charlm.config import UNKNOWN_POLICIES
from charlm.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from charlm.measuring.symbols import Symbols
    from charlm.model_file import Model

READ_AT_MOST = 20_000  # symbols, unless told
BACK = 100
WAYS = ("unit", "units", "memory", "gradient")


@click.command("inspect", short_help="Look into a model.")
@click.argument("model", type=PATH)
@click.argument("text", type=PATH, required=False)
@click.option(
    "--unit",
    metavar="NAME",
    help="Colour by the activation of one unit, such as 0.h.7; of several members 1.0.h.7.",
)
@click.option("--units", is_flag=True, help="The units that best track something in the text.")
@click.option("--memory", is_flag=True, help="The loss by how much the model may see.")
@click.option(
    "--gradient", is_flag=True, help="The gradient by how far back it flows; needs torch."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    help="So many units of --units for each thing (default: 1).",
)
@click.option(
    "--back",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help=f"How many symbols back --memory and --gradient look (default: {BACK}).",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=READ_AT_MOST,
    show_default=True,
    metavar="N",
    help="Read the first N symbols of the text only.",
)
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    help="What to do with symbols that the model does not know (default: <unk> where the model has"
    " it, else skip, at 20.1 bits a character).",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Whether text is coloured; auto: on a terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line of figures.")
def command(
    model: Path,
    text: Path | None,
    limit: int,
    unknown: str | None,
    color: str,
    as_json: bool,
    **way: Any,
) -> None:
    """Look into MODEL, a run directory or a model file, as it reads the file TEXT (or stdin).

    Without an option the text comes in colours, the redder the more of a surprise a symbol was.
    --unit has it redder where a unit is high and bluer where it is low, after each symbol. A unit
    is a number in the network's state; its name is its block, its array and its place there.

    --units tells, for each thing that a text shows at every place, which unit goes with it: the
    thing, the unit, and their correlation, on the half of the text that the unit was not chosen by.

    --memory predicts the same symbols from 0, 1, 2, 4, ... symbols before them and no more: symbols
    seen, and bits per symbol. --gradient has the norm of the gradient of the loss at a place with
    respect to the state so many symbols before it: symbols back, the norm, and that of the network
    before it was trained. Columns have tabs between them.

    \b
    charlm inspect run draft.txt
    charlm inspect run book.txt --color always | less -R
    charlm inspect run book.txt --units
    charlm inspect run draft.txt --unit 0.h.7
    charlm inspect run book.txt --memory --back 32
    charlm inspect run book.txt --gradient --back 50 --json
    """
    ways = [name for name in WAYS if way[name]]
    if len(ways) > 1:
        raise click.UsageError(f"Give --{ways[0]} or --{ways[1]}, not both.")
    if way["top"] is not None and not way["units"]:
        raise click.UsageError("--top is for --units.")
    if way["back"] is not None and not (way["memory"] or way["gradient"]):
        raise click.UsageError("--back is for --memory and --gradient.")
    if text is None and sys.stdin.isatty():
        raise click.UsageError("Name a TEXT, or pipe text into charlm inspect.")

    from charlm import model_file
    from charlm.measuring import evaluation
    from charlm.sampling.session import check_has_network, check_reads_on

    loaded = model_file.load(model)
    check_reads_on(loaded, str(model))
    if way["unit"] or way["units"] or way["gradient"]:
        check_has_network(loaded, str(model))
    if (way["memory"] or way["gradient"]) and loaded.records != "none":
        raise ConfigError(
            f"{model} was trained on records, and --memory and --gradient look back over one"
            " running text; leave them out."
        )
    if text == STREAM:
        say_waiting()
    text_read = evaluation.of_file(loaded, text or STREAM, unknown)
    if len(text_read.symbols.ids) > limit:
        count = len(text_read.symbols.ids)
        click.echo(f"the first {limit:,} of {counted(count, 'symbol')} (--limit)", err=True)
    symbols, opening = text_read.symbols.first(limit), text_read.opening
    ids = symbols.read
    back = way["back"] or BACK
    if way["units"]:
        rows = _units(loaded, ids, opening, way["top"] or 1)
    elif way["memory"]:
        rows = _memory(loaded, ids, back)
    elif way["gradient"]:
        rows = _gradient(loaded, ids, back, everything=as_json)
    else:
        _coloured_text(loaded, symbols, opening, way["unit"], color, as_json)
        return
    _write(rows, as_json)


def _coloured_text(
    model: "Model",
    read: "Symbols",
    opening: Sequence[int],
    unit: str | None,
    color: str,
    as_json: bool,
) -> None:
    """The text with a figure for each symbol: its bits, or a unit's value after it."""
    from charlm.inspection.units import Units
    from charlm.inspection.walking import texts_of, walk
    from charlm.tokenizer.symbols import readable

    units = Units(model.network)
    number = None if unit is None else units.number(unit)
    name = "bits" if unit is None else "value"
    with Bar(len(read.read), "tokens") as bar:
        found = [
            nats / math.log(2) if number is None else float(units.values(state)[number])
            for nats, state in watched(walk(model, read.read, opening), bar)
        ]
    values = _of_all(read, found, bits=number is None)
    symbols = [
        model.tokenizer.symbol(id)
        if own is None
        else readable(own.encode("utf-8", "surrogateescape"))
        for id, own in _with_own(read, read.ids.tolist())
    ]
    if as_json:
        pairs = zip(symbols, values, strict=True)
        _write(({"symbol": symbol, name: value} for symbol, value in pairs), as_json)
        return
    background = surprise if number is None else within(values)
    shades = [
        background(value if own is None or number is not None else math.inf)
        for value, own in _with_own(read, values)
    ]
    texts = iter(texts_of(model, read.read))
    shown = [
        next(texts) if id >= 0 and own is None else _unknown_text(texts, id, own)
        for id, own in _with_own(read, read.ids.tolist())
    ]
    pieces = zip(shown, shades, strict=True)
    if not coloured(color):
        pieces = ((text, None) for text, _ in pieces)
    for line in shaded_lines(pieces):
        click.echo(line, color=True)  # click would take the colours out for a pipe


def _with_own(read: "Symbols", values: list) -> Iterator[tuple[Any, str | None]]:
    """Each value with its symbol's own text, where that is outside the vocabulary."""
    return ((value, read.unknown.get(place)) for place, value in enumerate(values))


def _unknown_text(texts: Iterator[str], id: int, own: str) -> str:
    if id >= 0:
        next(texts)  # that of `<unk>`, or of what stands for it
    return own


def _of_all(read: "Symbols", found: list[float], *, bits: bool) -> list[float]:
    """The figures of all symbols; one that is not read has the bits of its name, or leaves a unit
    where it is."""
    if bits:
        import numpy as np

        return (read.priced(np.array(found) * math.log(2)) / math.log(2)).tolist()
    values, latest, left = [], 0.0, iter(found)
    for id in read.ids.tolist():
        latest = next(left) if id >= 0 else latest
        values.append(latest)
    return values


def _units(
    model: "Model", ids: "np.ndarray", opening: Sequence[int], top: int
) -> Iterator[dict[str, Any]]:
    from charlm.inspection.tracking import best
    from charlm.inspection.units import Units
    from charlm.inspection.walking import texts_of, walk

    units = Units(model.network)
    with Bar(len(ids), "tokens") as bar:
        places = watched(walk(model, ids, opening), bar)
        values = (units.values(state) for _, state in places)
        tracking = best(texts_of(model, ids), values, top)
    for found in tracking:
        unit, correlation = units.name(found.unit), found.correlation
        yield {"tracks": found.track, "unit": unit, "correlation": correlation}


def _memory(model: "Model", ids: "np.ndarray", back: int) -> Iterator[dict[str, Any]]:
    from charlm.inspection.memory import CLOSE, by_context, effective, tokens_read
    from charlm.sampling.engine import engine_of

    engine = engine_of(model)
    with reading(tokens_read(ids, back)) as advance:
        curve = by_context(engine, ids, back, advance)
    highest = max(seen.nats for seen in curve)
    for seen in curve:
        yield {
            "symbols_seen": seen.symbols,
            "bits_per_symbol": seen.nats / math.log(2),
            "bar": length_bar(seen.nats / highest),
        }
    click.echo(
        f"within {CLOSE:.0%} of the best with {counted(effective(curve), 'symbol')}", err=True
    )


def _gradient(
    model: "Model", ids: "np.ndarray", back: int, *, everything: bool
) -> Iterator[dict[str, Any]]:
    from charlm.inspection.gradient import WARMUP, norms
    from charlm.training.initialise import initial_weights

    begun = initial_weights(model.network, model.training.get("seed") or 0)
    with reading(2 * (WARMUP + back)) as advance:
        trained, untrained = (
            norms(model.network, weights, ids, back, advance).tolist()
            for weights in (model.weights, begun)
        )
    for k in range(1, back + 1) if everything else _spread(back):
        norm = trained[k - 1]
        yield {
            "symbols_back": k,
            "norm": norm,
            "untrained_norm": untrained[k - 1],
            # From 1 down to a millionth of what it was.
            "bar": length_bar(1 + math.log10(max(norm / trained[0], 1e-6)) / 6),
        }


def _spread(back: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to `back`."""
    some = [base * 10**power for power in range(5) for base in (1, 2, 5)]
    return [*(k for k in some if k < back), back]


def _write(rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    for row in rows:
        if as_json:
            row.pop("bar", None)
            click.echo(json_line(row))
        else:
            click.echo("\t".join(map(_word, row.values())))


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
