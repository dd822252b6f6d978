"""What several tests share: small texts, a model that is a table, a way to run the command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# The networks of the tests are too small to share between threads, and the cores may be busy.
torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared" / "data"


class TableEngine:
    """A bigram table with the interface of an engine; its state counts the ids read, by row."""

    def __init__(self, logits):
        self.logits = np.asarray(logits, dtype=np.float32)  # (V + 1, V)
        self.vocabulary = self.logits.shape[1]
        self.start = self.vocabulary

    def initial_state(self, batch):
        return ((np.zeros(batch, dtype=int),),)

    def step(self, ids, state):
        ((reads,),) = state
        return self.logits[ids], ((reads + 1,),)

    def join(self, states):
        return ((np.concatenate([reads for ((reads,),) in states]),),)


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
    path = SHARED / "tinyshakespeare.txt"
    if not path.exists():
        pytest.skip("../shared/data/tinyshakespeare.txt is not on this machine")
    return path


@pytest.fixture(scope="session")
def charlm():
    """Runs `charlm ARGS` in a process of its own; text in and out."""

    def run(*args, stdin="", cwd=None, timeout=120):
        return subprocess.run(
            [sys.executable, "-m", "charlm", *map(str, args)],
            input=stdin if isinstance(stdin, bytes) else stdin.encode("utf-8"),
            capture_output=True,
            cwd=cwd,
            timeout=timeout,
        )

    return run


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
    """A run trained for a moment on `corpus`; read only."""
    run = tmp_path_factory.mktemp("model") / "run"
    done = charlm(
        "train", corpus, "-o", run, "--steps", 150, "--seed", 1, "--cell", "gru", "--width", 32,
        "--lr", 0.008, "--batch", 8, "--context", 32, "--device", "cpu",
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
        "--width", 32, "--batch", 8, "--context", 16, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"
