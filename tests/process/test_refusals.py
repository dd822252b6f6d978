"""What can be known at once is said at once: before torch, which takes seconds, is loaded."""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.commands import COLD
from support.params import quick

from charlm.training import directory

ROOT = Path(__file__).parents[2]
SMALL = ["--steps", "3", "--width", "16", "--batch", "4", "--context", "16", "--device", "cpu"]


REFUSED = [
    ("train data -o run", "run exists already"),
    ("train data -o text", "text is a file"),
    ("train data -o directory/../text/run", "Not a directory"),
    ("train data -o busy --force", "another process is training in busy"),
    ("train nowhere -o new", "nowhere does not exist"),
    ("train directory -o new", "directory is not a corpus"),
    ("train train-only -o new --seeds 2", "no validation text"),
    ("train --resume run", "run has reached its end, after 3 updates"),
    ("train --resume busy", "another process is training in busy"),
    ("train --resume nowhere", "nowhere is not a run"),
    ("train --resume directory", "holds no last.safetensors"),
    ("train --resume lost --steps 9", "is not there any more"),
    ("train train-only --resume run --steps 9", "is not the corpus that run was trained on"),
    ("train data -o new --init nowhere", "nowhere does not exist"),
    ("train --resume seeds", "with each of its 2 seeds"),
    ("train data -o new --tensorboard text", "text is a file"),
    ("zoo directory", "directory is not a corpus"),
    ("zoo data -o text", "text is a file"),
    ("report directory -o page.html", "holds no log.jsonl"),
    ("report run -o text", "text exists already"),
    ("report run -o nowhere/page.html", "nowhere is not a directory"),
    ("report run -o /proc/page.html", "/proc/page.html: "),
    ("compress run text --adapt -o /proc/text.clm", "/proc/text.clm: "),
    ("report lost -o page.html", "say where it is"),
    ("export run --to onnx -o text", "text exists already"),
    ("export directory --to torch -o new", "holds no model.safetensors"),
    ("eval directory text --adapt", "holds no model.safetensors"),
    ("eval run nowhere --adapt", "nowhere"),
    ("score run nowhere --adapt", "nowhere"),
    ("score run text nowhere", "nowhere"),
    ("prep text nowhere -o new", "nowhere"),
    ("compress run nowhere --adapt -o new", "nowhere"),
    ("inspect run nowhere --gradient", "nowhere"),
]
FIRST = {args.split()[0]: (args, message) for args, message in reversed(REFUSED)}


@pytest.fixture(scope="module")
def place(charlm, tmp_path_factory):
    """A corpus `data`, one without validation text, a run that has ended, and a run that has not.

    Beside them a module that stands in for torch, and ends the process that imports it.
    """
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "text").write_text("the king shall have his own again.\n" * 200)
    (folder / "directory").mkdir()
    for args in (
        ["prep", "text", "-o", "data"],
        ["prep", "text", "-o", "train-only", "--val", "0", "--test", "0"],
        ["prep", "text", "-o", "moved"],
        ["train", "data", "-o", "run", *SMALL],
        ["train", "moved", "-o", "lost", *SMALL],
        ["train", "data", "-o", "busy", *SMALL],
        ["train", "data", "-o", "seeds", "--seeds", "2", *SMALL],
    ):
        done = charlm(*args, cwd=folder)
        assert done.returncode == 0, done.stderr.decode()
    (folder / "moved").rename(folder / "elsewhere")
    (folder / "stand-in").mkdir()
    (folder / "stand-in" / "torch.py").write_text("raise SystemExit('torch was imported')")
    (folder / "missing").mkdir()
    for name in ("onnx", "matplotlib", "plotext", "tensorboard"):
        code = f"raise ModuleNotFoundError(name={name!r})"
        (folder / "missing" / f"{name}.py").write_text(code)
    # What a command reads after the packages that it takes.
    (folder / "damaged").mkdir()
    (folder / "damaged" / "model.safetensors").write_text("no model")
    (folder / "damaged" / "log.jsonl").write_text("no log")
    return folder


def cold(place, args, *stand_ins):
    """A command in a process from nothing, with modules in the place of others."""
    path = [*(str(place / name) for name in stand_ins), str(ROOT)]
    return subprocess.run(
        [*COLD, *args.split()],
        cwd=place,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(("args", "message"), quick(FIRST.values(), REFUSED))
def test_before_torch_is_loaded(place, args, message):
    with ExitStack() as stack:
        if "busy" in args:
            stack.enter_context(directory.held(place / "busy"))
        done = cold(place, args, "stand-in")
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (place / "new").exists()
    assert done.stdout == b""


def test_lengths_of_all_seeds_before_torch_is_loaded(place):
    done = cold(place, "train --resume seeds --steps 9", "stand-in")
    assert done.returncode == 2
    assert b"--steps is the same for all seeds in seeds" in done.stderr


@pytest.mark.parametrize(
    ("args", "package"),
    [
        ("export damaged --to onnx -o new", "onnx"),
        ("plot damaged -o new.svg", "matplotlib"),
        ("plot damaged", "plotext"),
        ("train data -o new --tensorboard board", "tensorboard"),
    ],
)
def test_a_package_that_is_missing_before_anything_is_read(place, args, package):
    done = cold(place, args, "missing", "stand-in")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith(f"charlm: {package}, needed for")
    assert not (place / "new").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken_before_a_model_is_loaded(place, host):
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        done = cold(place, f"serve damaged --host {host} --port {port}")
    assert done.returncode == 1
    assert f"{host}:{port} cannot be listened on" in done.stderr.decode()
