"""Fixtures of several rooms: small texts, a model that is a table, a way to run the command."""

import os
import signal

# A shell runs what is in its background with SIGINT ignored, and children would inherit that.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )

# The networks of the tests are too small to share between threads, and each core has its worker.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import pytest
import torch
from support import commands, paths
from support.engines import TableEngine

torch.set_num_threads(1)


@pytest.fixture
def table_engine():
    """A random table over 7 ids."""
    return TableEngine(np.random.default_rng(0).standard_normal((8, 7)))


@pytest.fixture
def uniform_engine():
    """Every id equally likely, always."""
    return TableEngine(np.zeros((9, 8)))


@pytest.fixture
def cycle_engine():
    """0, 1, 2, 0, 1, 2, ... with certainty; what comes first is 0."""
    logits = np.full((4, 3), -50.0)
    for before, after in ((3, 0), (0, 1), (1, 2), (2, 0)):
        logits[before, after] = 50.0
    return TableEngine(logits)


@pytest.fixture(scope="session")
def shakespeare():
    """The path of tiny Shakespeare."""
    path = paths.TEXTS / "tinyshakespeare.txt"
    if not path.exists():
        pytest.skip("../shared/data/tinyshakespeare.txt is not on this machine")
    return path


@pytest.fixture(scope="session")
def charlm():
    """Runs `charlm ARGS` in a process of its own; text in, bytes out."""
    return commands.charlm


@pytest.fixture(scope="session")
def corpus(charlm, tmp_path_factory):
    """A small corpus directory that `charlm prep` made; read only."""
    folder = tmp_path_factory.mktemp("corpus")
    sentences = [
        "the king shall have his own again.",
        "what say you to that, my lord?",
        "i know not; the night is long.",
    ]
    text = "\n".join(sentences[(i * i + i // 3) % 3] for i in range(300))
    done = charlm("prep", "-", "-o", folder / "data", stdin=text)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "data"


@pytest.fixture(scope="session")
def model(charlm, corpus, tmp_path_factory):
    """A run trained for a moment on `corpus`, a network without counts; read only."""
    return _trained(charlm, corpus, tmp_path_factory.mktemp("model") / "run", "--ngram", 0)


@pytest.fixture(scope="session")
def mixed_model(charlm, corpus, tmp_path_factory):
    """The same with counts, which know the short text by heart; read only."""
    return _trained(charlm, corpus, tmp_path_factory.mktemp("mixed_model") / "run", "--ngram", 3)


def _trained(charlm, corpus, run, *options):
    done = charlm(
        "train", corpus, "-o", run, "--steps", 150, "--seed", 1, "--cell", "gru", "--width", 32,
        "--lr", 0.008, "--batch", 8, "--context", 32, "--device", "cpu", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return run


@pytest.fixture(scope="session")
def both_sides_model(charlm, corpus, tmp_path_factory):
    """A bidirectional run trained for a moment on `corpus`; read only."""
    run = tmp_path_factory.mktemp("both_sides_model") / "run"
    done = charlm(
        "train", corpus, "-o", run, "--bidirectional", "--steps", 200, "--seed", 1, "--cell", "gru",
        "--width", 32, "--lr", 0.008, "--batch", 8, "--context", 32, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return run


@pytest.fixture(scope="session")
def names_model(charlm, tmp_path_factory):
    """A run whose records are lines: made-up names; read only."""
    folder = tmp_path_factory.mktemp("names")
    names = ["anna", "annika", "bertha", "carl", "dora", "emil", "frida", "gustav"] * 40
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    done = charlm("prep", folder / "names.txt", "-o", folder / "data", "--records", "line")
    assert done.returncode == 0, done.stderr.decode()
    done = charlm(
        "train", folder / "data", "-o", folder / "run", "--steps", 150, "--seed", 1,
        "--width", 32, "--batch", 8, "--context", 16, "--device", "cpu", "--ngram", 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"
