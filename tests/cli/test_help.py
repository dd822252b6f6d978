"""What `--help` says is so: each option is explained, each example runs; shells can complete."""

import os
import re
import shlex
import shutil
import string
import subprocess
import sys

import click
import man_pages
import pytest
from support.commands import forked
from support.params import quick
from support.paths import README
from support.shell import commands, understand

from charlm import corpora
from charlm.cli import COMMANDS

CONTEXTS = {ctx.command_path: ctx for ctx in man_pages.contexts()}

# A charlm that trains, or serves, for a moment only, whatever time an example gives it.
QUICK = """\
import os
import subprocess
import sys

FORKED = {forked}
args = sys.argv[1:]
if args[:1] == ["serve"] and "--help" not in args:
    process = subprocess.Popen([*FORKED, *args, "--port", "0"], stderr=subprocess.PIPE)
    process.stderr.readline()
    process.terminate()
    sys.exit(process.wait())
if args[:1] in (["train"], ["zoo"]):
    for option in ("--budget", "--steps", "--epochs"):
        if option in args:
            place = args.index(option)
            del args[place : place + 2]
if args[:1] == ["train"]:
    small = ["--width", "16", "--batch", "4", "--context", "16"]
    args += ["--steps", "4"] if "--resume" in args else ["--steps", "2", *small]
if args[:1] == ["zoo"]:
    args += ["--budget", "0.3s"]
    for option, value in (("--cell", "lstm"), ("--parameters", "3000")):
        if option not in args:
            args += [option, value]
os.execv(FORKED[0], [*FORKED, *args])
"""

# Two tools that do not end, or not here: a file that nothing is added to, and another machine.
STAND_INS = {
    "tail": f'[ "$1" = -f ] && shift && exec cat "$@"\nexec {shutil.which("tail")} "$@"',
    "ssh": 'shift\nexec "$@"',
}
DOWNLOADED = {name for name, entry in corpora.entries().items() if entry.kind == "downloaded"}
NOT_EVERYWHERE = {"column", "jq", "less"}  # tools of the examples that a machine may lack

# What the examples read.
LONG = ("book.txt", "books/one.txt", "books/two.txt")
SHORT = (
    "text.txt", "new.txt", "test.txt", "draft.txt", "other.txt", "corpus.txt", "log",
    "chapters/1.txt", "chapters/2.txt",
)  # fmt: skip
MADE = (
    "charlm prep book.txt -o data",
    "charlm train data -o run --cell gru",
    "charlm compress run text.txt -o text.clm",
)
MODELS = ("gru", "lstm", "chars", "words", "pairs", "runs/a", "runs/b")


def examples(command):
    """The lines of a command's help that are to be typed, without the remarks beside them."""
    lines = "\n".join(part for part in man_pages.paragraphs(command) if "\b" in part).splitlines()
    typed = [re.split(r"\s{3,}", line.strip("\b").strip())[0] for line in lines]
    return [line for line in typed if re.search(r"(^|[|;&(]\s*)charlm ", line)]


