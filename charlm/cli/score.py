"""`charlm score`: how well a model predicts each record of a text, as the records come."""

import functools
import heapq
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cli.bars import Bar, reading, say_waiting
from charlm.cli.files import STREAM, check_stdout, size_bytes
from charlm.cli.options import PATH, BareOptionCommand, knob_options, take
from charlm.cli.shading import (
    coloured,
    for_stdout,
    json_line,
    one_line,
    pieces_of,
    printable,
    shaded,
)
from charlm.config import UNKNOWN_POLICIES, AdaptationConfig
from charlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from charlm.measuring.records import Record
    from charlm.measuring.scorer import Scored, Scorer
    from charlm.model_file import Model
    from charlm.score import Score
    from charlm.tokenizer import Tokenizer

COLUMNS = ("bits", "bits_per_char", "bits_per_byte", "perplexity", "chars", "unknown")
SYMBOL_COLUMNS = ("record", "place", "symbol", "bits", "favourite", "favourite_bits")

Show = Callable[["Record", "Scored"], str]


@click.command(
    "score",
    cls=BareOptionCommand,
    short_help="Measure how well a model predicts each line of a text.",
)
@click.argument("model", type=PATH)
@click.argument("files", nargs=-1, type=PATH, metavar="[FILE]...")
@click.option("-0", "--null", is_flag=True, help="Records end with a NUL.")
@click.option(
    "--records",
    "kind",
    type=click.Choice(["line", "blank", "file"]),
    help="What ends a record, a blank line being blank (default: as in the model's corpus; a line"
    " where that was running text).",
)
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    help="What to do with symbols that the model does not know: they are counted in any case, and"
    " skipped they cost 20.1 bits a character, as much as to name one (default: <unk> where the"
    " model has it, else skip).",
)
@click.option("--running", is_flag=True, help="Read on from record to record, as one text.")
@click.option("--min-bpb", type=float, help="Only records of at least so many bits per byte.")
@click.option("--max-bpb", type=float, help="Only records of at most so many bits per byte.")
@click.option(
    "--worst",
    type=click.IntRange(1),
    metavar="N",
    help="Only the N records with the most bits per byte, the worst first.",
)
@click.option("--sort", is_flag=True, help="By bits per byte, rising.")
@click.option("--header", is_flag=True, help="Begin with a line that names the columns.")
@click.option("--each", is_flag=True, help="One line for each symbol.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line of output.")
@click.option("--text-only", is_flag=True, help="Only the records' text, just as it came in.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    help="Only the text, the redder the more bits a symbol takes; auto: on a terminal.",
)
@knob_options(AdaptationConfig)
def command(
    model: Path,
    files: tuple[Path, ...],
    null: bool,
    kind: str | None,
    unknown: str | None,
    running: bool,
    min_bpb: float | None,
    max_bpb: float | None,
    worst: int | None,
    sort: bool,
    **shape: Any,
) -> None:
    """Measure how well MODEL, a run directory or a model file, predicts the FILEs (or stdin).

    A record is what it was in MODEL's corpus, a line where that was running text, and is read by
    itself. Its end is part of it. For each record one line goes to stdout as soon as its turn
    comes, with tabs between its columns: bits, bits per character, bits per byte, perplexity,
    characters, unknown symbols, and the text (where \\n, \\t, \\\\ and \\x1b stand for what would
    end the line or the column). A model of records has never seen an empty one, and passes over it.

    Bits, bits per character and perplexity are those of what MODEL reads, with <unk> as a token
    like any other. Bits per byte are those of the very bytes: what <unk> stands for is named, and
    so is what MODEL does not read, such as the carriage returns of its records. Bytes that are not
    UTF-8 are unknown symbols, and come out as they came in.

    --each has the record's number in its file, the symbol's place in the record, the symbol, its
    bits, the likeliest symbol, and the bits that one would have taken.

    With --adapt (dynamic evaluation) and --cache (a neural cache) MODEL learns from the records in
    their order, from each symbol after it was scored.

    A bidirectional model is given all of a record but the symbol itself, so its bits are no code
    length and not to be compared with those of others.

    \b
    charlm score run draft.txt --worst 20
    charlm score run draft.txt --color auto
    charlm score run corpus.txt --max-bpb 2.5 --text-only > clean.txt
    charlm score run --header names.txt
    charlm score run draft.txt --adapt --running
    tail -f log | charlm score run --min-bpb 4
    """
    config = take(AdaptationConfig, shape)
    header, each, as_json = shape["header"], shape["each"], shape["as_json"]
    color, text_only = shape["color"], shape["text_only"]
    _refuse_together({"--each": each, "--color": color, "--text-only": text_only})
    _refuse_together({"--json": as_json, "--color": color, "--text-only": text_only})
    _refuse_together({"--header": header, "--json": as_json, "--color": color})
    _refuse_together({"--header": header, "--text-only": text_only})
    _refuse_together({"--worst": worst, "--sort": sort})
    low = -math.inf if min_bpb is None else min_bpb
    high = math.inf if max_bpb is None else max_bpb
    if not low <= high:
        raise click.UsageError("--min-bpb and --max-bpb leave nothing between them.")

    check_stdout(files or [STREAM])

    from charlm import model_file
    from charlm.measuring import records
    from charlm.measuring.scorer import Scorer
    from charlm.measuring.symbols import ENDS
    from charlm.preparation.sources import check

    loaded = model_file.load(model)
    _check_model(loaded, model, running=running, learns=not config.off)
    check(files)
    if not files or STREAM in files:
        say_waiting()
    tokenizer = loaded.tokenizer
    by_record = loaded.records != "none"
    kind = kind or (loaded.records if by_record else "line")
    form = records.Form(null=null, crlf=by_record, kind=kind)
    arriving = records.read(files, form)
    passed = _Passed(null=null)
    if by_record:
        arriving = map(passed.over, arriving)
    scorer = Scorer(loaded, unknown, config, favourites=each, watch=reading)
    if unknown == "error":
        arriving = _known(scorer, arriving)
    end = "\0" if null else ENDS[kind]
    show = _show(shape, tokenizer, end, shades_end=scorer.end is not None)
    if header:
        click.echo("\t".join(SYMBOL_COLUMNS if each else (*COLUMNS, "text")))
    kept: list[tuple[float, int, Record, Scored]] = []
    rows_show = sys.stdout.isatty() and worst is None and not sort
    bar = None if rows_show else Bar(size_bytes(files))
    for turn, (record, scored) in enumerate(_score(scorer, arriving, running, by_record)):
        if bar is not None:
            bar.update(scored.score.bytes)
        bpb = scored.score.bits_per_byte if scored.score.bytes else 0.0
        if not low <= bpb <= high:
            continue
        if worst is not None:
            push = heapq.heappush if len(kept) < worst else heapq.heappushpop
            push(kept, (bpb, -turn, record, scored))
        elif sort:
            kept.append((bpb, turn, record, scored))
        else:
            sys.stdout.write(show(record, scored))
    if bar is not None:
        bar.close()
    for *_, record, scored in sorted(kept, reverse=worst is not None):
        sys.stdout.write(show(record, scored))
    passed.say()


