"""A model of counts alone does what any other does, and says what it can't."""

import json
import math

import pytest

from charlm import model_file

TEXT = "what say you to that, my lord?\ni know not; the king is long.\n"


@pytest.fixture(scope="module")
def counts_model(charlm, corpus, tmp_path_factory):
    run = tmp_path_factory.mktemp("counts") / "run"
    done = charlm("train", corpus, "-o", run, "--cell", "none")
    assert done.returncode == 0, done.stderr.decode()
    return run


def figures(charlm, *args, **more):
    done = charlm(*args, "--json", **more)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def test_eval_finds_what_training_told(charlm, corpus, counts_model, tmp_path):
    history = model_file.load(counts_model).history
    (found,) = figures(charlm, "eval", counts_model, corpus, "--parts")
    assert found["nats_per_char"] == pytest.approx(history["val_nats_per_char"], rel=1e-5)
    even = math.log(model_file.load(counts_model).tokenizer.vocabulary)
    assert found["parts"]["network"]["nats_per_char"] == pytest.approx(even, rel=1e-5)
    (again,) = figures(charlm, "train", corpus, "-o", tmp_path / "again", "--cell", "none")
    assert again["val_nats_per_char"] == history["val_nats_per_char"]
    assert again["steps"] == 0


def test_two_commands_have_one_figure(charlm, counts_model):
    (whole,) = figures(charlm, "eval", counts_model, stdin=TEXT)
    lines = figures(charlm, "score", counts_model, "--running", stdin=TEXT)
    assert sum(line["bits"] for line in lines) == pytest.approx(
        whole["bits_per_char"] * len(TEXT), rel=1e-4
    )


@pytest.mark.parametrize("adapt", [(), ("--adapt",), ("--adapt", "ngram")])
def test_what_is_compressed_comes_back(charlm, counts_model, adapt):
    packed = charlm("compress", counts_model, *adapt, stdin=TEXT * 3)
    assert packed.returncode == 0, packed.stderr
    assert charlm("decompress", counts_model, stdin=packed.stdout).stdout.decode() == TEXT * 3


def test_samples_go_on_and_do_not_depend_on_each_other(charlm, counts_model, tmp_path):
    common = ("--prompt", "the king", "--length", 60, "--seed", 4)
    alone = charlm("sample", counts_model, *common).stdout.decode()
    (first, *_) = figures(charlm, "sample", counts_model, *common, "-n", 5)
    assert first["text"] in alone
    state = tmp_path / "state"
    charlm("sample", counts_model, "--prompt", "the ki", "--length", 0, "--save-state", state)
    on = charlm("sample", counts_model, "--state", state, *("--prompt", "ng", *common[2:]))
    assert alone.endswith(on.stdout.decode().removeprefix("ng"))


@pytest.mark.parametrize(
    "args",
    [["next", "--prompt", "the"], ["info"], ["score", "--adapt", "--each"], ["inspect"],
     ["compare", "MODEL", "-"], ["inspect", "--memory", "--back", "20"],
     ["export", "--to", "arpa", "-o", "-"]],
    ids=lambda args: " ".join(args),
)  # fmt: skip
def test_commands_that_read_a_model_read_it(charlm, counts_model, args):
    name, *more = [counts_model if arg == "MODEL" else arg for arg in args]
    done = charlm(name, counts_model, *more, stdin=TEXT)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["inspect", "MODEL", "--units"], 1, "counts alone"),
        (["inspect", "MODEL", "--gradient"], 1, "counts alone"),
        (["export", "MODEL", "--to", "onnx", "-o", "x"], 1, "counts alone"),
        (["export", "MODEL", "--to", "torch", "-o", "x"], 1, "counts alone"),
        (["report", "MODEL", "-o", "x"], 1, "counts alone"),
        (["plot", "MODEL"], 1, "counts alone"),
        (["eval", "MODEL", "--adapt", "network"], 1, "no network"),
        (["train", "--resume", "MODEL"], 1, "no run to go on with"),
        (["train", "CORPUS", "--init", "MODEL", "-o", "x"], 2, "counts alone"),
        (["train", "CORPUS", "-o", "x", "--cell", "none", "--ngram", "0"], 2, "counts alone"),
        (["train", "CORPUS", "-o", "x", "--cell", "none", "--seeds", "2"], 2, "counts alone"),
        (["train", "CORPUS", "-o", "x", "--cell", "none", "--width", "8"], 1, "counts alone"),
        (["train", "CORPUS", "-o", "x", "--cell", "none,lstm"], 1, "stands alone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_needs_a_network_says_so(charlm, counts_model, corpus, tmp_path, args, status, words):
    places = {"MODEL": counts_model, "CORPUS": corpus, "x": tmp_path / "x"}
    done = charlm(*(places.get(arg, arg) for arg in args), stdin=TEXT)
    assert done.returncode == status, done.stderr.decode()
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        (["--budget", "2s"], True),
        (["--budget", "2s", "--seed", "3", "--ngram", "4"], True),
        (["--budget", "2s", "--ngram", "0", "--steps", "1"], False),
        (["--budget", "2s", "--width", "8"], False),
        (["--budget", "2s", "--lr", "0.01", "--steps", "1"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_budget_too_short_for_a_network_counts(charlm, corpus, tmp_path, options, counted):
    done = charlm("train", corpus, "-o", tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr.decode()
    model = model_file.load(tmp_path / "run")
    assert (model.network.parameters() == 0) == counted
    assert (model.ngram is not None) == ("0" not in options)


def test_records_and_no_validation_text(charlm, tmp_path):
    names = "\n".join(["anna", "annika", "bertha", "carl", "dora"] * 30) + "\n"
    charlm("prep", "-", "-o", tmp_path / "data", "--records", "line", "--val", 0, stdin=names)
    (outcome,) = figures(
        charlm, "train", tmp_path / "data", "-o", tmp_path / "run", "--cell", "none"
    )
    assert outcome["val_nats_per_char"] is None
    done = charlm("sample", tmp_path / "run", "-n", 50, "--seed", 1)
    drawn = done.stdout.decode().split()
    known = [name for name in drawn if name in {"anna", "annika", "bertha", "carl", "dora"}]
    assert len(known) > len(drawn) / 2


def test_the_zoo_has_a_row_of_counts(charlm, corpus):
    done = charlm("zoo", corpus, "--cell", "none", "--budget", "1s", "--seed", 1)
    assert done.returncode == 0, done.stderr.decode()
    cell, shape, parameters, trained, *reached = done.stdout.decode().splitlines()[1].split()
    assert (cell, shape, parameters, trained) == ("none", "-", "0", "-")
    assert all(float(figure) > 0 for figure in reached)
