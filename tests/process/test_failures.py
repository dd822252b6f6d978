"""What the system, Python or a package refuses is one line that is true, and never a traceback."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import COLD

from charlm import failures
from charlm.cli import main
from charlm.cli.shading import coloured

ROOT = Path(__file__).parents[2]


def cold(*args, cwd, stand_ins=None, limit=None, **environment):
    """`charlm ARGS` in a process from nothing; `stand_ins` come before every other module."""
    path = [str(stand_ins)] if stand_ins else []
    return subprocess.run(
        [*COLD, *map(str, args)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*path, str(ROOT)])} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        preexec_fn=limit and (lambda: resource.setrlimit(*limit)),
    )


def said(done):
    """The last line on stderr of a command that failed as it should."""
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert "Traceback" not in text
    assert "writing the output" not in text
    return text.splitlines()[-1]


@pytest.mark.parametrize(
    "args",
    [
        ["prep", "{}", "-o", "data"],
        ["train", "{}", "-o", "run"],
        ["score", "model", "{}"],
        ["eval", "model", "{}"],
        ["compare", "model", "model", "{}"],
        ["compress", "model", "{}", "-o", "out"],
        ["decompress", "model", "{}", "-o", "out"],
        ["inspect", "model", "{}"],
        ["sample", "model", "--prompt-file", "{}"],
        ["fill", "both", "{}"],
        ["prep", "--files-from", "{}", "-o", "data"],
        ["prep", "-", "-o", "data", "--tokenizer", "{}"],
        ["sample", "model", "--state", "{}"],
        ["next", "model", "--state", "{}"],
        ["info", "{}"],
        ["serve", "{}", "--port", "0"],
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_read_has_a_name(charlm, model, both_sides_model, tmp_path, args):
    unreadable = "/proc/self/mem"  # whose first byte no process has
    given = {"{}": unreadable, "model": model, "both": both_sides_model}
    done = charlm(*[given.get(arg, arg) for arg in args], cwd=tmp_path)
    assert said(done) == f"charlm: {unreadable}: Input/output error"


def test_a_path_in_a_hint_is_quoted(charlm, tmp_path):
    (tmp_path / "text").write_text("a text\n" * 100)
    for out, level in (("a b", "char"), ("c", "byte")):
        assert charlm("prep", "text", "-o", out, "--level", level, cwd=tmp_path).returncode == 0
    done = charlm("train", "a b", "c", "-o", "run", cwd=tmp_path)
    assert "--tokenizer 'a b/tokenizer.json'" in said(done)


def test_a_working_directory_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "text").write_text("a text\n" * 100)
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
os.rmdir({str(gone)!r})
from charlm.__main__ import main
sys.argv = ["charlm", "prep", {str(tmp_path / "text")!r}, "-o", "data"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True)
    assert said(done).startswith("charlm: the working directory is not there any more")


def test_no_place_for_temporary_files(corpus, tmp_path):
    # Python looks for one by writing to it.
    done = cold("zoo", corpus, "--cell", "lstm", cwd=tmp_path,
                limit=(resource.RLIMIT_FSIZE, (0, 0)), PYTHONDONTWRITEBYTECODE="1")  # fmt: skip
    assert "No usable temporary directory" in said(done)
    assert "TMPDIR" in said(done)


@pytest.mark.slow
def test_too_many_open_files(model, tmp_path):
    for count in range(4, 24, 3):
        done = cold(
            "score", model, "-", cwd=tmp_path, limit=(resource.RLIMIT_NOFILE, (count, count))
        )
        if done.returncode:
            assert b"writing the output" not in done.stderr
            if done.stderr.startswith(b"charlm: "):  # else Python itself could not begin
                assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("click", ["--help"]),
        ("numpy", ["score", "model", "text"]),
        ("tokenizers", ["prep", "text", "-o", "new", "--level", "bpe"]),
        ("safetensors", ["info", "model"]),
        ("torch", ["train", "data", "-o", "run"]),
    ],
)
@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("raise MemoryError", failures.MEMORY),
        ("raise ImportError('failed to map segment from shared object')", failures.MEMORY),
        ("raise ModuleNotFoundError(name='{}')", "{} is not installed"),
        ("raise ImportError('lib{}.so', name='{}')", "{} can't be loaded (lib{}.so); install it"),
        ("raise ModuleNotFoundError(name='_ctypes')", "built without _ctypes"),
    ],
    ids=["memory", "mapping", "missing", "broken", "python"],
)  # fmt: skip
def test_an_import_that_fails(charlm, model, corpus, tmp_path, module, command, code, line):
    (tmp_path / "text").write_text("a text\n" * 100)
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    (folder / f"{module}.py").write_text(code.replace("{}", module))
    given = {"model": model, "data": corpus}
    done = cold(*[given.get(arg, arg) for arg in command], cwd=tmp_path, stand_ins=folder)
    want = "torch, needed for" if (module, line) == ("torch", "{} is not installed") else line
    assert want.replace("{}", module) in said(done)


def lack(*args, **others):
    raise MemoryError


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("charlm.measuring.lines.line_nats", ["compare", "model", "model", "text"]),
        ("charlm.corpus.write_splits", ["prep", "text", "-o", "new", "--level", "bpe"]),
        ("charlm.novelty.build", ["prep", "text", "-o", "new", "--index"]),
        ("charlm.measuring.evaluation.evaluate", ["eval", "model", "text", "--unknown", "skip"]),
        ("charlm.sampling.generate.read", ["sample", "model"]),
    ],
)
def test_a_lack_of_memory(model, tmp_path, monkeypatch, capsys, function, args):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("a text\n" * 100)
    monkeypatch.setattr(function, lack)
    assert main([str(model) if arg == "model" else arg for arg in args]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"charlm: {failures.MEMORY}"
    assert not Path("new").exists()


def test_a_lack_of_memory_of_a_worker_is_handed_on():
    code = "import charlm.preparation.worker as w; w.do = lambda task: bytearray(1 << 60); w.main()"
    done = subprocess.run([sys.executable, "-c", code], input=b"{}\n", capture_output=True)
    assert json.loads(done.stdout)["failed"][0] == errno.ENOMEM
    assert failures.line(OSError(*json.loads(done.stdout)["failed"])) == failures.MEMORY


def test_a_bug_is_no_failure():
    for error in (ValueError("x"), ImportError("cannot import name 'x'", name="charlm.corpus")):
        assert failures.line(error) is None


SMALL = ["--width", "16", "--batch", "4", "--context", "16", "--seed", "1", "--device", "cpu"]


@pytest.mark.parametrize("steps", [10, 60])
def test_a_rate_that_is_too_high_is_blamed_however_short_the_run(charlm, corpus, tmp_path, steps):
    args = ["--steps", steps, "--lr", 1000, *SMALL]
    done = charlm("train", corpus, "-o", tmp_path / "run", *args)
    last = done.stderr.decode().splitlines()[-1]
    assert "lower --lr (it was 1000)" in last
    assert "give it longer" not in last


def test_a_text_of_one_symbol_is_warned_of(charlm, tmp_path):
    (tmp_path / "text").write_text("a" * 3000)
    done = charlm("prep", "text", "-o", "data", cwd=tmp_path)
    assert b"nothing to learn" in done.stderr
    done = charlm("train", "data", "-o", "run", "--steps", 3, *SMALL, cwd=tmp_path)
    assert b"nothing to learn" in done.stderr


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
)
def test_a_terminal_without_colors_gets_none(monkeypatch, environment, colored):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert coloured("auto") == colored
    assert coloured("always")
