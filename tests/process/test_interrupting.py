"""Ctrl-C while modules are imported: status 130, and nothing said."""

import os
import signal
import subprocess
import sys

import pytest

from charlm.cli.interrupting import imports_can_be_interrupted

# Stand-ins for numpy, which every command below imports first of all.
SWALLOWS = """\
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100):
        pass
except BaseException:
    pass
"""
BREAKS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


# A Ctrl-C as the real numpy is imported, where the signal is ignored.
IGNORES = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.addaudithook(
    lambda event, args: event == "import" and args[0] == "numpy" and os.kill(os.getpid(), 2)
)
"""


@pytest.fixture
def run(tmp_path):
    """Runs charlm on a text, with a module that stands in for one of its own."""
    (tmp_path / "text").write_text("a text\n" * 100)

    def run(module, code, args):
        (tmp_path / module).write_text(code)
        return subprocess.run(
            [sys.executable, "-m", "charlm", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])},
            capture_output=True,
            timeout=60,
            # The tests may run where it is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return run


@pytest.mark.parametrize("command", ["train text -o run", "sample run", "score run text"])
@pytest.mark.parametrize("code", [SWALLOWS, BREAKS], ids=["swallows", "breaks"])
def test_an_import_that_is_interrupted_ends_quietly(run, code, command):
    done = run("numpy.py", code, command.split())
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_process_that_ignores_the_signal_goes_on(run):
    done = run("sitecustomize.py", IGNORES, ["prep", "text", "-o", "data"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL])
def test_only_the_usual_handler_gives_way_and_is_set_back(before):
    found = signal.signal(signal.SIGINT, before)
    try:
        with imports_can_be_interrupted():
            within = signal.getsignal(signal.SIGINT)
        after = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, found)
    assert (within is not before) == (before is signal.default_int_handler)
    assert after is before
