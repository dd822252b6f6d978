"""The site: its commands run, its outputs have the columns they have today, and it builds."""

import html
import os
import re
import shlex
import shutil
import subprocess
import sys

import click
import docs_pages
import man_pages
import pytest
from support.commands import forked

import charlm
from charlm.cells import CELLS

PAGES = docs_pages.pages()
FRONT, FIRST, *OTHERS = [page for page in PAGES if docs_pages.blocks(page)]

# A charlm that trains a small network for a moment, whatever a page asks for.
QUICK = """\
#!/bin/sh
case "$*" in
*"--cell none"*) ;;
train*) set -- "$@" --steps 10 --width 16 --batch 4 --context 16 ;;
esac
exec {forked} "$@"
"""


def name_of(page):
    return str(page.relative_to(docs_pages.DOCS))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH on which the quick charlm comes first."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "charlm").write_text(QUICK.format(forked=shlex.join(forked())))
    (programs / "charlm").chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def run_page(page, folder, path):
    """Runs the blocks of a page in order, and holds what they say to what the page shows."""
    for found in docs_pages.BLOCK.finditer(page.read_text(encoding="utf-8")):
        done = docs_pages.run(found["code"], folder, path)
        assert done.returncode == 0, f"{found['code']}\n{done.stdout}"
        assert "Traceback" not in done.stdout
        if found["shown"]:
            block = docs_pages.shown(done.stdout)
            assert block.splitlines()[1] == found["shown"].splitlines()[1]
            assert tabs(block) == tabs(found["shown"]), f"{found['code']}\n{done.stdout}"


def tabs(block):
    """How many tabs there are in a line of figures; a bar at its end may be empty."""
    return max(line.count("\t") for line in block.splitlines())


@pytest.fixture(scope="module")
def folder(path, tmp_path_factory):
    """What the first page of the tutorial leaves behind, as its reader has it."""
    folder = tmp_path_factory.mktemp("desk")
    run_page(FIRST, folder, path)
    return folder


@pytest.mark.slow
def test_the_tutorial_begins(folder):
    assert {"book.txt", "data", "run", "place"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_front_page_runs(folder, path, tmp_path):
    assert FRONT == docs_pages.FRONT
    (tmp_path / "books").mkdir()
    shutil.copy(folder / "book.txt", tmp_path / "books")
    run_page(FRONT, tmp_path, path)


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS, ids=name_of)
def test_the_commands_of_a_page_run(page, folder, path, tmp_path):
    run_page(page, shutil.copytree(folder, tmp_path / "desk"), path)


def test_every_page_is_in_the_navigation():
    assert set(PAGES) == set(docs_pages.DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_was_seen(page):
    """No block of an output is empty, and none is of a kind that no test runs."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) <= {"sh", "text", "python"}
    outputs = [found["shown"] for found in docs_pages.BLOCK.finditer(text) if found["shown"]]
    assert all(len(output.strip().splitlines()) > 2 for output in outputs)
    assert len(re.findall("^(?:```text|<pre )", text, re.MULTILINE)) == len(outputs)


def test_colours_are_shown_as_colours():
    painted = "a\x1b[30;48;5;203m<\x1b[0mc\n\nd\n"
    pre = docs_pages.shown(painted)
    assert '<b style="background:#ff5f5f">&lt;</b>c' in pre
    assert "\n\n" not in pre.strip()
    assert docs_pages.shown("plain\n") == "\n```text\nplain\n```\n"
    (found,) = docs_pages.BLOCK.finditer(f"```sh\nls\n```\n{pre}")
    assert found["shown"] == pre


@pytest.mark.slow
def test_the_example_of_the_library_runs(folder):
    page = (docs_pages.DOCS / "reference" / "library.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it; a warning would end that."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=docs_pages.ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(docs_pages.ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def words(page):
    """The text of a page of the site, its runs of white space as one space each."""
    text = re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8"))
    return " ".join(html.unescape(text).split())


@pytest.mark.slow
def test_the_reference_has_every_command_and_option(site):
    shown = words(site / "reference" / "commands" / "index.html")
    for ctx in man_pages.contexts():
        assert f"{ctx.command_path} {' '.join(ctx.command.collect_usage_pieces(ctx))}" in shown
        for block in man_pages.paragraphs(ctx.command):
            assert " ".join(block.replace("\b", "").replace("`", "").split()) in shown
        for option in ctx.command.get_params(ctx):
            if isinstance(option, click.Option):
                names, text = option.get_help_record(ctx)
                assert names in shown
                assert " ".join(text.replace("`", "").split()) in shown


@pytest.mark.slow
def test_the_reference_has_every_cell_and_the_library(site):
    page = (site / "reference" / "cells" / "index.html").read_text(encoding="utf-8")
    assert all(f"<code>{cell}</code>" in page for cell in CELLS)
    shown = words(site / "reference" / "library" / "index.html")
    for name, method in vars(charlm.Model).items():
        if not name.startswith("_"):
            assert f"def {name}(" in shown
            first = method.__doc__.split(".")[0].replace("`", "")
            assert " ".join(first.split()) in shown
    assert all(name in shown for name in charlm.__all__)


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]*\ssrc=\"(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]*stylesheet[^>]*href=\"(?:https?:)?//", text), page
