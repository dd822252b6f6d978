"""A conversation: type a beginning, get what follows, keep it or draw again."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from charlm.cli.prompts import tell_strange
from charlm.errors import DataError

if TYPE_CHECKING:
    from charlm.sampling.session import Session

HELP = "Type a beginning, or nothing to go on as it is; the end of input (Ctrl-D) ends it."
QUESTION = "keep (Enter), redo (r), drop (d), quit (q)? "


def converse(session: "Session", first: str) -> None:
    """Reads lines until the input ends; `first` is the first of them where it is not empty.

    What is kept is read on, so the next line goes on from it. Draw k of the conversation has the
    generator of (seed, k).
    """
    from charlm.cli.writers import Plain
    from charlm.sampling.generate import read
    from charlm.sampling.text import sample_texts

    click.echo(HELP, err=True)
    k = 0
    while True:
        typed, first = first or _ask("> "), ""
        if typed is None:
            return
        try:
            ids = session.opening(typed)
        except DataError as error:
            click.echo(f"charlm: {error}", err=True)
            continue
        tell_strange(session.prompts)
        before = read(session.engine, ids, session.place)
        shown = session.prompts.shown(typed)
        answer: str | None = "r"
        while answer == "r":
            row = session.row(k, ids, before)
            writer = Plain(lambda row, shown=shown: shown)
            sample_texts(
                session.engine,
                session.model.tokenizer,
                [row],
                session.manner,
                emit=writer.emit,
                ended=writer.ended,
            )
            k += 1
            answer = _ask(QUESTION)
        if answer is None or answer == "q":
            return
        if answer != "d":
            ids = row.history.ids
            # After the end of a record comes the beginning of another.
            over = session.model.tokenizer.boundary in ids[-1:]
            place = None if over else read(session.engine, ids, before)
            session = replace(session, place=place)


def _ask(question: str) -> str | None:
    """A line of the input without its end, None where there is none any more."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        import readline  # noqa: F401  input() then has line editing and a history

        try:
            return input(question)
        except EOFError:
            click.echo()
            return None
    click.echo(question, err=True, nl=False)
    line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None
