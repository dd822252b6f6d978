"""The man pages say what `--help` says, and groff reads them."""

import shutil
import subprocess
import sys

import click
import man_pages
import pytest

from charlm.cli import COMMANDS

CONTEXTS = {ctx.command_path: ctx for ctx in man_pages.contexts()}
needs_groff = pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")


@pytest.fixture(scope="module", params=CONTEXTS)
def ctx(request):
    return CONTEXTS[request.param]


@pytest.fixture(scope="module")
def shown(ctx):
    """The page as `man` shows it, on a very wide terminal."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-rLL=4000n", "-rHY=0", "-P-cbou"],
        input=man_pages.page(ctx),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def words(text):
    return " ".join(text.split())


def test_the_pages_in_the_repository_are_those_of_today(tmp_path):
    # In a process of its own, as click keeps parts of a help that another test asked for otherwise.
    subprocess.run([sys.executable, man_pages.__file__, tmp_path], check=True, capture_output=True)
    there, now = (
        {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.1")}
        for folder in (man_pages.PAGES, tmp_path)
    )
    assert there == now, "the help has changed since: run `make man`"


def test_every_command_has_a_page():
    assert {f"charlm-{name}.1" for name in COMMANDS} | {"charlm.1"} <= set(man_pages.pages())


@needs_groff
def test_a_page_shows_the_examples_as_they_are(ctx, shown):
    for block in man_pages.paragraphs(ctx.command):
        if "\b" in block:
            lines = block.replace("\b", "").strip().splitlines()
            assert "\n".join(f"{' ' * 11}{line}".rstrip() for line in lines) in shown


@needs_groff
def test_a_page_has_the_prose_and_every_option(ctx, shown):
    shown = words(shown)
    for block in man_pages.paragraphs(ctx.command):
        if "\b" not in block:
            assert words(block) in shown
    for option in ctx.command.get_params(ctx):
        if isinstance(option, click.Option):
            names, text = option.get_help_record(ctx)
            assert words(f"{names} {text}") in shown


@needs_groff
def test_a_group_names_the_pages_of_its_commands(ctx, shown):
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            page = f"{ctx.command_path.replace(' ', '-')}-{name}"
            assert f"{page}(1)" in shown
            assert f"{page}.1" in man_pages.pages()


@pytest.mark.parametrize(
    "text", [".hidden", "'quoted'", r"C:\new", "--a-b", "`x` ~y ^z", "one\n.two", '"all"', "\\fB"]
)
@needs_groff
def test_any_text_is_shown_as_it_is(text):
    source = f".TH A 1\n.nf\n{man_pages.literal(text)}\n"
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tascii", "-P-cbou"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [line.strip() for line in done.stdout.splitlines()]
    assert all(line in shown for line in text.splitlines())
