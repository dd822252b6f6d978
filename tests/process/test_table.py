"""Every command where something fails it: its status, what it leaves on the disk, what it says.

Behind stdout, -o or stderr is a full disk; stdout is closed or non-blocking; a signal comes.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import commands

import charlm.cli

# OUT is what is written, beside stdout; of commands that write to either there are two lines.
COMMANDS = {
    "corpus": "corpus cat markov",
    "prep": "prep TEXT -o OUT",
    "train": "train DATA -o OUT --steps 4 --width 16 --seed 1",
    "sample": "sample RUN --length 200 --seed 1",
    "fill": "fill BOTH GAPS --seed 1",
    "score": "score RUN TEXT",
    "next": "next RUN --prompt the",
    "eval": "eval RUN TEXT",
    "compare": "compare RUN RUN TEXT",
    "compress": "compress RUN TEXT -o OUT",
    "decompress": "decompress RUN CLM -o OUT",
    "info": "info RUN",
    "inspect": "inspect RUN TEXT --limit 200 --memory --back 4",
    "export": "export RUN --to onnx -o OUT",
    "plot": "plot RUN -o OUT",
    "report": "report RUN -o OUT",
    "zoo": "zoo DATA --cell gru --parameters 2000 --budget 1s --seed 1 -o OUT",
    "serve": "serve RUN --port 0",
}
TO_STDOUT = {
    "prep": "prep TEXT -o OUT --json",
    "train": "train DATA -o OUT --steps 4 --width 16 --seed 1 --json",
    "compress": "compress RUN TEXT",
    "decompress": "decompress RUN CLM",
    "report": "report RUN -o -",
    "plot": "plot RUN --json",
}
DIRECTORIES = ("prep", "train", "zoo")
QUICK = ("corpus", "prep", "train", "score", "compress", "decompress")
ENDS = [name for name in COMMANDS if name != "serve"]  # which goes on until it is stopped
WRITES = [name for name in ENDS if "OUT" in COMMANDS[name]]
SAYS = [name for name in ENDS if name in TO_STDOUT or "OUT" not in COMMANDS[name]] + ["zoo"]


def each(names):
    """A parameter for each command, most of them slow."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if name in QUICK else slow) for name in names]
    )


