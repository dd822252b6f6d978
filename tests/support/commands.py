"""How tests run `charlm`: as a command, in real processes."""

import atexit
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

PATIENCE_S = 120  # the cores may be busy
COLD = [sys.executable, "-m", "charlm"]  # from nothing, where the process is what is tested


@cache
def forked() -> list[str]:
    """The start of a command line that is `charlm`, run by a child of this process's server."""
    here = Path(__file__).parent
    address = Path(tempfile.mkdtemp(prefix="charlm-tests-")) / "server"
    server = subprocess.Popen(
        [sys.executable, here / "fork_server.py", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        server.communicate()
        address.unlink()
        address.parent.rmdir()

    atexit.register(end)
    assert server.stdout.readline() == b"ready\n"
    return [sys.executable, "-IS", str(here / "forked.py"), str(address)]


def charlm(*args, stdin="", cwd=None, timeout=PATIENCE_S, **others) -> subprocess.CompletedProcess:
    """`charlm ARGS` with `stdin` to read, run to its end; its streams as bytes."""
    return subprocess.run(
        [*forked(), *map(str, args)],
        input=stdin if isinstance(stdin, bytes) else stdin.encode("utf-8"),
        capture_output=True,
        cwd=cwd,
        timeout=timeout,
        **others,
    )


def start(*args, **others) -> subprocess.Popen:
    """`charlm ARGS`, running; stdout and stderr are pipes unless `others` says otherwise."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*forked(), *map(str, args)], **pipes | others)


def heed_signals() -> None:
    """Sets the handlers that a process has in a terminal; tests may run where some are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def was_reached(said: bytes) -> bool:
    """Whether charlm was, where a cold process that a signal ended has shown a traceback.

    Before that Python starts and finds the module, and has words of its own for a Ctrl-C.
    """
    main = rb'charlm/__main__\.py", line \d+, in main'
    return b"Traceback" not in said or re.search(main, said) is not None


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Waits until `condition` holds, for as long as `process` runs."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def write_program(folder: Path) -> None:
    """Puts a program `charlm` into `folder`, for the PATH of a shell."""
    program = folder / "charlm"
    program.write_text(f'#!/bin/sh\nexec {" ".join(forked())} "$@"\n')
    program.chmod(0o755)
