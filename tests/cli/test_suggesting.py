"""Words that people try: what is taken as meant, and what says how it is written here."""

import click
import pytest

from charlm.cli import COMMANDS, cli
from charlm.cli.suggesting import MEANT

ALL = {name: cli.get_command(None, name) for name in COMMANDS}


def options(command):
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def test_what_is_meant_is_an_option_where_what_is_tried_is_none():
    known = set().union(*map(options, ALL.values()))
    for tried, meant in MEANT.items():
        names = {one.split()[0] for one in meant}
        assert names <= known
        assert not [name for name, one in ALL.items() if {tried} | names <= options(one)]


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["sample", "run", "--temp", "1"], "--temperature"),
        (["sample", "run", "--gpu"], "--device cuda"),
        (["train", "data", "-o", "run", "--learning-rate", "1"], "--lr"),
        (["train", "data", "-o", "run", "--epoch=3"], "--epochs"),
        (["train", "data", "-o", "run", "--hidden-size", "3"], "--width"),
        (["plot", "run", "--colour", "never"], "--color"),
    ],
)
def test_an_option_of_another_name_is_told_by_what_it_means(charlm, args, meant):
    done = charlm(*args)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == (
        f"Error: No such option '{args[-2 if meant != '--epochs' else -1].split('=')[0]}'."
        f" Did you mean {meant}?"
        if "--gpu" not in args
        else "Error: No such option '--gpu'. Did you mean --device cuda?"
    )


@pytest.mark.parametrize(
    ("args", "instead"),
    [
        (["sample", "RUN", "To be"], "--prompt 'To be'"),
        (["next", "RUN", "To", "be"], "--prompt 'To be'"),
        (["eval", "RUN", "one", "two"], "`cat` joins several"),
        (["train", "RUN", "-o", "new"], "`charlm train --resume RUN` goes on with it"),
        (["train", "RUN", "-o", "new"], "`charlm train TEXT --init RUN -o new`"),
        (["train", "RUN/model.safetensors", "-o", "new"], "--init RUN/model.safetensors -o new`"),
        (["train", "a b.txt", "c.txt", "-o", "new"], "`charlm prep 'a b.txt' c.txt -o DATA`"),
    ],
)
def test_an_argument_too_many_is_told_where_it_goes(charlm, model, tmp_path, args, instead):
    for name in ("a b.txt", "c.txt"):
        (tmp_path / name).write_text("a text\n" * 9)
    done = charlm(*(arg.replace("RUN", str(model)) for arg in args), cwd=tmp_path)
    assert done.returncode == 2
    assert instead.replace("RUN", str(model)) in done.stderr.decode().splitlines()[-1]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [*COMMANDS, "corpus cat"])
def test_help_in_front_is_help_behind(charlm, name):
    before, behind = charlm("help", *name.split()), charlm(*name.split(), "--help")
    assert before.returncode == behind.returncode == 0
    assert before.stdout == behind.stdout != b""


def test_help_alone_is_the_help_of_all(charlm):
    assert charlm("help").stdout == charlm("--help").stdout
    assert charlm("help", "smaple").returncode == 2


def test_a_capital_v_is_the_version(charlm):
    assert charlm("-V").stdout == charlm("--version").stdout != b""


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_written_has_both_names(name):
    written = [param for param in ALL[name].params if "-o" in param.opts]
    assert all({"--out", "--output"} <= set(param.opts) for param in written)
    assert isinstance(ALL[name], click.Command)
