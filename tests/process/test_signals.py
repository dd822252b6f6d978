"""Signals to whole commands: what is saved or undone, what is said, and the status."""

import os
import pty
import random
import shlex
import signal
import subprocess
import time

import pytest
from support import commands
from support.commands import start

from charlm import signals

ENDING = pytest.mark.parametrize("number", signals.ENDING, ids=lambda number: number.name)
SMALL = ["--width", "16", "--batch", "4", "--context", "16", "--seed", "1", "--device", "cpu"]


def cold(*args, **options):
    """`charlm ARGS`, running, in a process from nothing."""
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "preexec_fn": commands.heed_signals,
    }
    return subprocess.Popen([*commands.COLD, *map(str, args)], **pipes | options)


def wait_for(ready, process):
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@ENDING
def test_a_run_is_saved_and_says_so_before(charlm, corpus, tmp_path, number):
    run = tmp_path / "rün 2"
    process = start("train", corpus, "-o", run, "--steps", 10**7, *SMALL)
    wait_for((run / "last.safetensors").exists, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said.decode()
    *before, last = said.decode().splitlines()
    press = "saving; press again to stop at once"
    assert (press if number == signal.SIGINT else f"saving after {number.name}") in before
    hint, command = last.split(": ")
    assert hint == "stopped and saved; to go on"
    assert shlex.split(command) == ["charlm", "train", "--resume", str(run)]
    assert charlm("info", run).returncode == 0


def test_a_terminal_that_goes_away_sends_more_than_one(corpus, tmp_path):
    """The kernel and the shell each send SIGHUP, and systemd SIGTERM with it: all mean one."""
    run = tmp_path / "run"
    process = start("train", corpus, "-o", run, "--steps", 10**7, *SMALL)
    wait_for((run / "last.safetensors").exists, process)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
        process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGHUP), said.decode()
    assert b"stopped and saved" in said


@pytest.mark.slow
def test_what_nohup_ignores_stays_ignored(corpus, tmp_path):
    run = tmp_path / "run"
    ignored = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = cold("train", corpus, "-o", run, "--steps", 60, *SMALL, preexec_fn=ignored)
    wait_for((run / "last.safetensors").exists, process)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_a_run_that_is_saved(corpus, tmp_path):
    run = tmp_path / "run"
    ours, theirs = pty.openpty()

    def lead():
        import fcntl
        import termios

        commands.heed_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = cold("train", corpus, "-o", run, "--steps", 10**7, *SMALL, stdin=theirs,
                   stdout=theirs, stderr=theirs, start_new_session=True,
                   preexec_fn=lead)  # fmt: skip
    os.close(theirs)
    wait_for((run / "last.safetensors").exists, process)
    os.close(ours)
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    assert (run / "model.safetensors").exists()
    assert not [name for name in names(run) if name.endswith(".tmp")]


@pytest.fixture(scope="module")
def archive(charlm, model, tmp_path_factory):
    """A long text, and what `compress` makes of it."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "text").write_text("the king shall have his own again.\n" * 600)
    done = charlm("compress", model, folder / "text", "-o", folder / "text.clm")
    assert done.returncode == 0, done.stderr.decode()
    return folder


@ENDING
def test_a_file_that_is_not_whole_is_removed(model, archive, tmp_path, number):
    process = start("decompress", model, archive / "text.clm", "-o", tmp_path / "out")
    wait_for(lambda: names(tmp_path), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said.decode()
    assert said == b""
    assert names(tmp_path) == set()


@ENDING
def test_prep_says_what_it_leaves_and_where(tmp_path, number):
    rng = random.Random(3)
    text = tmp_path / "text"
    text.write_text("".join(f"{rng.random()}\n" for _ in range(400_000)))
    process = start("prep", text, "-o", tmp_path / "data", "--level", "word", "--jobs", 2)
    left = tmp_path / ".data.prep"
    wait_for(lambda: list(left.glob("*.json")), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said.decode()
    size = sum(path.stat().st_size for path in left.iterdir())
    assert f"{size / 1e6:,.1f} MB in {left}" in said.decode()
    assert b"the same command goes on" in said
    assert b"Traceback" not in said


def test_zoo_leaves_nothing_whenever_it_is_stopped(corpus, tmp_path):
    for delay_s in (0.3, 0.8, 1.3):
        process = cold("zoo", corpus, "--cell", "lstm", "--budget", "10m",
                        env=os.environ | {"TMPDIR": str(tmp_path)})  # fmt: skip
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said.decode()
        assert b"Traceback" not in said
        assert names(tmp_path) == set()


def moments(rng, longest_s):
    """Some moments of a command that takes so long, more of them early."""
    return [longest_s * rng.random() ** 2 for _ in range(6)]


@pytest.mark.slow
@ENDING
@pytest.mark.parametrize(
    "args",
    [
        ["prep", "text", "-o", "data", "--level", "bpe"],
        ["train", "text", "-o", "run", "--steps", "100000", *SMALL],
        ["zoo", "corpus", "--cell", "lstm"],
        ["compress", "model", "text", "-o", "out"],
        ["decompress", "model", "text.clm", "-o", "out"],
        ["score", "model", "text"],
        ["eval", "model", "text", "--adapt"],
        ["sample", "model", "--length", "1000000"],
        ["report", "model", "-o", "out"],
        ["export", "model", "--to", "onnx", "-o", "out"],
    ],
    ids=lambda args: args[0],
)
def test_at_any_moment(corpus, model, archive, tmp_path, args, number):
    """No traceback, the status that tells which signal, and no temporary file anywhere."""
    (tmp_path / "temporary").mkdir()
    given = {"corpus": corpus, "model": model}
    given |= {name: archive / name for name in ("text", "text.clm")}
    made = [tmp_path / one if args[at] == "-o" else given.get(one, one)
            for at, one in enumerate(args[1:])]  # fmt: skip
    rng = random.Random(f"{args} {number}")
    for delay_s in moments(rng, 5):
        process = cold(args[0], *made, stdout=subprocess.DEVNULL,
                        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")})  # fmt: skip
        time.sleep(delay_s)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        early = process.returncode == -number or not commands.was_reached(said)
        assert early or process.returncode in (0, 1, 128 + number), said.decode()
        assert early or b"Traceback" not in said, said.decode()
        left = {name for name in names(tmp_path) if name.endswith(".tmp")}
        assert left <= {".run.tmp"}, (delay_s, left)
        for folder in tmp_path.rglob(".*.prep"):
            assert list(folder.glob("*.json")), (delay_s, folder)  # to go on from
        assert names(tmp_path / "temporary") == set()
