"""`charlm compress`: any bytes in, fewer bytes out, by what a model expects."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from charlm.cli.options import PATH, knob_options, take
from charlm.config import AdaptationConfig
from charlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from charlm.model_file import Model

STREAM = Path("-")


@click.command("compress", short_help="Compress a text with a model.")
@click.argument("model", type=PATH)
@click.argument("file", type=PATH, default="-")
@click.option("-o", "--output", type=PATH, default="-", help="The file to write; - for stdout.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing about the sizes.")
@knob_options(AdaptationConfig)
def command(model: Path, file: Path, output: Path, force: bool, quiet: bool, **knobs: Any) -> None:
    """Compress FILE (or stdin) with MODEL, a run directory or a model file.

    The better MODEL predicts the text, the smaller it gets. Any bytes come back exactly from
    `charlm decompress`, with the same model, on a machine that computes as this one does; keep the
    text where that is not certain. What MODEL has no token for takes a few bytes more.

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
    check_output(output, force)

    from charlm.compression import compress

    loaded = one_sided(model)
    with source(file) as stream, bar(size_bytes(file)) as shown:
        data, before = compress(loaded, stream, shown.update, config)
    with sink(output) as out:
        out.write(data)
    if not quiet:
        bits = f", {8 * len(data) / before:.3f} bits/byte" if before else ""
        click.echo(f"{before:,} bytes -> {len(data):,} bytes{bits}", err=True)


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


def check_output(path: Path, force: bool) -> None:
    """Raises DataError, before any work is done, where `path` cannot be written or must not be."""
    if path == STREAM:
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file; -o names the file to write.")
    if path.exists() and not force:
        raise DataError(f"{path} exists already; choose another name, or replace it with --force.")
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path.parent} is not a directory; make it, or choose another name.")


def size_bytes(path: Path) -> int | None:
    """The size of the file `path`; None for a stream."""
    return path.stat().st_size if path.is_file() else None


@contextmanager
def source(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, or of stdin for -."""
    if path == STREAM:
        yield sys.stdin.buffer
        return
    with path.open("rb") as stream:
        yield stream


@contextmanager
def sink(path: Path) -> Iterator[BinaryIO]:
    """What takes the result: stdout for -, else a file that is there whole at the end or not."""
    from charlm import atomic

    if path == STREAM:
        yield sys.stdout.buffer
        return
    path = path.absolute()
    with atomic.whole_file(path) as temporary, temporary.open("wb") as stream:
        yield stream


def bar(total_bytes: int | None) -> Any:
    """A progress bar on stderr, which disappears when that is not a terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total_bytes,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        leave=False,
        dynamic_ncols=True,
    )
