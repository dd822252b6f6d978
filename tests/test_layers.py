"""The import rule, read from the syntax tree; and what stays unimported in a fresh process."""

import ast
import sys

from support.paths import ROOT

PACKAGE = ROOT / "charlm"

# From the bottom up: a room imports itself and rooms above it in this table, and these packages.
ROOMS = {
    "errors": set(),
    "directories": set(),
    "packages": set(),
    "amounts": set(),
    "signals": set(),
    "failures": set(),
    "process": {"numpy", "threadpoolctl", "torch"},
    "streams": set(),
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
    "ngram": {"numpy"},
    "mixture": {"numpy"},
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


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


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


def test_a_room_imports_only_what_lies_below_it():
    order = list(ROOMS)
    wrong = []
    for path in files():
        room = room_of(path)
        if room in ("__init__", "__main__"):
            continue
        assert room in ROOMS, f"{room} has no place in the table of rooms"
        for name, _ in imports(tree_of(path)):
            top, *rest = name.split(".")
            if name == "charlm.__version__":
                allowed = True
            elif top == "charlm":
                allowed = order.index(rest[0]) <= order.index(room)
            elif top in OUR_PACKAGES:
                allowed = top in ROOMS[room]
            else:
                allowed = top in sys.stdlib_module_names
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_every_room_in_the_table_is_there():
    assert set(ROOMS) == {room_of(path) for path in files()} - {"__init__", "__main__"}


COPIED = PACKAGE / "exporting" / "charlm_step.py"  # for others, and never imported here


def test_torch_is_imported_at_the_top_only_where_something_learns():
    for path in set(files()) - {COPIED}:
        for name, at_top in imports(tree_of(path)):
            if name.split(".")[0] == "torch" and at_top:
                learner = path == PACKAGE / "adaptation" / "learner.py"
                assert learner or room_of(path) == "training", path


def test_files_are_short():
    long = []
    for path in files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        cell = path.parent.name == "cells" and path.stem not in ("cell", "initial", "__init__")
        if lines > (200 if cell else 400):
            long.append(f"{path.relative_to(ROOT)} has {lines} lines")
    assert long == []


def test_there_is_no_room_without_a_name():
    names = {part.removesuffix(".py") for path in files() for part in path.parts}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "misc"})


EVALUATING = {"eval", "exec", "compile", "torch.load", "torch.save", "np.load", "np.save"}


def test_nothing_is_pickled_or_evaluated():
    found = []
    for path in files():
        tree = tree_of(path)
        found += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name, _ in imports(tree)
            if name.split(".")[0] in ("pickle", "marshal", "shelve", "dbm")
        ]
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        found += [
            f"{path.relative_to(ROOT)} calls {name}"
            for name in map(ast.unparse, calls)
            if name in EVALUATING
        ]
    assert found == []
