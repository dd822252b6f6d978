"""`charlm zoo` through real processes: rows, what is kept and what is not, failures, signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from charlm import zoo
from charlm.corpus import Corpus
from charlm.training import directory

QUICK = ["--budget", "1s", "--parameters", "5000", "--seed", "1"]
FIELDS = {
    "cell", "layers", "width", "parameters", "train_chars_per_s", "val_bits_per_char",
    "val_nats_per_char", "val_chars", "sample_chars_per_s", "error",
}  # fmt: skip
FIGURES = FIELDS - {"cell", "layers", "width", "parameters", "error"}

# Two cells that are registered and nothing more; one of them cannot be trained.
PROGRAM = """
import sys
from charlm.cells import CELLS
from charlm.cells.elman import Elman

class Doomed(Elman):
    def recur(self, xp, w, u, state):
        y, state = super().recur(xp, w, u, state)
        return y * float("nan"), state
    scan = Elman.__mro__[1].scan

CELLS["doomed"] = Doomed("tanh")
CELLS["toy"] = Elman("tanh")
from charlm.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def kept(charlm, corpus, tmp_path_factory):
    """A zoo of two cells and the directory with its runs; read only."""
    out = tmp_path_factory.mktemp("zoo") / "out"
    done = charlm("zoo", corpus, "--cell", "rnn,gru", "-o", out, *QUICK)
    assert done.returncode == 0, done.stderr.decode()
    return done, out


@pytest.fixture
def with_toys(tmp_path):
    """Starts `charlm zoo ARGS` with the cells of PROGRAM.

    Temporary files go to tmp_path/"tmp", and stdout to tmp_path/"stdout".
    """
    program = tmp_path / "with_toys.py"
    program.write_text(PROGRAM)
    (tmp_path / "tmp").mkdir()

    def start(*args):
        with (tmp_path / "stdout").open("wb") as stdout:
            return subprocess.Popen(
                [sys.executable, program, "zoo", *map(str, args)],
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
            )

    return start


