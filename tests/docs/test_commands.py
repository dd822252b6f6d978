"""Every charlm command on a page of the site or in the README is one that charlm understands.

Whether it also does what the page says is for the slow tests, which run the pages.
"""

import re
import shlex

import click
import docs_pages
import pytest
from support.paths import README, ROOT

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


def shell_of(page):
    """The shell of a page: its blocks of `sh`; of the README, the lines that have a command."""
    if page != README:
        return "\n".join(docs_pages.blocks(page))
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = (line.removeprefix("$ ") for line in "\n".join(blocks).splitlines())
    return "\n".join(line for line in lines if re.match(r"charlm \w|[^'\"]*[|&] charlm \w", line))


def test_commands_are_found():
    found = list(commands("cat a | charlm prep - -o d 2>&1 && charlm train d # charlm\ncharlm a"))
    assert found == [["prep", "-", "-o", "d"], ["train", "d"], ["a"]]
    assert len(list(commands(shell_of(README)))) > 20


@pytest.mark.parametrize(
    "page", [README, *docs_pages.pages()], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_commands_of_a_page_are_understood(page):
    for args in commands(shell_of(page)):
        command, rest = cli.cli, args
        try:
            while isinstance(command, click.Group) and not rest[0].startswith("-"):
                _, command, rest = command.resolve_command(click.Context(command), rest)
            command.make_parser(click.Context(command)).parse_args(list(rest))
        except click.ClickException as error:
            pytest.fail(f"charlm {shlex.join(args)}: {error.format_message()}")
