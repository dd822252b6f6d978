"""Every charlm command on a page of the site or in the README is one that charlm understands.

Whether it also does what the page says is for the slow tests, which run the pages.
"""

import re
import shlex

import click
import docs_pages
import pytest
from support.paths import README, ROOT
from support.shell import commands, understand


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
        try:
            understand(args)
        except click.ClickException as error:
            pytest.fail(f"charlm {shlex.join(args)}: {error.format_message()}")