def test_the_table_is_a_header_and_a_row_for_each_cell(kept, corpus):
    vocabulary = Corpus(corpus).tokenizer.vocabulary
    header, *rows = kept[0].stdout.decode().splitlines()
    assert header.split() == [
        "CELL", "SHAPE", "PARAMETERS", "TRAIN_CHARS/S", "BITS/CHAR", "NATS/CHAR", "SAMPLE_CHARS/S",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["rnn", "gru"]
    for row in rows:
        assert len(row) == len(header)
        cell, shape, parameters, *figures = row.split()
        wanted = zoo.contestant(cell, vocabulary, 5000)
        assert shape == f"{wanted.config.layers}x{wanted.config.width}"
        assert int(parameters) == wanted.parameters()
        train, bits, nats, sample = map(float, figures)
        assert train > 0
        assert sample > 0
        assert abs(bits - nats / 0.6931) < 0.001


def test_a_run_that_another_process_trains_is_left_alone(charlm, corpus, tmp_path):
    with directory.held(tmp_path / "zoo" / "gru"):
        done = charlm("zoo", corpus, "--cell", "rnn,gru", "-o", tmp_path / "zoo", *QUICK)
        assert done.returncode == 1
        assert "another process is training in" in done.stderr.decode()
        assert done.stdout == b""
        assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["gru"]


def test_it_says_on_stderr_what_it_does(kept):
    told = kept[0].stderr.decode()
    for words in ("cell 1 of 2: rnn", "cell 2 of 2: gru", "validation", "1 s each"):
        assert words in told


def test_kept_runs_are_runs_with_the_figures_of_the_table(charlm, kept):
    done, out = kept
    for row in done.stdout.decode().splitlines()[1:]:
        cell, _, parameters, _, bits, *_ = row.split()
        about = json.loads(charlm("info", out / cell, "--json").stdout)
        assert about["network"]["cell"] == cell
        assert about["parameters"] == int(parameters)
        assert about["training"]["budget"] == 1
        assert about["training"]["seed"] == 1
        assert f"{about['history']['val_bits_per_char']:.4f}" == bits
        assert charlm("sample", out / cell, "--length", 10).returncode == 0


def test_existing_runs_are_replaced_by_force_alone(charlm, corpus, kept):
    """Refused before anything is trained, though the first of the cells has no run yet."""
    out = kept[1]
    before = (out / "gru" / "model.safetensors").read_bytes()
    done = charlm("zoo", corpus, "--cell", "lstm,gru", "-o", out, *QUICK)
    assert done.returncode == 1
    assert f"{out / 'gru'} exists already" in done.stderr.decode()
    assert done.stdout == b""
    assert not (out / "lstm").exists()
    assert (out / "gru" / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_registered_cells_are_in_and_one_failure_is_one_row(with_toys, corpus, tmp_path):
    quick = ["--budget", "1s", "--parameters", "5000"]
    process = with_toys(corpus, "--json", "--cell", "doomed", "--cell", "toy,doomed", *quick)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    doomed, toy = map(json.loads, (tmp_path / "stdout").read_text().splitlines())
    assert set(doomed) == set(toy) == FIELDS
    assert (doomed["cell"], toy["cell"]) == ("doomed", "toy")
    assert {doomed[figure] for figure in FIGURES} == {None}
    assert all(toy[figure] > 0 for figure in FIGURES)
    assert "--lr" in doomed["error"]
    assert toy["error"] is None
    told = stderr.decode()
    assert "doomed failed" in told
    assert re.search(r"^seed \d+$", told, re.MULTILINE)
    assert folders(tmp_path) == []


@pytest.mark.slow
def test_ctrl_c_leaves_the_rows_that_are_finished_and_runs_that_go_on(with_toys, corpus, tmp_path):
    out, stdout = tmp_path / "out", tmp_path / "stdout"
    small = ["--parameters", 5000, "--seed", 1]
    process = with_toys(corpus, "--cell", "doomed,toy", "--budget", "10m", "-o", out, *small)
    log = out / "toy" / "log.jsonl"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2, process)
    # Rows come as they are found, not at the end.
    header, doomed = stdout.read_text().splitlines()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout.read_text().splitlines() == [header, doomed]
    assert header.split()[0] == "CELL"
    assert doomed.split()[0] == "doomed"
    assert doomed.split()[3:] == ["-"] * 4
    assert f"charlm train --resume {out / 'toy'}" in stderr.decode()
    assert (out / "toy" / "last.safetensors").exists()


def test_a_signal_at_any_moment_removes_the_temporary_directory(with_toys, corpus, tmp_path):
    process = with_toys(corpus, "--cell", "toy", "--budget", "10m", "--seed", 1)
    wait_for(lambda: folders(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in stderr
    assert folders(tmp_path) == []


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "charlm prep"),
        (["TEXT"], 1, "charlm prep"),
        (["CORPUS", "--cell", "lstn"], 2, "lstm"),
        (["CORPUS", "--cell", "gru,"], 2, "--cell"),
        (["CORPUS", "--budget", "soon"], 2, "length of time"),
        (["CORPUS", "--parameters", "0"], 2, "--parameters"),
        (["CORPUS", "--seed", "-1"], 2, "--seed"),
        (["CORPUS", "--force"], 2, "-o DIR"),
        (["CORPUS", "-o", "TEXT"], 1, "text.txt"),
        ([], 2, "CORPUS"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, corpus, tmp_path, args, code, words):
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n")
    places = {"CORPUS": corpus, "TEXT": tmp_path / "text.txt"}
    done = charlm("zoo", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""


def folders(tmp_path):
    """The zoo's temporary directories; torch may have made some of its own beside them."""
    return list((tmp_path / "tmp").glob("charlm-zoo-*"))


def wait_for(condition, process, timeout_s=60):
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)
