"""`charlm prep`: text in, a corpus directory out."""

import sys
from pathlib import Path
from typing import Any

import click

from charlm.cli.bars import Bar, say_waiting
from charlm.cli.files import STREAM, size_bytes
from charlm.cli.options import PATH, knob_options
from charlm.cli.shading import harmless, json_line
from charlm.config import PrepConfig
from charlm.errors import DataError
from charlm.failures import named

MOST_JOBS = 1024  # more processes than any machine has cores
# What a tokenizer that is there already has decided.
DECIDED = ("level", "words", "vocab_size", "min_count", "normalize")


@click.command("prep", short_help="Turn text into a corpus.")
@click.argument("files", type=PATH, nargs=-1, metavar="[FILE]...")
@click.option(
    "-o", "--out", "--output", type=PATH, required=True, help="The corpus directory to make."
)
@click.option(
    "--files-from",
    type=PATH,
    metavar="FILE",
    help="Read the files too that FILE (- is stdin) names, one a line, or with a NUL after each.",
)
@knob_options(PrepConfig)
@click.option(
    "--tokenizer",
    "tokenizer_file",
    type=PATH,
    metavar="FILE",
    help="Use this tokenizer.json instead of making one.",
)
@click.option(
    "--index",
    is_flag=True,
    help="Index the training text too, for --novel of `charlm sample`. Takes about 5 bytes of disk"
    " for each byte of text (9 from 2 GB on), and as much memory while it is made.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    metavar="N",
    help="Processes that work on the text; the corpus is the same whatever N is (default: one, or"
    " from 64 MB on one for each core).",
)
@click.option("--force", is_flag=True, help="Replace an existing corpus.")
@click.option("--json", "as_json", is_flag=True, help="Print corpus.json on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    out: Path,
    files_from: Path | None,
    tokenizer_file: Path | None,
    index: bool,
    jobs: int | None,
    force: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Turn text into a corpus, the directory that `charlm train` reads.

    FILE is text in UTF-8, or gzip of it; - or nothing is stdin. Several are read one after
    another, and of a directory all files in it and its folders, by name. What is odd about the text
    is reported on stderr.

    Killed in the middle, the same command goes on from what is done, which lies in .DIR.prep beside
    the corpus DIR until that is whole. stdin has to come again from its beginning.

    \b
    charlm prep book.txt -o data
    cat books/*.txt | charlm prep -o data --level word
    charlm prep names.txt -o names --records line
    find books -name '*.txt' | sort | charlm prep --files-from - -o data
    charlm prep new.txt -o new --tokenizer data/tokenizer.json
    charlm prep book.txt -o data --index
    """
    if not files and files_from is None and sys.stdin.isatty():
        raise click.UsageError("Name a FILE, or pipe text into charlm prep.")
    if [*files, files_from].count(STREAM) > 1:
        raise click.UsageError("stdin (-) can be read only once.")
    if str(out) == "-":
        raise click.UsageError("-o names the directory to make; a corpus cannot go to stdout.")
    if STREAM in (*files, files_from):
        say_waiting()
    PrepConfig(**values)  # the knobs are checked before anything is loaded
    if tokenizer_file is not None:
        for name in DECIDED:
            if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} cannot go with --tokenizer, which decides it.")

    from charlm.library.making import prepare
    from charlm.tokenizer import Tokenizer

    tokenizer = None if tokenizer_file is None else Tokenizer.from_file(tokenizer_file)
    sources = _sources(files, files_from)
    with Bar(size_bytes(sources), after_s=0) as bar:
        corpus = prepare(
            sources,
            out,
            index=index,
            tokenizer=tokenizer,
            jobs=jobs,
            force=force,
            say=lambda line: bar.say(harmless(line)),
            progress=bar.update,
            **values,
        )
    _summarise(corpus)
    if as_json:
        click.echo(json_line(corpus.about))


def _sources(files: tuple[Path, ...], files_from: Path | None) -> list[Path]:
    """What to read. Raises DataError for a list or a directory that names nothing."""
    from charlm.preparation.sources import files_of, listed

    if files_from is None:
        return files_of(files or [STREAM])
    with named(str(files_from)):
        data = sys.stdin.buffer.read() if files_from == STREAM else files_from.read_bytes()
    names = listed(data)
    if not names:
        raise DataError(f"{'stdin' if files_from == STREAM else files_from} names no file.")
    return files_of([*files, *names])


def _summarise(corpus: Any) -> None:
    sizes = {split: corpus.size(split) for split in corpus.splits}
    kind = {"char": "symbols", "byte": "symbols", "word": "words", "bpe": "tokens"}
    unit = "bytes" if corpus.tokenizer.level == "byte" else "chars"
    parts = " ".join(f"{split} {getattr(size, unit):,}" for split, size in sizes.items())
    click.echo(
        f"corpus: {sum(getattr(size, unit) for size in sizes.values()):,}"
        f" {'bytes' if unit == 'bytes' else 'characters'},"
        f" {corpus.tokenizer.vocabulary:,} {kind[corpus.tokenizer.level]};"
        f" {parts} -> {corpus.path}",
        err=True,
    )
