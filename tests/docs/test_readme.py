"""The README says what is so: its map, its cells, its commands, its example of a cell."""

import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from support.paths import ROOT

from charlm import cli
from charlm.cells import CELLS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name):
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)[1]


@pytest.mark.parametrize("name", ["example", "results", "map", "zoo"])
def test_the_readme_has_its_sections(name):
    assert len(section(name).split()) > 50


def test_the_map_names_every_room_and_nothing_else():
    named = set(re.findall(r"^charlm/(\w+)(?:\.py|/)\s", section("map"), re.MULTILINE))
    rooms = {
        path.stem
        for path in (ROOT / "charlm").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == rooms - {"__init__", "__main__"}


def test_the_table_of_cells_is_the_registry():
    named = re.findall(r"^\| `([a-z][\w-]*)` \|", README.split("### The cells")[1], re.MULTILINE)
    assert named[: len(CELLS)] == list(CELLS)


def test_the_zoos_table_has_every_cell():
    rows = re.findall(r"^([a-z][\w-]*)  +\d+x\d+ ", section("zoo"), re.MULTILINE)
    assert rows == list(CELLS)


def test_the_table_of_commands_has_every_command():
    table = README.split("## The commands")[1].split("###")[0]
    assert {name for name in cli.COMMANDS if f"`charlm {name}" in table} == set(cli.COMMANDS)


def shown_commands(text):
    """The lines of `text` that are charlm commands, each a list of words."""
    return [
        shlex.split(re.split(r"\s{3,}|[|&>]", line.strip().removeprefix("$ "))[0])
        for line in text.splitlines()
        if line.strip().removeprefix("$ ").startswith("charlm ")
    ]


CODE = "\n".join(re.findall(r"^```\n(.*?)^```", README, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("words", shown_commands(CODE), ids=" ".join)
def test_commands_in_the_readme_are_understood(words):
    parse(words)


def every_command(command=cli.cli, path=()):
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from every_command(command.get_command(ctx, name), (*path, name))


@pytest.mark.parametrize(
    "command", [c for _, c in every_command()], ids=[" ".join(p) or "-" for p, _ in every_command()]
)
def test_every_help_shows_examples_that_are_understood(command):
    examples = shown_commands(command.help.replace("\b", ""))
    assert examples
    for words in examples:
        parse(words)


def parse(words):
    """Parses a command line without running it; a wrong one is a usage error."""
    command, args = cli.cli, words[1:]
    while isinstance(command, click.Group):
        command, args = command.get_command(click.Context(command), args[0]), args[1:]
    command.make_context("charlm", args, resilient_parsing=False)


REGISTER = """\
from charlm import ops
from charlm.cells import CELLS
from charlm.cells.cell import Cell
from charlm.cells.initial import Constant, Uniform


{source}

CELLS["decay"] = Decay()
"""


@pytest.fixture(scope="module")
def with_decay(tmp_path_factory):
    """Runs a Python module in a process in which the README's cell is in the registry."""
    folder = tmp_path_factory.mktemp("decay")
    source = re.search(r"```python\n(class Decay.*?)```", README, re.DOTALL)[1]
    (folder / "decay_cell.py").write_text(REGISTER.format(source=source))
    (folder / "decayed.py").write_text(
        "import decay_cell, sys\nfrom charlm.cli import main\nsys.exit(main())\n"
    )

    def run(module, *args):
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, args)],
            capture_output=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(folder)},
            timeout=300,
        )

    return run


@pytest.mark.slow
def test_the_example_of_a_cell_is_a_cell(with_decay, charlm, corpus, tmp_path):
    """One file, one line: it is in the help, it trains and samples, and the zoo has it."""
    run = tmp_path / "run"
    assert b"decay" in with_decay("decayed", "train", "--help").stdout
    train = with_decay("decayed", "train", corpus, "-o", run, "--cell", "decay", "--steps", "5")
    assert train.returncode == 0, train.stderr.decode()
    assert with_decay("decayed", "sample", run, "--length", "20").returncode == 0
    zoo = ("zoo", corpus, "--cell", "decay", "--budget", "1s", "--parameters", "3000")
    assert b"decay" in with_decay("decayed", *zoo).stdout
    unknown = charlm("sample", run)
    assert unknown.returncode == 1
    assert b"no cell 'decay'" in unknown.stderr


@pytest.mark.slow
@pytest.mark.parametrize("laws", ["cells/test_cells.py", "network/test_network.py"])
def test_every_law_is_applied_to_the_example_of_a_cell(with_decay, laws):
    each = "decay or jordan"
    done = with_decay("pytest", "-p", "decay_cell", f"tests/{laws}", "-k", each, "-v", "-v")
    found = done.stdout.decode()
    assert done.returncode == 0, found
    passed = [line for line in found.splitlines() if "PASSED" in line]
    decay, jordan = (sum(name in line for line in passed) for name in ("decay", "jordan"))
    assert decay == jordan > 5  # as many as of a cell that is there
