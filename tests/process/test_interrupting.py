"""Signals while modules are imported: the status that tells which, and nothing said."""

import os
import signal
import subprocess
import sys

import pytest
from support.commands import heed_signals

from charlm import signals

# Stand-ins for numpy, which every command below imports first of all.
SWALLOWS = """\
import os, signal
try:
    os.kill(os.getpid(), {number})
    for _ in range(100):
        pass
except BaseException:
    pass
"""
BREAKS = "import os, signal\nos.kill(os.getpid(), {number})\n"


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
            preexec_fn=heed_signals,
        )

    return run


@pytest.mark.parametrize("number", signals.ENDING)
@pytest.mark.parametrize("command", ["train text -o run", "sample run", "score run text"])
@pytest.mark.parametrize("code", [SWALLOWS, BREAKS], ids=["swallows", "breaks"])
def test_an_import_that_is_interrupted_ends_quietly(run, code, command, number):
    done = run("numpy.py", code.format(number=int(number)), command.split())
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")


@pytest.mark.parametrize("number", signals.ENDING)
def test_the_first_import_of_all_ends_quietly(run, number):
    """That of what reads the command line, which is a third of the time of `--help`."""
    done = run("click.py", BREAKS.format(number=int(number)), ["--help"])
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")


@pytest.mark.parametrize("number", signals.ENDING)
def test_what_was_begun_before_the_import_is_undone(tmp_path, number):
    (tmp_path / "interrupting.py").write_text(BREAKS.format(number=int(number)))
    (tmp_path / "temporary").mkdir()
    code = """
from pathlib import Path
from charlm import atomic, signals
from charlm.preparation.workplace import workplace
with (
    signals.ending(),
    workplace(Path(".data.prep"), print),
    atomic.whole_file(Path("file")),
    atomic.whole_directory(Path("folder"), marker="m", force=False) as folder,
    atomic.temporary_directory("charlm-"),
):
    (folder / "m").touch()
    import interrupting
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        preexec_fn=heed_signals,
    )
    assert (done.returncode, done.stderr) == (128 + number, b"")
    assert not list((tmp_path / "temporary").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {
        "interrupting.py", "temporary", "__pycache__",
    }  # fmt: skip


def test_a_process_that_ignores_the_signal_goes_on(run):
    done = run("sitecustomize.py", IGNORES, ["prep", "text", "-o", "data"])
    assert done.returncode == 0, done.stderr


BEFORE = [signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("number", signals.ENDING)
def test_only_the_usual_handler_gives_way_and_is_set_back(number, before):
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    found = signal.signal(number, before)
    try:
        with signals.ending():
            within = signal.getsignal(number)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, found)
    assert (within is not before) == (before is usual)
    assert after is before


def test_a_process_that_ends_leaves_signals_to_the_system():
    code = (
        "import signal; from charlm import signals\n"
        "with signals.ending(for_good=True): pass\n"
        "assert all(signal.getsignal(n) is signal.SIG_DFL for n in signals.ENDING)"
    )
    assert subprocess.run([sys.executable, "-c", code], preexec_fn=heed_signals).returncode == 0