@pytest.fixture(scope="module")
def names(charlm, corpus, model, both_sides_model, tmp_path_factory):
    """What the words in capitals stand for."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "text").write_text("the king shall have his own again.\n" * 30)
    (folder / "gaps").write_text("the k___ shall have his own again.\n")
    done = charlm("compress", model, folder / "text", "-o", folder / "clm")
    assert done.returncode == 0, done.stderr
    names = {"RUN": model, "BOTH": both_sides_model, "DATA": corpus}
    return names | {"TEXT": folder / "text", "GAPS": folder / "gaps", "CLM": folder / "clm"}


@pytest.fixture
def words(names, tmp_path):
    """The arguments of a line; OUT is in `tmp_path`, or another folder."""

    def of(line, folder=tmp_path):
        found = {**names, "OUT": Path(folder, "out.svg")}
        return [str(found.get(word, word)) for word in line.split()]

    return of


def ended(process):
    """Status, stdout and stderr at the end."""
    found, said = process.communicate(timeout=commands.PATIENCE_S)
    assert b"Traceback" not in said
    return process.returncode, found, said.decode().splitlines()


def left(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_every_command_is_in_the_table():
    assert set(COMMANDS) == set(charlm.cli.COMMANDS)


@each(SAYS)
def test_a_full_disk_behind_stdout(words, name):
    with open("/dev/full", "wb") as full:
        process = commands.start(*words(TO_STDOUT.get(name, COMMANDS[name])), stdout=full)
        status, _, said = ended(process)
    assert (status, said[-1]) == (1, "charlm: stdout: No space left on device")


@each(ENDS)
def test_a_closed_stdout(charlm, words, tmp_path, name):
    command = ["bash", "-c", '"$0" "$@" >&-', *commands.forked()]
    args = words(TO_STDOUT.get(name, COMMANDS[name]))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    status, _, said = ended(subprocess.Popen([*command, *args], **pipes))
    writes_both = name in DIRECTORIES
    if name in SAYS:
        assert (status, said[-1]) == (1, "charlm: stdout: Bad file descriptor")
        assert bool(left(tmp_path)) == writes_both
    else:
        assert (status, (tmp_path / "out.svg").exists()) == (0, True)


@each(SAYS)
def test_a_non_blocking_stdout(charlm, words, tmp_path, name):
    args = TO_STDOUT.get(name, COMMANDS[name])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = charlm(*words(args, tmp_path / "a")).stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = commands.start(*words(args, tmp_path / "b"), stdout=writing)
    os.close(writing)
    time.sleep(0.5)  # a pipe that is full, if so much comes
    found = b""
    while part := os.read(reading, 1 << 16):
        found += part
    os.close(reading)
    status, _, _ = ended(process)
    assert status == 0
    if name == "zoo":  # its figures are speeds
        assert found.count(b"\n") == expected.count(b"\n")
    else:
        assert found.replace(b"/b/", b"/a/") == expected


@each(ENDS)
def test_a_full_disk_behind_stderr(charlm, words, tmp_path, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = charlm(*words(COMMANDS[name], tmp_path / "a"))
    assert expected.returncode == 0, expected.stderr
    with open("/dev/full", "wb") as full:
        process = commands.start(*words(COMMANDS[name], tmp_path / "b"), stderr=full)
        found, _ = process.communicate(timeout=commands.PATIENCE_S)
    assert process.returncode == 0
    assert left(tmp_path / "b") == left(tmp_path / "a")
    if name != "zoo":
        assert found == expected.stdout


@each(WRITES)
def test_a_full_disk_behind_the_output(words, disk, name):
    """It has 16 KiB, in which nothing but a little of each result has a place."""
    folder = disk(4 if name in ("compress", "decompress") else 16)
    (folder / "ballast").write_bytes(b"x" * 4096 * (1 if name in ("compress", "decompress") else 3))
    status, found, said = ended(commands.start(*words(COMMANDS[name], folder)))
    assert (status, found if name != "zoo" else b"") == (1, b"")
    assert str(folder) in said[-1]
    assert "No space left on device" in said[-1]
    assert not [path for path in left(folder) if path.endswith((".tmp", ".old", ".growing"))]
    if name not in DIRECTORIES:
        assert left(folder) == ["ballast"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_at_a_random_moment(words, tmp_path, name, number):
    """The process is a fresh one, so that the moment may be in its start-up."""
    folder, temporary = tmp_path / "results", tmp_path / "temporary"
    took_s = 0.0
    chance = random.Random(f"{name} {number}")
    for share in (None, chance.random(), chance.random(), chance.random()):
        for place in (folder, temporary):
            subprocess.run(["rm", "-rf", place], check=True)
            place.mkdir()
        process = subprocess.Popen(
            [*commands.COLD, *words(COMMANDS[name], folder)],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=commands.heed_signals,
        )
        began = time.monotonic()
        if share is not None:
            time.sleep(share * took_s)
            process.send_signal(number)
        elif name == "serve":
            while b"http" not in (line := process.stderr.readline()):
                assert line
            process.send_signal(number)
        _, said = process.communicate(timeout=commands.PATIENCE_S)
        status, reached = process.returncode, commands.was_reached(said)
        assert not (reached and b"Traceback" in said), said.decode()
        took_s = took_s or time.monotonic() - began
        if share is None:
            assert status == 0, said
            continue
        # As a shell has it: 128 and the signal's number, whether it was caught or not.
        done = {0} if name == "serve" or folder_is_whole(folder, name) else set()
        assert not reached or status in {128 + number, -number} | done, said
        assert [
            path for path in left(temporary) if "torchinductor" not in path
        ] == []  # torch's own
        if name not in DIRECTORIES:
            assert left(folder) in ([], ["out.svg"])


def folder_is_whole(folder, name):
    """Whether the command may have come to its end before the signal."""
    return name not in WRITES or (folder / "out.svg").exists()
