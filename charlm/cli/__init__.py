"""The command line: words, streams and exit codes; one file a command.

stdout carries the result only; everything else goes to stderr. Exit status: 0 done (also when a
reader such as `head` has closed the pipe), 1 an error the user can put right, 2 wrong usage,
130 interrupted. A bug shows its traceback. Nothing here imports numpy or torch before a command
runs.
"""

import importlib
import os
import sys

import click

from charlm import __version__
from charlm.errors import CharlmError

COMMANDS = ("corpus", "prep", "train", "sample", "info")


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

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; a reader that has gone away ends it quietly."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has no reader; without this, the exit would fail on it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        return result


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="charlm")
def cli() -> None:
    """Turn text into a small recurrent language model and use it as a Unix filter.

    \b
    cat books/*.txt | charlm prep - -o data
    charlm train data -o run
    charlm sample run --temperature 0.8 | head
    """


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Text is UTF-8 and newlines are newlines, whatever the terminal's habits.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    try:
        return cli.main(argv, prog_name="charlm", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except CharlmError as error:
        click.echo(f"charlm: {error}", err=True)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"charlm: {where}{error.strerror or error}", err=True)
    return 1
