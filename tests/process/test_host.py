"""A program that calls the library finds its process as it was; the command line tunes its own."""

import os
import subprocess
import sys

import pytest
from support.calls import CALLS
from support.paths import ROOT

THREADS = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
HOST = """\
import sys
import threadpoolctl, torch
from pathlib import Path
from support import calls
torch.set_num_threads(2)
torch.set_float32_matmul_precision("high")
before = calls.host()
assert 1 not in before["threads"].values(), before["threads"]
def check(call):
    after = calls.host()
    for name in before:
        if before[name] != after[name]:
            print(call, name, calls.changed(before[name], after[name]), sep=": ")
    return True
"""
CALL = """\
calls.HOST_IN_BETWEEN = lambda: check("between two pieces of a stream")
model = calls.Model.load(sys.argv[1] + "/run")
for name in sys.argv[2:]:
    calls.CALLS[name](model, Path(sys.argv[1]))
    check(name)
"""
THREADED = """\
from concurrent.futures import ThreadPoolExecutor
calls.HOST_IN_BETWEEN = lambda: True  # other threads are in the middle of a call
quick = sys.argv[2:-1] * 3  # all but train
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda name: calls.CALLS[name](model, Path(sys.argv[1])), quick))
check("in threads")
"""
LEARN = """\
from charlm import model_file
from charlm.compression import compress
from charlm.config import AdaptationConfig
from charlm.measuring.scorer import Scorer
import io
loaded = model_file.load(Path(sys.argv[1]) / "run")
for config in (AdaptationConfig(adapt="all", adapt_context=4), AdaptationConfig(cache=10)):
    list(Scorer(loaded, config=config).score(["the king shall"]))
    check("Scorer")
compress(loaded, io.BytesIO(b"the king shall"), config=config)
check("compress")
"""
IMPORT = """\
import importlib, pkgutil, charlm
for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
    if not module.name.endswith((".__main__", ".charlm_step")):
        importlib.import_module(module.name)
check("importing all of charlm")
"""
OWN = """\
import os, sys, threadpoolctl
from charlm.cli import main
main(["sample", sys.argv[1] + "/run", "--length", "5", "--seed", "1"])
print(*(pool["num_threads"] for pool in threadpoolctl.threadpool_info()
    if pool["user_api"] == "blas"))
print(os.environ["GOMP_SPINCOUNT"])
"""


@pytest.fixture
def folder(model, tmp_path):
    (tmp_path / "run").symlink_to(model)
    (tmp_path / "book.txt").write_text("the king shall have his own again.\n" * 60)
    return tmp_path


def said(program, folder, *words):
    """What the program prints in a process of its own, with two threads for everything."""
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    environment = {**os.environ, **THREADS, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, folder, *words],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_that_a_program_does_changes_its_process(folder):
    """Importing, every public call, several at once, and reading that learns."""
    calls = [*(name for name in CALLS if name != "train"), "train"]
    assert said(HOST + IMPORT + CALL + THREADED + LEARN, folder, *calls) == ""


def test_the_command_line_tunes_its_own_process(folder):
    """A small model is stepped by one thread of the two that are allowed."""
    *text, threads, spins = said(OWN, folder).splitlines()
    assert text
    assert set(threads.split()) == {"1"}
    assert spins == "3000"
