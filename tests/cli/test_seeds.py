"""`charlm train --seeds` through real processes."""

import json
import math
import signal
import statistics
import subprocess
import sys

import pytest
from support.commands import start, wait_for

SMALL = ["--width", "16", "--batch", "4", "--context", "16", "--device", "cpu"]

# Training in which the run of seed 2 fails.
PROGRAM = """
import sys
from charlm.training.run import Run

usual = Run._check

def check(self, loss_nats):
    usual(self, float("nan") if self.config.seed == 2 and self.trainer.steps else loss_nats)

Run._check = check
from charlm.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def three(charlm, corpus, tmp_path_factory):
    """A run of three seeds; read only."""
    run = tmp_path_factory.mktemp("three") / "run"
    train = ("train", corpus, "-o", run, "--seeds", 3, "--seed", 5, "--steps", 30, "--json")
    done = charlm(*train, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return done, run


def about(charlm, run):
    return json.loads(charlm("info", run, "--json").stdout)


def test_each_seed_has_a_run_and_the_best_model_is_kept(charlm, three):
    done, run = three
    found = json.loads(done.stdout)
    assert [each["seed"] for each in found["seeds"]] == [5, 6, 7]
    figures = []
    for each in found["seeds"]:
        assert sorted(path.name for path in (run / f"seed-{each['seed']}").iterdir()) == [
            "last.safetensors", "log.jsonl", "model.safetensors",
        ]  # fmt: skip
        inside = about(charlm, each["run"])
        assert inside["training"]["seed"] == each["seed"]
        assert inside["history"]["val_nats_per_char"] == each["val_nats_per_char"]
        assert (each["steps"], each["error"], each["signal"]) == (30, None, None)
        figures.append(each["val_nats_per_char"])
    assert found["mean_nats_per_char"] == pytest.approx(statistics.fmean(figures))
    assert found["deviation_nats_per_char"] == pytest.approx(statistics.stdev(figures))
    assert found["mean_bits_per_char"] == pytest.approx(statistics.fmean(figures) / math.log(2))
    assert found["best"] == 5 + figures.index(min(figures))
    kept = about(charlm, run)
    assert kept["training"]["seed"] == found["best"]
    assert kept["history"]["val_nats_per_char"] == min(figures)
    assert charlm("sample", run, "--length", 10).returncode == 0


def test_results_are_told_as_they_come_and_together_at_the_end(three):
    done, run = three
    lines = done.stderr.decode().splitlines()
    for place, seed in enumerate((5, 6, 7), 1):
        begin = lines.index(f"seed {seed}, {place} of 3")
        assert any("30 updates in" in line for line in lines[begin:])
    assert lines[-1].startswith("3 seeds: mean ")
    assert "standard deviation" in lines[-1]
    assert lines[-1].endswith(f"-> {run}")


def test_a_run_that_has_ended_says_how_to_go_further(charlm, three):
    done = charlm("train", "--resume", three[1])
    assert done.returncode == 1
    assert f"charlm train --resume {three[1] / 'seed-5'}" in done.stderr.decode()
    done = charlm("train", "--resume", three[1], "--steps", 50)
    assert done.returncode == 2
    assert b"--steps" in done.stderr


def test_a_text_is_prepared_once_for_all(charlm, tmp_path):
    text, run = "the cat sat on the mat.\n" * 200, tmp_path / "run"
    train = ("train", "-", "-o", run, "--seeds", 2, "--seed", 1, "--steps", 3)
    done = charlm(*train, *SMALL, stdin=text)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert sorted(path.name for path in run.iterdir()) == [
        "corpus", "model.safetensors", "seed-1", "seed-2", "seeds.json",
    ]  # fmt: skip
    run.rename(tmp_path / "moved")
    further = charlm("train", "--resume", tmp_path / "moved" / "seed-2", "--steps", 5)
    assert further.returncode == 0, further.stderr.decode()


@pytest.mark.slow
def test_ctrl_c_stops_all_and_resuming_goes_on_with_all(charlm, corpus, tmp_path):
    steps = ["--steps", 150, "--seeds", 3, "--seed", 1, *SMALL]
    assert charlm("train", corpus, "-o", tmp_path / "whole", *steps).returncode == 0
    cut = tmp_path / "cut"
    process = start("train", corpus, "-o", cut, "--json", *steps)
    log = cut / "seed-2" / "log.jsonl"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    found = json.loads(stdout)
    assert (len(found["seeds"]), found["best"], found["signal"]) == (2, 1, signal.SIGINT)
    assert stderr.decode().splitlines()[-1].endswith(f"charlm train --resume {cut}")
    assert charlm("sample", cut, "--length", 5).returncode == 0
    done = charlm("train", "--resume", cut, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert [each["steps"] for each in json.loads(done.stdout)["seeds"]] == [150] * 3
    hashes = [
        (run / f"seed-{seed}" / "last.safetensors", seed)
        for run in (tmp_path / "whole", cut)
        for seed in (1, 2, 3)
    ]
    loaded = [weights(path) for path, _ in hashes]
    assert loaded[:3] == loaded[3:]


@pytest.mark.slow
def test_one_failure_is_told_and_the_others_go_on(charlm, corpus, tmp_path):
    program = tmp_path / "failing.py"
    program.write_text(PROGRAM)
    steps = ["--steps", 5, "--seeds", 3, "--seed", 1, *SMALL]
    train = ["train", corpus, "-o", tmp_path / "run", "--json", *steps]
    done = subprocess.run([sys.executable, program, *map(str, train)], capture_output=True)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["error"] is None for each in found["seeds"]] == [True, False, True]
    assert found["best"] in (1, 3)
    told = done.stderr.decode()
    assert "seed 2 failed: the loss" in told
    assert "2 seeds: mean" in told
    assert "1 of 3 seeds failed" in told
    assert "Traceback" not in told


def test_an_existing_run_is_replaced_by_force_alone(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    train = ["train", corpus, "-o", run, "--steps", 2, "--seed", 1, *SMALL]
    assert charlm(*train, "--seeds", 3).returncode == 0
    before = (run / "model.safetensors").read_bytes()
    refused = charlm(*train, "--seeds", 2)
    assert refused.returncode == 1
    assert b"--force" in refused.stderr
    assert (run / "model.safetensors").read_bytes() == before
    assert charlm(*train, "--seeds", 2, "--force").returncode == 0
    assert not (run / "seed-3").exists()
    assert charlm(*train, "--force").returncode == 0
    assert not (run / "seeds.json").exists()
    assert not (run / "seed-1").exists()


def test_several_seeds_go_on_from_a_model(charlm, model, tmp_path):
    text = "the king will have a café.\n" * 100
    train = ("train", "-", "--init", model, "-o", tmp_path / "run", "--seeds", 2, "--steps", 3)
    done = charlm(*train, "--seed", 1, "--device", "cpu", stdin=text)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.count(b"new symbols") == 1
    assert about(charlm, tmp_path / "run")["history"]["init"]["path"] == str(model)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["CORPUS", "-o", "r", "--seeds", "1"], 2, "--seeds"),
        (["CORPUS", "-o", "r", "--seeds", "many"], 2, "--seeds"),
        (["--resume", "r", "--seeds", "2"], 2, "--seeds"),
        (["CORPUS", "-o", "r", "--seeds", "2", "--seed", str(2**63 - 1)], 1, "seed is"),
        (["BARE", "-o", "r", "--seeds", "2"], 1, "--val"),
        (["CORPUS", "-o", "r", "--seeds", "2", "--tied", "--bidirectional"], 1, "tied"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, corpus, tmp_path, args, code, words):
    if "BARE" in args:
        prep = ("prep", "-", "-o", tmp_path / "bare", "--val", 0, "--test", 0)
        charlm(*prep, stdin="abc def\n" * 200)
    places = {"CORPUS": corpus, "BARE": tmp_path / "bare"}
    done = charlm("train", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
    assert not (tmp_path / "r").exists()


def weights(path):
    from safetensors.numpy import load_file

    return {name: value.tolist() for name, value in load_file(path).items()}