class _Passed:
    """Takes the empty records out, and says how many there were."""

    def __init__(self, *, null: bool) -> None:
        self._count = 0
        self._null = null

    def over(self, records: list["Record"]) -> list["Record"]:
        """Those that are not empty."""
        some = [record for record in records if record.text]
        self._count += len(records) - len(some)
        return some

    def say(self) -> None:
        """On stderr, where there were any."""
        if self._count:
            what = "record" if self._null else "line"
            click.echo(f"passed over {counted(self._count, f'empty {what}')}", err=True)


def _check_model(loaded: "Model", model: Path, *, running: bool, learns: bool) -> None:
    """Raises ConfigError where the model can't read on from record to record, or can't learn."""
    if running and loaded.network.config.bidirectional:
        raise ConfigError(
            f"{model} is bidirectional: it needs the text on both sides of a symbol, and can't read"
            " on from record to record. Leave --running out, or train without --bidirectional."
        )
    if running and loaded.records != "none":
        raise ConfigError(
            f"{model} was trained on records, each by itself, and can't read on from one to the"
            " next. Leave --running out."
        )
    if learns and loaded.network.config.bidirectional:
        raise ConfigError(
            f"{model} is bidirectional: each symbol is scored given those after it, of which it"
            " can't learn yet. Leave --adapt and --cache out, or train without --bidirectional."
        )


def _show(shape: dict[str, Any], tokenizer: "Tokenizer", end: str, *, shades_end: bool) -> Show:
    """What makes output of a record and its score, by the options; `end` is that of a record."""
    if shape["each"]:
        return _symbols(tokenizer, shape["as_json"])
    if coloured(shape["color"]):
        return _shades(tokenizer, ends=shades_end)
    if shape["text_only"] or shape["color"]:
        return _texts(end)
    return _json if shape["as_json"] else _row


