"""`charlm decompress`: what `charlm compress` made in, the bytes that it was made from out."""

from pathlib import Path

import click

from charlm.cli.bars import Bar
from charlm.cli.compress import one_sided
from charlm.cli.files import STREAM, check_output, sink, source
from charlm.cli.options import PATH


@click.command("decompress", short_help="Bring back what compress made small.")
@click.argument("model", type=PATH)
@click.argument("file", type=PATH, default="-")
@click.option(
    "-o", "--output", "--out", type=PATH, default="-", help="The file to write; - for stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(model: Path, file: Path, output: Path, force: bool) -> None:
    """Bring back what `charlm compress` made of a text, from FILE (or stdin).

    MODEL is the model that compressed it, and the bytes are those that were compressed or an error
    says so: a checksum is compared at the end. With -o nothing is written unless all is right.

    \b
    charlm decompress run text.clm -o text.txt
    charlm decompress run text.clm | less
    """
    check_output(output, force, (model, file))

    from charlm.compression import decompress

    loaded = one_sided(model)
    name = "stdin" if file == STREAM else str(file)
    with source(file) as stream:
        pieces = decompress(loaded, stream, name)
        with sink(output) as out, Bar(None) as bar:
            for piece in pieces:
                out.write(piece)
                out.flush()
                bar.update(len(piece))
