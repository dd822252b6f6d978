"""What a process does with its own streams: every byte goes out, or the status is 1."""

import fcntl
import hashlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from array import array

import pytest
from support import commands
from support.params import quick

COLD = commands.COLD
TEXT = "".join(f"the king shall have his own again, {i * i} times.\n" for i in range(400))

# Whether PYTHONUNBUFFERED is set, for which a fresh interpreter has to start.
USUAL, UNBUFFERED = pytest.param(False, id="usual"), pytest.param(True, id="unbuffered")
SLOW_USUAL = pytest.param(False, id="usual", marks=pytest.mark.slow)
SLOW_UNBUFFERED = pytest.param(True, id="unbuffered", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def files(charlm, model, tmp_path_factory):
    """A text of some 20 kB, and what compress makes of its beginning."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "text").write_text(TEXT)
    (folder / "start").write_text(TEXT[:2000])
    done = charlm("compress", model, folder / "start", "-o", folder / "clm")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def environment(request):
    return os.environ | ({"PYTHONUNBUFFERED": "1"} if request.param else {})


def small_pipe():
    """A pipe that holds 4 KiB."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing


def read_slowly(descriptor):
    """All that comes, with pauses in which a pipe is full."""
    found = b""
    while part := os.read(descriptor, 1 << 15):
        found += part
        time.sleep(0.001)
    return found


LONG = {
    "corpus cat": ["corpus", "cat", "markov"],
    "score": ["score", "MODEL", "TEXT"],
    "sample --json": ["sample", "MODEL", "--json", "-n", "2", "--length", "3000", "--seed", "1"],
    "compress": ["compress", "MODEL", "TEXT"],
}


def filled_in(args, model, files):
    names = {"MODEL": model, "TEXT": files / "text", "START": files / "start"}
    return [str(names.get(word, word)) for word in args]


@pytest.mark.parametrize("environment", [USUAL, SLOW_UNBUFFERED], indirect=True)
@pytest.mark.parametrize("name", quick(["score", "compress"], LONG))
def test_a_non_blocking_stdout_gets_every_byte(model, files, charlm, name, environment):
    args = filled_in(LONG[name], model, files)
    reading, writing = small_pipe()
    os.set_blocking(writing, False)
    process = commands.start(*args, stdout=writing, env=environment)
    os.close(writing)
    found = read_slowly(reading)
    os.close(reading)
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, said
    expected = charlm(*args).stdout
    assert len(expected) > 6000
    assert hashlib.sha256(found).digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("environment", [SLOW_USUAL, UNBUFFERED], indirect=True)
def test_a_writer_that_is_stopped_and_goes_on_writes_every_byte(environment):
    """A write to a full pipe comes back short when the process is stopped in it (Ctrl-Z)."""
    reading, writing = small_pipe()
    process = subprocess.Popen([*COLD, "corpus", "cat", "markov"], stdout=writing, env=environment)
    os.close(writing)
    found = b""
    for _ in range(5):
        until_full(reading, process)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        found += os.read(reading, 4096)  # one page: a pipe has room by the page
        process.send_signal(signal.SIGCONT)
    found += read_slowly(reading)
    os.close(reading)
    assert process.wait() == 0
    assert len(found) == 1_000_000


def until_full(reading, process):
    """Waits until the pipe is full, so that the process waits in a write."""
    size_bytes = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    count = array("i", [0])
    while process.poll() is None and count[0] < size_bytes:
        time.sleep(0.01)
        fcntl.ioctl(reading, termios.FIONREAD, count)


@pytest.mark.parametrize("environment", [USUAL, SLOW_UNBUFFERED], indirect=True)
@pytest.mark.parametrize("name", LONG)
def test_a_small_disk_behind_stdout_is_told(small_disk, model, files, name, environment):
    args = filled_in(LONG[name], model, files)
    with (small_disk / "out").open("wb") as out:
        process = commands.start(*args, stdout=out, env=environment)
    said = process.communicate()[1].decode().splitlines()
    assert process.returncode == 1
    assert said[-1] == "charlm: stdout: No space left on device"
    assert not any("bytes ->" in line for line in said)


READERS = {
    "compress": ["compress", "MODEL", "-"],
    "decompress": ["decompress", "MODEL", "-"],
    "score": ["score", "MODEL", "-"],
    "sample --per-line": ["sample", "MODEL", "--per-line", "--length", "3", "--seed", "1"],
    "sample --prompt-file": [
        "sample", "MODEL", "--prompt-file", "-", "--length", "3", "--seed", "1",
    ],
    "next": ["next", "MODEL", "--prompt-file", "-"],
    "eval": ["eval", "MODEL", "-"],
    "compare": ["compare", "MODEL", "MODEL", "-"],
    "inspect": ["inspect", "MODEL", "-"],
    "prep": ["prep", "-", "-o", "OUT", "--json"],
    "fill": ["fill", "BOTH", "-", "--seed", "1"],
}  # fmt: skip
LINES = b"the king\nmy lord, the night is long\n"
READ = {
    "prep": LINES * 50,
    "fill": b"the k___g\nmy lord, the night\n",
    "sample --prompt-file": b"the king",
}


@pytest.mark.parametrize("name", quick(["score", "sample --per-line", "prep"], READERS))
def test_a_non_blocking_stdin_is_waited_for(charlm, model, both_sides_model, files, tmp_path, name):
    data = (files / "clm").read_bytes() if name == "decompress" else READ.get(name, LINES)
    names = {"MODEL": model, "BOTH": both_sides_model}

    def args(out):
        return [str({**names, "OUT": tmp_path / out}.get(word, word)) for word in READERS[name]]

    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = commands.start(*args("a"), stdin=reading)
    os.close(reading)
    for part in (data[:3], data[3:]):
        time.sleep(0.7)  # it reads before there is anything, and then again
        os.write(writing, part)
    os.close(writing)
    found, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    expected = charlm(*args("b"), stdin=data)
    assert expected.returncode == 0
    assert expected.stdout
    assert found == expected.stdout


@pytest.mark.parametrize("closed", quick(["full"], ["full", "gone", "hung up", "non-blocking"]))
def test_messages_that_cannot_be_written_end_nothing(charlm, model, tmp_path, closed):
    """Behind stderr: a full disk, a pipe without a reader, a terminal that was closed."""
    other = None
    if closed == "full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    elif closed == "hung up":
        ours, stderr = pty.openpty()
        os.close(ours)  # writing gives EIO
    else:
        other, stderr = os.pipe()
        os.set_blocking(stderr, closed == "gone")
        if closed == "gone":
            os.close(other)
    (tmp_path / "text").write_text(TEXT[:20000])
    lines = [
        ["prep", "text", "-o", "data"],
        ["train", "data", "-o", "run", "--steps", "3", "--width", "16", "--cell", "gru"],
        ["sample", "run", "--length", "10"],
        ["compress", "run", "text", "-o", "text.clm"],
        ["report", "run", "-o", "report.html"],
    ]
    try:
        for args in lines:
            process = commands.start(*args, stderr=stderr, cwd=tmp_path)
            found, _ = process.communicate(timeout=120)
            assert process.returncode == 0, args
            assert bool(found) == (args[0] == "sample")
    finally:
        os.close(stderr)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    if closed == "non-blocking":
        assert select.select([other], [], [], 0)[0]
        os.close(other)


def test_an_error_that_cannot_be_said_is_still_status_1(tmp_path):
    with open("/dev/full", "wb") as full:
        process = commands.start("info", "nothing", stderr=full, cwd=tmp_path)
    process.communicate()
    assert process.returncode == 1


def test_the_number_of_a_closed_stream_is_not_taken_by_a_file(model, tmp_path):
    """Else what is written to the stream would go into that file."""
    code = (
        "import os, sys; from charlm import streams; streams.prepare();"
        "print('lost', file=sys.stderr); sys.exit(os.open('file', os.O_RDWR | os.O_CREAT))"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, code],
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode >= 3
    assert (tmp_path / "file").read_bytes() == b""


# A command that leaves its result to be written at the end, and a file system that tells of a full
# disk only when a file is closed.
LEFT_FOR_THE_END = """
import sys
import click
from charlm import cli
click.Group.invoke = lambda *args: print("text")
sys.exit(cli.main(["corpus", "list"]))
"""
FULL_AT_THE_CLOSE = """
import errno, os, sys
from charlm import cli
def dup(handle):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.dup = dup
sys.exit(cli.main(["corpus", "list"]))
"""


@pytest.mark.parametrize(
    ("code", "out"), [(LEFT_FOR_THE_END, "/dev/full"), (FULL_AT_THE_CLOSE, os.devnull)]
)
def test_what_fails_at_the_end_is_told(code, out):
    with open(out, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, timeout=120
        )
    assert done.stderr == b"charlm: stdout: No space left on device\n"
    assert done.returncode == 1
