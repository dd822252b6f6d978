"""charlm commands in pieces of shell, such as pages and helps show them."""

import re
import shlex

import click

from charlm import cli

ENDS = re.compile(r"[|&;<>()\n]+")


def commands(code):
    """The arguments of each `charlm ...` in a piece of shell, up to the end of that command."""
    code = code.replace("\\\n", " ")
    code = re.sub(r"(?m)(?:^|\s)# .*$|\s\d?>+&?\s?\S+", "", code)  # comments, redirections
    lexer = shlex.shlex(code, posix=True, punctuation_chars="|&;<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words = list(lexer)
    for at, word in enumerate(words):
        if word == "charlm":
            rest = words[at + 1 :]
            ends = (n for n, word in enumerate(rest) if ENDS.fullmatch(word))
            yield rest[: next(ends, len(rest))]


def understand(args):
    """Raises click's error where charlm has no such command or option; nothing is run."""
    command, rest = cli.cli, args
    while isinstance(command, click.Group) and not rest[0].startswith("-"):
        _, command, rest = command.resolve_command(click.Context(command), rest)
    command.make_parser(click.Context(command)).parse_args(list(rest))
