"""The import rule, read from the syntax tree; and what stays unimported in a fresh process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "charlm"

# From the bottom up: a room imports itself and rooms above it in this table, and these packages.
ROOMS = {
    "errors": set(),
    "packages": set(),
    "signals": set(),
    "process": {"numpy", "threadpoolctl", "torch"},
    "atomic": set(),
    "untrusted": set(),
    "knobs": set(),
    "config": set(),
    "presets": set(),
    "corpora": {"numpy", "pooch", "tqdm"},
    "tokenizer": {"numpy", "tokenizers"},
    "preparation": {"numpy", "tokenizers"},
    "corpus": {"numpy", "tokenizers"},
    "ops": set(),
    "cells": set(),
    "network": set(),
    "model_file": {"numpy", "safetensors"},
    "score": {"numpy"},
    "sampling": {"numpy", "torch", "safetensors", "outlines_core"},
    "adaptation": {"numpy", "torch"},
    "measuring": {"numpy"},
    "novelty": {"numpy", "pydivsufsort"},
    "compression": {"numpy", "constriction"},
    "training": {"numpy", "torch", "safetensors"},
    "inspection": {"numpy", "torch"},
    "curves": {"numpy", "plotext", "matplotlib"},
    "exporting": {"numpy", "onnx", "safetensors", "torch"},
    "reporting": {"numpy"},
    "zoo": {"numpy", "torch"},
    "library": {"numpy"},
    "serving": {"numpy", "starlette", "uvicorn"},
    "cli": {"numpy", "click", "tqdm", "starlette", "uvicorn"},
}
OUR_PACKAGES = {
    "numpy", "torch", "tokenizers", "safetensors", "click", "tqdm", "pooch", "threadpoolctl",
    "constriction", "outlines_core", "pydivsufsort", "plotext", "matplotlib",
    "onnx",
    "starlette", "uvicorn",
}  # fmt: skip


def files():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    """Every module imported anywhere in the file, and whether it is at the top level."""
    at_top = set(tree.body)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module]
            if node.module == "charlm":
                names = [f"charlm.{alias.name}" for alias in node.names]
        for name in names:
            yield name, node in at_top


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(path):
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    assert room in ROOMS, f"{room} has no place in the table of rooms"
    order = list(ROOMS)
    for name, _ in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, *rest = name.split(".")
        if top == "charlm":
            other = rest[0]
            if other == "__version__":
                continue
            assert order.index(other) <= order.index(room), f"{room} imports {other}"
        elif top in OUR_PACKAGES:
            assert top in ROOMS[room], f"{room} imports {top}"
        else:
            assert top in sys.stdlib_module_names, f"{room} imports {top}"


def test_every_room_in_the_table_is_there():
    assert set(ROOMS) == {room_of(path) for path in files()} - {"__init__", "__main__"}


COPIED = PACKAGE / "exporting" / "charlm_step.py"  # for others, and never imported here


def test_torch_is_imported_at_the_top_only_where_something_learns():
    for path in set(files()) - {COPIED}:
        for name, at_top in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if name.split(".")[0] == "torch" and at_top:
                learner = path == PACKAGE / "adaptation" / "learner.py"
                assert learner or room_of(path) == "training", path


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    cell = path.parent.name == "cells" and path.stem not in ("cell", "initial", "__init__")
    assert lines <= (120 if cell else 400)


def test_there_is_no_room_without_a_name():
    names = {part.removesuffix(".py") for path in files() for part in path.parts}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "misc"})


def imported_after(code):
    program = f"{code}\nimport sys\nprint(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_importing_the_command_line_imports_no_heavy_package():
    found = imported_after("import charlm.cli")
    assert "click" in found
    assert found.isdisjoint({"torch", "numpy", "tokenizers", "safetensors", "pooch", "tqdm"})


def test_every_commands_module_is_light():
    found = imported_after(
        "import charlm.cli, click\n"
        "ctx = click.Context(charlm.cli.cli)\n"
        "for name in charlm.cli.COMMANDS: assert charlm.cli.cli.get_command(ctx, name)"
    )
    assert found.isdisjoint({"torch", "numpy", "tokenizers", "safetensors", "pooch", "tqdm"})


PICKLING = {("torch", "load"), ("torch", "save"), ("np", "load"), ("np", "save")}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_pickled_or_evaluated(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert {name.split(".")[0] for name, _ in imports(tree)}.isdisjoint(
        {"pickle", "marshal", "shelve", "dbm"}
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            assert not (isinstance(called, ast.Name) and called.id in ("eval", "exec", "compile"))
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                assert (called.value.id, called.attr) not in PICKLING
