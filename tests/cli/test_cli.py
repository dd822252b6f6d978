"""What every command has in common: help, exit status, streams."""

import shlex
import signal
import subprocess

import click
import pytest
from support.commands import forked

from charlm import __version__, cli
from charlm.cli import COMMANDS
from charlm.signals import Stopped


def test_help_names_every_command(charlm):
    done = charlm("--help")
    assert done.returncode == 0
    assert done.stderr == b""
    for name in COMMANDS:
        assert name in done.stdout.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(charlm, name):
    done = charlm(name, "--help")
    assert done.returncode == 0
    assert b"Usage: charlm " + name.encode() in done.stdout


def test_version(charlm):
    assert charlm("--version").stdout.decode().strip().endswith(__version__)


@pytest.mark.parametrize("args", [["nonsense"], ["--nonsense"], ["train", "--nonsense"]])
def test_wrong_usage_is_status_2(charlm, args):
    done = charlm(*args)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Usage" in done.stderr


def test_a_misspelled_command_is_told_what_is_near(charlm):
    assert b"Did you mean train?" in charlm("trian").stderr
    assert b"mean" not in charlm("nonsense").stderr


@pytest.mark.parametrize("place", ["charlm.cli.cli.main", "click.Group.invoke"])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (Stopped(signal.SIGINT), 130),
        (Stopped(signal.SIGTERM), 143),
        (Stopped(signal.SIGHUP), 129),
    ],
    ids=lambda value: str(value) or type(value).__name__,
)
def test_the_status_tells_the_signal_wherever_it_came(monkeypatch, end, status, place):
    """As a command worked, or before and after that."""

    def ended(*args, **settings):
        raise end

    monkeypatch.setattr(place, ended)
    assert cli.main(["corpus", "list"]) == status


@pytest.mark.parametrize("args", ["--help", "train --help", "corpus list", "corpus cat markov"])
def test_a_closed_pipe_ends_quietly(args):
    """The reader is gone before anything is written."""
    command = f"{shlex.join(forked())} {args} | (exec <&-; sleep 2); echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    assert done.stdout == b"0\n"
    assert done.stderr == b""


def test_a_full_disk_is_told_in_one_line(charlm):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*forked(), "corpus", "cat", "markov"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    message = done.stderr.decode()
    assert done.returncode == 1
    assert message.count("\n") == 1
    assert "No space left" in message


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("args", ["prep -o data", "sample MODEL --prompt-file - --length 5"])
def test_a_closed_stream_is_no_bug(model, tmp_path, args, closed):
    args = args.replace("MODEL", str(model))
    command = f"echo the king | {shlex.join(forked())} {args} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, cwd=tmp_path)
    assert b"Traceback" not in done.stderr
    if closed == ">&-":
        # Only what has a result to write fails for want of stdout.
        assert done.returncode == ("sample" in args)


def test_the_whole_way_in_one_pipe(tmp_path):
    command = (
        "set -o pipefail; charlm() { " + shlex.join(forked()) + ' "$@"; };'
        " (for i in $(seq 300); do echo the cat sat on the mat $i; done)"
        " | charlm prep - -o d && charlm train d -o r --steps 20 --width 16"
        " && charlm sample r --length 2000 | head -c 100"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout) == 100
