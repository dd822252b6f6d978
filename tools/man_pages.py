"""Writes the man pages in charlm/man, one for each command, from the commands' own help.

click-man is a tool of those who work on charlm: no part of the package may need it. `make man` runs
this, and tests/docs/test_man.py says when to.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.man import ManPage

from charlm import __version__, cli

PAGES = Path(__file__).parents[1] / "charlm" / "man"

# What groff would set as a typographer does, in a text that is to be copied.
LITERALLY = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
)


def contexts(
    command: click.Command = cli.cli, name: str = "charlm", parent: click.Context | None = None
) -> Iterator[click.Context]:
    """A context for `command` and for each command below it."""
    ctx = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield ctx
    if isinstance(command, click.Group):
        for below in command.list_commands(ctx):
            yield from contexts(command.get_command(ctx, below), below, ctx)


def page(ctx: click.Context) -> str:
    """The man page of a command, in roff; the same on any day and any machine."""
    command = ctx.command
    made = ManPage(ctx.command_path)
    made.version, made.date = __version__, ""
    made.short_help = literal(command.get_short_help_str(limit=80).rstrip("."))
    made.synopsis = " ".join(command.collect_usage_pieces(ctx))
    made.description = "\n\n".join(map(roff, paragraphs(command)))
    options = (one for one in command.get_params(ctx) if isinstance(one, click.Option))
    records = (option.get_help_record(ctx) for option in options)
    made.options = [(names, literal(text)) for names, text in filter(None, records)]
    if isinstance(command, click.Group):
        below = ((name, command.get_command(ctx, name)) for name in command.list_commands(ctx))
        made.commands = [(name, literal(one.get_short_help_str(limit=80))) for name, one in below]
    # click-man names the page of a command below as if the path to it had no space.
    path, dashed = f"fB{ctx.command_path}-", rf"fB{ctx.command_path.replace(' ', '-')}-"
    return str(made).replace(path, dashed)


def paragraphs(command: click.Command) -> list[str]:
    """The paragraphs of a command's help."""
    return inspect.cleandoc(command.help).split("\n\n")


def roff(text: str) -> str:
    r"""A paragraph of help in roff; after \b, its lines are kept as they are."""
    kept, text = "\b" in text, text.replace("\b", "").strip("\n")
    return f".RS 4\n.nf\n{literal(text)}\n.fi\n.RE" if kept else literal(text)


def literal(text: str) -> str:
    """`text` in roff, to be set as it is."""
    text = re.sub(
        r"[^\x00-\x7f]", lambda match: rf"\[u{ord(match[0]):04X}]", text.translate(LITERALLY)
    )
    return re.sub(r"^\.", r"\&.", text, flags=re.MULTILINE)


def pages() -> dict[str, str]:
    """Every man page by the name of its file."""
    return {f"{ctx.command_path.replace(' ', '-')}.1": page(ctx) for ctx in contexts()}


def write(folder: Path) -> None:
    """Makes `folder` hold the man pages, and no others."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.1"):
        old.unlink()
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    there = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    write(there)
    print(f"{len(pages())} man pages in {there}", file=sys.stderr)
