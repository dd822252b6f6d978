"""`charlm train --tensorboard`: TensorBoard reads what the log has."""

import itertools
import json
import os
import subprocess
import sys

import pytest

SMALL = ("--width", 8, "--batch", 4, "--context", 16, "--seed", 1, "--device", "cpu")


@pytest.fixture
def scalars():
    """Reads the scalars in a directory of event files: by name, the updates and the values."""
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not here"
    )

    def read(path):
        found = reading.EventAccumulator(str(path))
        found.Reload()
        return {
            name: [(event.step, event.value) for event in found.Scalars(name)]
            for name in found.Tags()["scalars"]
        }

    return read


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_board_has_what_the_log_has(charlm, corpus, scalars, tmp_path):
    run, board = tmp_path / "run", tmp_path / "board"
    done = charlm("train", corpus, "-o", run, "--steps", 40, "--tensorboard", board, *SMALL)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
    found, entries = scalars(board), log(run)
    for name, key in (
        ("loss/train_nats_per_token", "loss_nats"),
        ("bits_per_char/train", "bits_per_char"),
        ("bits_per_char/val", "val_bits_per_char"),
        ("learning_rate", "lr"),
    ):
        wanted = [(entry["steps"], entry[key]) for entry in entries if key in entry]
        assert wanted
        assert found[name] == [(steps, pytest.approx(value, rel=1e-6)) for steps, value in wanted]
    reports = [entry for entry in entries if "chars" in entry]
    speeds = [
        (after["chars"] - before["chars"]) / (after["elapsed_s"] - before["elapsed_s"])
        for before, after in itertools.pairwise(reports)
    ]
    assert [value for _, value in found["chars_per_second"]] == pytest.approx(speeds, rel=1e-4)
    resumed = charlm("train", "--resume", run, "--steps", 80, "--tensorboard", board)
    assert resumed.returncode == 0, resumed.stderr.decode()
    steps = [step for step, _ in scalars(board)["learning_rate"]]
    assert steps == [entry["steps"] for entry in log(run) if "lr" in entry]


def test_each_seed_has_a_directory(charlm, corpus, scalars, tmp_path):
    board = tmp_path / "board"
    done = charlm(
        "train", corpus, "-o", tmp_path / "run", "--seeds", 2, "--steps", 12, *SMALL,
        "--tensorboard", board,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert sorted(path.name for path in board.iterdir()) == ["seed-1", "seed-2"]
    assert all("bits_per_char/val" in scalars(path) for path in board.iterdir())


def test_what_to_install_is_told_before_anything_is_made(corpus, tmp_path):
    without = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from charlm.cli import main; sys.exit(main())"
    )
    asked = ["train", corpus, "-o", "run", "--steps", "1", "--tensorboard", "board"]
    done = subprocess.run(
        [sys.executable, "-c", without, *map(str, asked)],
        cwd=tmp_path, capture_output=True, env=os.environ, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("charlm: tensorboard, needed")
    assert b"pip install tensorboard" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_directory(charlm, corpus, scalars, tmp_path):
    (tmp_path / "board").write_text("")
    done = charlm(
        "train", corpus, "-o", "run", "--steps", 1, "--tensorboard", "board", cwd=tmp_path
    )
    assert done.returncode == 1
    assert b"board is a file" in done.stderr
    assert not (tmp_path / "run").exists()