def _refuse_together(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"Give {' or '.join(given)}, not both.")


def _known(scorer: "Scorer", arriving: Iterator[list["Record"]]) -> Iterator[list["Record"]]:
    """The records up to one with a symbol outside the vocabulary, and its error then."""
    for records in arriving:
        for k, record in enumerate(records):
            try:
                scorer.check(record.text)
            except DataError as error:
                yield records[:k]
                raise DataError(f"{record.file}, record {record.number:,}: {error}") from error
        yield records


def _score(
    scorer: "Scorer", arriving: Iterator[list["Record"]], running: bool, by_record: bool
) -> Iterator[tuple["Record", "Scored"]]:
    """Each record with what it scores; what was written about them is out before more is read."""
    before = None
    for records in arriving:
        if running:
            for record in records:
                # What nothing ended has no end in one text.
                end = "\n" if record.end or not record.text else ""
                scored, before = scorer.read_on(record.text, before, end)
                yield record, scored
        else:
            texts = (record.text for record in records)
            ends = (record.end or None for record in records) if by_record else None
            yield from zip(records, scorer.score(texts, ends), strict=True)
        sys.stdout.flush()


def _figures(score: "Score") -> list[float]:
    rates = (score.bits_per_char, score.bits_per_byte, score.perplexity)
    return [score.bits, *rates, score.chars, score.unknown]


def _row(record: "Record", scored: "Scored") -> str:
    *figures, chars, unknown = _figures(scored.score)
    shown = "\t".join(f"{figure:.4f}" for figure in figures)
    return f"{shown}\t{chars}\t{unknown}\t{one_line(record.text)}\n"


def _json(record: "Record", scored: "Scored") -> str:
    figures = zip(COLUMNS, _figures(scored.score), strict=True)
    about = {"file": record.file, "record": record.number}
    about |= {name: value if math.isfinite(value) else None for name, value in figures}
    without = scored.score.perplexity_excluding_unknown
    about |= {"bytes": scored.score.bytes, "tokens": scored.score.tokens}
    about |= {"perplexity_excluding_unknown": without if math.isfinite(without) else None}
    about |= {"unread": scored.score.unread}
    return json_line({**about, "text": printable(record.text)}) + "\n"


def _symbols(tokenizer: "Tokenizer", as_json: bool) -> Show:
    """One line for each symbol, as columns or as JSON."""
    from charlm.tokenizer.symbols import readable

    name = functools.cache(lambda id: "" if id < 0 else tokenizer.symbol(id))

    def show(record: "Record", scored: "Scored") -> str:
        bits, best = scored.nats / math.log(2), scored.favourite_nats / math.log(2)
        parts = zip(scored.ids.tolist(), bits, scored.favourites.tolist(), best, strict=True)
        lines = []
        for place, (id, cost, favourite, low) in enumerate(parts, 1):
            own = scored.unknown.get(place - 1)
            symbol = name(id) if own is None else readable(own.encode("utf-8", "surrogateescape"))
            if as_json:
                expected = (name(favourite), float(low)) if favourite >= 0 else (None, None)
                values = record.number, place, symbol, float(cost), *expected
                about = dict(zip(SYMBOL_COLUMNS, values, strict=True))
                lines.append(json_line({"file": record.file, **about, "unknown": own is not None}))
            else:
                row = f"{record.number}\t{place}\t{symbol}\t{cost:.4f}"
                lines.append(f"{row}\t{name(favourite)}\t{low:.4f}")
        return "".join(f"{line}\n" for line in lines)

    return show


def _texts(separator: str) -> Show:
    """The text as it came in; what did not end gets its end before something else follows."""
    owed = ""

    def show(record: "Record", scored: "Scored") -> str:
        nonlocal owed
        before, owed = owed, "" if record.end or record.goes_on else separator
        return for_stdout(before + record.text + record.end)

    return show


def _shades(tokenizer: "Tokenizer", *, ends: bool) -> Show:
    """The text in colours, a line for each record; an unknown symbol has the strongest."""

    def show(record: "Record", scored: "Scored") -> str:
        bits, ids, end_bits = scored.nats / math.log(2), scored.ids, 0.0
        if ends and len(ids):
            ids, bits, end_bits = ids[:-1], bits[:-1], float(bits[-1])
        pieces = pieces_of(tokenizer, ids, bits, scored.unknown)
        return shaded(pieces, end_bits) + "\n"

    return show
