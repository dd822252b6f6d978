"""Packages that only some features need: what is said where one is missing, and what works."""

import os
import subprocess
import sys

import pytest
from support.params import quick

from charlm.packages import OPTIONAL

TEXT = "the king shall have his own again.\n"
# For each package a command that needs it.
NEEDING = {
    "torch": ["train", "DATA", "-o", "new", "--steps", "1"],
    "constriction": ["compress", "RUN", "text", "-o", "small"],
    "outlines_core": ["sample", "RUN", "--match", "[a-z]+"],
    "pydivsufsort": ["prep", "text", "-o", "new", "--index"],
    "plotext": ["plot", "RUN"],
    "matplotlib": ["plot", "RUN", "-o", "curves.svg"],
    "onnx": ["export", "RUN", "--to", "onnx", "-o", "model.onnx"],
    "tensorboard": ["train", "DATA", "-o", "new", "--steps", "1", "--tensorboard", "board"],
    "starlette": ["serve", "RUN"],
    "uvicorn": ["serve", "RUN"],
}
ALSO_TORCH = [
    ["train", "--resume", "RUN", "--steps", "300"],
    ["train", "DATA", "-o", "new", "--init", "RUN"],
    ["train", "DATA", "-o", "new", "--seeds", "2", "--steps", "1"],
    ["zoo", "DATA", "--budget", "1s"],
    ["eval", "RUN", "text", "--adapt"],
    ["compress", "RUN", "text", "-o", "small", "--adapt"],
    ["sample", "RUN", "--device", "cuda"],
    ["inspect", "RUN", "text", "--gradient", "--back", "2"],
    ["report", "RUN", "-o", "report.html"],
]
# What a Python without any of them does all the same.
WITHOUT_ANY = [
    ["corpus", "list"],
    ["prep", "text", "-o", "new"],
    ["sample", "RUN", "--length", "5"],
    ["fill", "BOTH", "gaps", "--length", "1"],
    ["score", "RUN", "text"],
    ["next", "RUN"],
    ["eval", "RUN", "text"],
    ["compare", "RUN", "RUN", "text"],
    ["info", "RUN"],
    ["inspect", "RUN", "text"],
    ["export", "RUN", "--to", "torch", "-o", "exported"],
    ["plot", "RUN", "--json"],
]


@pytest.fixture
def without(model, both_sides_model, corpus, tmp_path):
    """Runs `charlm` in a folder with a text, where packages of these names can't be imported."""
    (tmp_path / "text").write_text(TEXT * 40)
    (tmp_path / "gaps").write_text("the king ___ have\n")
    places = {"RUN": model, "BOTH": both_sides_model, "DATA": corpus}

    def run(packages, args):
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        for name in packages:
            missing = f"raise ModuleNotFoundError({f'No module named {name!r}'!r}, name={name!r})"
            (hidden / f"{name}.py").write_text(missing)
        path = os.pathsep.join([str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-m", "charlm", *(str(places.get(one, one)) for one in args)],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("name", "args"),
    quick(
        [(name, NEEDING[name]) for name in ("torch", "constriction", "starlette")],
        [*NEEDING.items(), *(("torch", args) for args in ALSO_TORCH)],
    ),
)
def test_one_line_names_what_is_missing(without, tmp_path, name, args):
    before = {*tmp_path.iterdir(), tmp_path / "hidden"}
    done = without([name], args)
    feature, packages = OPTIONAL[name]
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"charlm: {name}, needed for {feature}, is not installed: pip install {packages}"
    )
    assert "Traceback" not in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_every_optional_package_has_its_command():
    assert set(NEEDING) == set(OPTIONAL)


@pytest.mark.parametrize("args", WITHOUT_ANY, ids=lambda args: args[0])
def test_the_rest_does_without_them(without, args):
    done = without(OPTIONAL, args)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