def hindrance(line):
    """Why this machine can't run an example, or None."""
    words = set(shlex.split(line))
    if words & DOWNLOADED:
        return "it needs a network: the corpus is downloaded"
    missing = [tool for tool in words & NOT_EVERYWHERE if shutil.which(tool) is None]
    return f"it needs {missing[0]}" if missing else None


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs a line of bash in a folder, with a quick charlm first in the path."""
    programs = tmp_path_factory.mktemp("bin")
    scripts = {name: f"#!/bin/sh\n{script}\n" for name, script in STAND_INS.items()}
    quick = QUICK.replace("{forked}", repr(forked()))
    for name, script in {**scripts, "charlm": f"#!{sys.executable}\n{quick}"}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(line, folder, **more):
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{line}"],
            cwd=folder,
            env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="module")
def desk(shell, tmp_path_factory):
    """A folder with everything that the examples read, under the names that they use."""
    folder = tmp_path_factory.mktemp("desk")
    prose = README.read_text(encoding="utf-8")
    symbols = f"{string.ascii_letters}{string.digits}{string.punctuation}\n"
    for name in ("books", "chapters"):
        (folder / name).mkdir()
    for name in LONG:
        (folder / name).write_text(f"{prose}\n{symbols}", encoding="utf-8")
    for name in SHORT:
        (folder / name).write_text(prose[:1000], encoding="utf-8")
    (folder / "names.txt").write_text("anna\nbertha\ncarl\ndora\n" * 50)
    (folder / "letter.txt").write_text("Dear ___,\nto be, or ___ to be?\n")
    for line in MADE:
        done = shell(line, folder)
        assert done.returncode == 0, done.stderr.decode()
    for name in MODELS:
        shutil.copytree(folder / "run", folder / name)
    return folder


@pytest.mark.parametrize("path", CONTEXTS)
def test_help_is_given_with_an_example(charlm, path):
    words = path.split()[1:]
    done = charlm(*words, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"Usage: {path}" in done.stdout.decode()
    lines = examples(CONTEXTS[path].command)
    assert lines
    assert all(f"  {line}" in done.stdout.decode() for line in lines)


@pytest.mark.parametrize("path", CONTEXTS)
def test_every_option_is_explained(path):
    for option in CONTEXTS[path].command.params:
        if isinstance(option, click.Option):
            assert (option.help or "").strip().endswith((".", ")")), option.name


def test_the_examples_are_understood():
    for context in CONTEXTS.values():
        for line in examples(context.command):
            for args in commands(line):
                understand(args)


@pytest.mark.parametrize("path", quick(["charlm", "charlm prep", "charlm score"], CONTEXTS))
def test_the_examples_run(desk, shell, tmp_path, path):
    """One after another in a folder of their own; what a line makes is not there before it."""
    folder = shutil.copytree(desk, tmp_path / "desk", symlinks=True)
    left_out = []
    for line in examples(CONTEXTS[path].command):
        if reason := hindrance(line):
            left_out.append(f"{line}: {reason}")
            continue
        for made in re.findall(r"(?<!\S)(?:-o |--out |> ?)([\w./-]+)", line):
            shutil.rmtree(folder / made, ignore_errors=True)
            (folder / made).unlink(missing_ok=True)
        done = shell(line, folder)
        if done.returncode:
            there = sorted(path.name for path in folder.iterdir())
            pytest.fail(
                f"{line}\nends with status {done.returncode}:\n{done.stderr.decode()}\n"
                f"There was: {', '.join(there)}. What an example reads is to be in `desk`."
            )
        assert b"Traceback" not in done.stderr
    if left_out:
        pytest.skip("; ".join(left_out))


def completions(shell, folder, words, kind="bash"):
    """What is offered for the last of `words`."""
    last = words.count(" ")
    protocol = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(last),
        "_CHARLM_COMPLETE": f"{kind}_complete",
    }
    done = shell("charlm", folder, **protocol)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    return [line.split(",")[1] for line in lines] if kind == "bash" else lines[1::3]


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_commands_are_completed(shell, tmp_path, kind):
    assert completions(shell, tmp_path, "charlm ", kind) == list(COMMANDS)
    assert completions(shell, tmp_path, "charlm samp", kind) == ["sample"]


@pytest.mark.parametrize("path", [path for path in CONTEXTS if path != "charlm"])
def test_options_are_completed(shell, tmp_path, path):
    options = {
        name
        for param in CONTEXTS[path].command.params
        for name in param.opts
        if isinstance(param, click.Option) and name.startswith("--")
    }
    assert options <= set(completions(shell, tmp_path, f"{path} --"))


def test_choices_are_completed(shell, tmp_path):
    assert completions(shell, tmp_path, "charlm sample run --unknown ne") == ["nearest"]
    assert "bpe" in completions(shell, tmp_path, "charlm prep --level ")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell, tmp_path, kind):
    done = shell("charlm", tmp_path, _CHARLM_COMPLETE=f"{kind}_source")
    assert done.returncode == 0
    assert f"_CHARLM_COMPLETE={kind}_complete".encode() in done.stdout


def test_bash_completes(shell, tmp_path):
    line = (
        'eval "$(_CHARLM_COMPLETE=bash_source charlm)" && COMP_WORDS=(charlm sam) COMP_CWORD=1'
        " && _charlm_completion charlm && echo ${COMPREPLY[@]}"
    )
    done = shell(line, tmp_path)
    assert done.stdout == b"sample\n", done.stderr.decode()
