"""`charlm compress`: any bytes in, fewer bytes out, by what a model expects."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cli.bars import Bar
from charlm.cli.files import STREAM, check_output, sink, size_bytes, source
from charlm.cli.options import PATH, BareOptionCommand, knob_options, take
from charlm.config import AdaptationConfig
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.model_file import Model


@click.command("compress", cls=BareOptionCommand, short_help="Compress a text with a model.")
@click.argument("model", type=PATH)
@click.argument("file", type=PATH, default="-")
@click.option(
    "-o", "--output", "--out", type=PATH, default="-", help="The file to write; - for stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing about the sizes.")
@knob_options(AdaptationConfig)
def command(model: Path, file: Path, output: Path, force: bool, quiet: bool, **knobs: Any) -> None:
    """Compress FILE (or stdin) with MODEL, a run directory or a model file.

    The better MODEL predicts the text, the smaller it gets. Any bytes come back exactly from
    `charlm decompress`, with the same model, on a machine that computes as this one does; keep the
    text where that is not certain. What MODEL can't make smaller is stored as it is, in at most 64
    bytes more.

    With --adapt or --cache MODEL learns the text on its way, and the file gets smaller still. It
    takes longer; `charlm decompress` finds in the file how it was made, and takes as long.

    \b
    charlm compress run text.txt -o text.clm
    charlm compress run text.txt -o text.clm --adapt --force
    charlm decompress run text.clm -o text.txt
    cat chapters/*.txt | charlm compress run > book.clm
    """
    if output == STREAM and sys.stdout.isatty():
        raise click.UsageError("Compressed data is not for a terminal; name a file with -o.")
    config = take(AdaptationConfig, knobs)
    check_output(output, force, (model, file))

    from charlm.compression import compress

    loaded = one_sided(model)
    with source(file) as stream, Bar(size_bytes([file])) as bar:
        data, before = compress(loaded, stream, bar.update, config)
    with sink(output) as out:
        out.write(data)
    if not quiet:
        bits = f", {8 * len(data) / before:.3f} bits/byte" if before else ""
        click.echo(f"{counted(before, 'byte')} -> {counted(len(data), 'byte')}{bits}", err=True)


def one_sided(path: Path) -> "Model":
    """The model in `path`. Raises ConfigError where it does not read from left to right."""
    from charlm import model_file

    model = model_file.load(path)
    if model.network.config.bidirectional:
        raise ConfigError(
            f"{path} is bidirectional: it needs the text on both sides of a gap, and can't predict"
            " a text from left to right. Train without --bidirectional to compress."
        )
    return model
