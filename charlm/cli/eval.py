"""`charlm eval`: how well a model predicts a split of a corpus, or a text."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.bars import reading
from charlm.cli.options import PATH, BareOptionCommand, knob_options, take
from charlm.cli.shading import figure, json_line
from charlm.config import UNKNOWN_POLICIES, AdaptationConfig

if TYPE_CHECKING:
    from charlm.measuring.evaluation import Evaluation

# The columns of the table of parts.
TABLE = ("bits_per_char", "nats_per_char", "bits_per_byte", "perplexity")


@click.command(
    "eval", cls=BareOptionCommand, short_help="Measure how well a model predicts a text."
)
@click.argument("model", type=PATH)
@click.argument("text", type=PATH, default="-", metavar="[CORPUS|FILE]")
@click.option(
    "--split", type=click.Choice(["val", "test", "train"]), help="Of a corpus (default: val)."
)
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    help="What to do with symbols of a file that the model does not know: they are counted in any"
    " case, and skipped they cost 20.1 bits a character (default: <unk> where the model has it,"
    " else skip).",
)
@click.option(
    "--protocol",
    type=click.Choice(["nanogpt"]),
    help="Also tell what another program's protocol would find.",
)
@click.option(
    "--parts", is_flag=True, help="Also what the network alone and the counts alone (--ngram) cost."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@knob_options(AdaptationConfig)
def command(
    model: Path,
    text: Path,
    split: str | None,
    unknown: str | None,
    protocol: str | None,
    parts: bool,
    as_json: bool,
    **knobs: Any,
) -> None:
    """Measure how well MODEL predicts a split of CORPUS, or the text in FILE (or stdin).

    MODEL is a run directory or a model file. Every token is predicted once, from all that comes
    before it in the text or in its record, and a file is read as `charlm prep` would read it. The
    interval is one of 95 %, by the bootstrap over records, or over blocks of 256 tokens.

    Bits per character and perplexity are those of what MODEL reads, with <unk> as a token like any
    other; the second perplexity is that of the known tokens. Bits per byte are those of the very
    bytes: unread characters, such as what <unk> stands for, or the carriage returns of records,
    cost 20.1 bits each.

    --protocol nanogpt adds the mean loss in nats per token that nanoGPT's estimate has as its
    expectation: windows of 256 tokens, each from a cold start with one token known. A window's
    first tokens are predicted from next to nothing, so this figure is higher.

    --parts adds the figures of the network alone and of the counts alone, their highest order, for
    a model made with `charlm train --ngram`.

    With --adapt (dynamic evaluation) and --cache (a neural cache) MODEL learns the text on its way,
    from record to record too; each token is still predicted before anything is learned from it.

    \b
    charlm eval run data
    charlm eval run data --adapt --cache 1000
    charlm eval run data --split test --protocol nanogpt
    charlm eval run other.txt --unknown skip
    charlm eval run data --parts
    cat new.txt | charlm eval run --json | jq .bits_per_char
    """
    from_stdin = str(text) == "-"
    if from_stdin and sys.stdin.isatty():
        raise click.UsageError("Name a CORPUS or a FILE, or pipe text into charlm eval.")
    of_corpus = not from_stdin and text.is_dir()
    if of_corpus and unknown is not None:
        raise click.UsageError("--unknown is for a file; a corpus has its tokens already.")
    if split is not None and not of_corpus:
        raise click.UsageError("--split is for a corpus; a file is read whole.")
    config = take(AdaptationConfig, knobs)
    if protocol is not None and not config.off:
        raise click.UsageError("--protocol reads windows apart, from which nothing is learned.")
    if parts and not config.off:
        raise click.UsageError("--parts reads without learning; leave --adapt and --cache out.")

    from charlm.measuring import evaluation

    loaded = evaluation.load(model)
    if of_corpus:
        split = split or "val"
        found = evaluation.of_corpus(loaded, text, split)
    else:
        found = evaluation.of_file(loaded, text, unknown)
    cold = protocol == "nanogpt"
    result = evaluation.evaluate(loaded, found, config, cold=cold, parts=parts, watch=reading)
    score = result.score
    about: dict[str, Any] = {"model": str(model), "text": "stdin" if from_stdin else str(text)}
    if of_corpus:
        about["split"] = split
    about |= _figures(result)
    about |= {
        "tokens": score.tokens,
        "chars": score.chars,
        "bytes": score.bytes,
        "unknown": score.unknown,
        "unread": score.unread,
    }
    if result.cold_nats is not None:
        about["nanogpt_nats_per_token"] = _number(result.cold_nats)
    by_part = {name: _figures(part) for name, part in result.parts.items()}
    if as_json:
        click.echo(json_line(about | ({"parts": by_part} if parts else {})))
        return
    width = max(map(len, about))
    for name, value in about.items():
        click.echo(f"{name:<{width}}  {figure(value)}")
    if parts:
        click.echo()
        _write_table({"mixture": about} | by_part)


def _figures(result: "Evaluation") -> dict[str, float | None]:
    """What a text costs, by name; None for what cannot be known, as the interval of one record."""
    score = result.score
    figures = {
        "bits_per_char": score.bits_per_char,
        "bits_per_char_low": result.low_nats_per_char / math.log(2),
        "bits_per_char_high": result.high_nats_per_char / math.log(2),
        "nats_per_char": score.nats_per_char,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "perplexity_excluding_unknown": score.perplexity_excluding_unknown,
    }
    return {name: _number(value) for name, value in figures.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write_table(rows: dict[str, dict[str, Any]]) -> None:
    """Writes a line of the main figures for each row, under their names."""
    width = max(map(len, rows))
    click.echo("  ".join([" " * width, *TABLE]))
    for name, row in rows.items():
        cells = (f"{figure(row[column]):>{len(column)}}" for column in TABLE)
        click.echo("  ".join([f"{name:<{width}}", *cells]))
