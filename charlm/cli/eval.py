"""`charlm eval`: how well a model predicts a split of a corpus, or a text."""

import math
import sys
from pathlib import Path
from typing import Any

import click

from charlm.cli.bars import Bar
from charlm.cli.options import PATH, knob_options, take
from charlm.cli.shading import figure, json_line
from charlm.config import UNKNOWN_POLICIES, AdaptationConfig


@click.command("eval", short_help="Measure how well a model predicts a text.")
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
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@knob_options(AdaptationConfig)
def command(
    model: Path,
    text: Path,
    split: str | None,
    unknown: str | None,
    protocol: str | None,
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

    With --adapt (dynamic evaluation) and --cache (a neural cache) MODEL learns the text on its way,
    from record to record too; each token is still predicted before anything is learned from it.

    \b
    charlm eval run data
    charlm eval run data --adapt --cache 1000
    charlm eval run data --split test --protocol nanogpt
    charlm eval run other.txt --unknown skip
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

    from charlm.measuring import evaluation

    loaded = evaluation.load(model)
    if of_corpus:
        split = split or "val"
        found = evaluation.of_corpus(loaded, text, split)
    else:
        found = evaluation.of_file(loaded, text, unknown)
    cold = protocol == "nanogpt"
    with Bar(evaluation.tokens_read(loaded, found, cold=cold), "tokens") as bar:
        result = evaluation.evaluate(loaded, found, config, cold=cold, advance=bar.update)
    score = result.score
    about: dict[str, Any] = {"model": str(model), "text": "stdin" if from_stdin else str(text)}
    if of_corpus:
        about["split"] = split
    about |= {
        "bits_per_char": score.bits_per_char,
        "bits_per_char_low": result.low_nats_per_char / math.log(2),
        "bits_per_char_high": result.high_nats_per_char / math.log(2),
        "nats_per_char": score.nats_per_char,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "perplexity_excluding_unknown": score.perplexity_excluding_unknown,
        "tokens": score.tokens,
        "chars": score.chars,
        "bytes": score.bytes,
        "unknown": score.unknown,
        "unread": score.unread,
    }
    if result.cold_nats is not None:
        about["nanogpt_nats_per_token"] = result.cold_nats
    # What cannot be told, such as the interval of one record, is no number.
    about = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in about.items()
    }
    if as_json:
        click.echo(json_line(about))
        return
    width = max(map(len, about))
    for name, value in about.items():
        click.echo(f"{name:<{width}}  {figure(value)}")
