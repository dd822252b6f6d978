"""The command line: words, streams and exit codes; one file a command.

stdout carries the result only; everything else goes to stderr. Exit status: 0 done (also when a
reader such as `head` has closed the pipe), 1 an error the user can put right, 2 wrong usage,
128 and the signal's number where one ended it. A bug shows its traceback. Nothing here imports
numpy or torch before a command runs.
"""

import difflib
import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from charlm import __version__, failures, signals, streams
from charlm.cli.shading import harmless
from charlm.cli.suggesting import suggest
from charlm.errors import CharlmError
from charlm.packages import missing_packages_named
from charlm.process import tune_process

COMMANDS = (
    "corpus",
    "prep",
    "train",
    "sample",
    "fill",
    "score",
    "next",
    "eval",
    "compare",
    "compress",
    "decompress",
    "info",
    "inspect",
    "export",
    "plot",
    "report",
    "serve",
    "zoo",
)


class Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command `name`, or None."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"charlm.cli.{name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; one that is misspelled is told what is near it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            error.message += f" Did you mean {near[0]}?" if near else ""
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads what stands before the command's own words; `help` in front is `--help` behind."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def make_context(self, *args: object, **kwargs: object) -> click.Context:
        """Reads the command line, which is where help is shown."""
        with _ended_quietly():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        with _ended_quietly():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                suggest(error)
                raise


@contextmanager
def _ended_quietly() -> Iterator[None]:
    """Ends the program without a word at a signal, and where the reader of stdout has gone away."""
    try:
        yield
    except BrokenPipeError as error:
        if error.filename != streams.STDOUT:
            # click would end the program without a word.
            raise CharlmError(f"{error.filename or 'a pipe'}: its reader has gone away.") from error
        streams.give_up_stdout()
        raise click.exceptions.Exit(0) from None
    except KeyboardInterrupt as interrupt:
        if sys.stderr.isatty():
            click.echo(err=True)  # below the terminal's ^C
        raise click.exceptions.Exit(signals.status_of(interrupt)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="charlm")
def cli() -> None:
    """Turn text into a small recurrent language model and use it as a Unix filter.

    \b
    cat books/*.txt | charlm prep - -o data
    charlm train data -o run
    charlm sample run --temperature 0.8 | head
    """


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    tune_process()
    try:
        with signals.ending():
            status = _status(argv)
    except Exception:
        _leave(1)
        raise
    _leave(status)
    return status


def _leave(status: int) -> None:
    """Ends a process that trained together with others, which does not end as others do."""
    if ranks := sys.modules.get("charlm.training.ranks"):
        ranks.leave(status)


def _status(argv: list[str] | None) -> int:
    streams.prepare()
    status = _run(argv)
    try:
        streams.finish()
    except BrokenPipeError:
        streams.give_up_stdout()
    except OSError as error:
        status = status or _tell(error)
    except KeyboardInterrupt as interrupt:
        streams.give_up_stdout()
        status = status or signals.status_of(interrupt)
    return status


def _run(argv: list[str] | None) -> int:
    try:
        with missing_packages_named():
            return cli.main(argv, prog_name="charlm", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        return signals.status_of(interrupt)
    except click.Abort:
        return 128 + signal.SIGINT
    except Exception as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    """Says what failed, and returns the status for it; raises a bug again."""
    said = failures.line(error)
    if said is None:
        raise error
    # A message may quote a file that somebody made to upset a terminal.
    click.echo(f"charlm: {harmless(said)}", err=True)
    if getattr(error, "filename", None) == streams.STDOUT:
        streams.give_up_stdout()
    return 1
