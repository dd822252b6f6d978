"""Runs in this process: every knob changes something, devices, defaults, what is kept."""

import shutil
import time
from dataclasses import fields

import numpy as np
import pytest
import torch

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError, TrainingError
from charlm.training import begin, checkpoint
from charlm.training.standing import Listener

TEXT = "the cat sat on the mat; the dog sat on the log.\n" * 40
SMALL_NETWORK = {"width": 8}
SMALL_RUN = {"steps": 6, "seed": 1, "batch": 4, "context": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").write_text(TEXT)
    return prepare([folder / "text"], folder / "corpus", PrepConfig(val=0.2, test=0))


def run(corpus, out, *, network=None, training=None, listener=None):
    begin.prepare_directory(out, force=True)
    one = begin.begin(
        corpus,
        out,
        NetworkConfig(**SMALL_NETWORK | (network or {})),
        TrainingConfig(**SMALL_RUN | (training or {})),
        listener or Listener(),
        time.monotonic(),
    )
    return one, one.go()


def final_weights(one):
    return {name: w.detach().numpy().copy() for name, w in one.trainer.weights.items()}


def differ(a, b):
    return a.keys() != b.keys() or any(not np.array_equal(a[n], b[n]) for n in a)


CHANGES = [
    *[(key, {key: value}, {}) for key, value in {
        "cell": "gru", "width": 9, "layers": 2, "embedding": 4, "norm": "rms", "residual": True,
        "tied": True,
    }.items()],
    *[(key, {}, {key: value}) for key, value in {
        "steps": 7, "batch": 3, "context": 7, "lr": 1e-3, "schedule": "constant", "warmup": 0.9,
        "optimizer": "sgd", "weight_decay": 0.5, "clip": 1e-3, "dropout": 0.9, "seed": 2,
        "precision": "bfloat16",
    }.items()],
]  # fmt: skip


@pytest.mark.parametrize(("knob", "network", "training"), CHANGES, ids=[c[0] for c in CHANGES])
def test_every_knob_of_the_result_changes_something(data, tmp_path, knob, network, training):
    # The residual needs somewhere to go: an embedding as wide as the network.
    common = {"embedding": 8} if knob in ("residual", "tied") else {}
    plain, _ = run(data, tmp_path / "a", network=common)
    other, _ = run(data, tmp_path / "b", network=common | network, training=training)
    assert differ(final_weights(plain), final_weights(other))


def test_the_other_knobs_are_tested_elsewhere():
    """Whoever adds a knob must say here or above what it does."""
    elsewhere = {
        "budget", "epochs", "device", "eval_every", "patience", "peek", "compile",
    }  # fmt: skip
    knobs = {f.name for group in (NetworkConfig, TrainingConfig) for f in fields(group)}
    assert knobs == elsewhere | {knob for knob, _, _ in CHANGES}


def test_the_same_knobs_give_the_same_weights(data, tmp_path):
    first, _ = run(data, tmp_path / "a")
    second, _ = run(data, tmp_path / "b")
    assert not differ(final_weights(first), final_weights(second))


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_a_compiled_step_gives_the_same_losses(data, tmp_path):
    plain, _ = run(data, tmp_path / "a")
    compiled, _ = run(data, tmp_path / "b", training={"compile": True})
    for name, weight in final_weights(plain).items():
        np.testing.assert_allclose(final_weights(compiled)[name], weight, rtol=1e-3, atol=1e-4)


def test_epochs_are_counted_in_whole_passes(data, tmp_path):
    one, _ = run(data, tmp_path / "a", training={"steps": None, "epochs": 2})
    assert one.trainer.tokens == 2 * data.size("train").tokens


def test_the_best_model_is_kept_though_a_later_one_is_worse(data, tmp_path):
    training = {"steps": 60, "eval_every": 5, "lr": 0.5, "schedule": "constant", "clip": 0}
    one, outcome = run(data, tmp_path / "a", training=training)
    kept = model_file.load(tmp_path / "a")
    assert kept.history["val_nats_per_char"] == outcome.best_nats_per_char
    assert kept.history["steps"] == one.standing.best_steps < 60


def test_a_corpus_without_validation_text_keeps_the_last_model(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    config = PrepConfig(val=0, test=0)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", config)
    one, outcome = run(corpus, tmp_path / "run")
    assert outcome.best_nats_per_char is None
    kept = model_file.load(tmp_path / "run")
    assert not differ(kept.weights, final_weights(one))


def test_a_loss_that_is_not_a_number_is_not_saved(data, tmp_path):
    training = {"steps": 50, "lr": 1e30, "optimizer": "sgd", "clip": 0}
    with pytest.raises(TrainingError, match="--lr"):
        run(data, tmp_path / "a", network={"cell": "rnn-relu"}, training=training)
    assert not (tmp_path / "a" / checkpoint.LAST_NAME).exists()


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    run(data, tmp_path / "a")
    last = tmp_path / "a" / checkpoint.LAST_NAME
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(last)


@pytest.mark.parametrize(
    ("tokens", "dropout"), [(100, 0.5), (49_999, 0.5), (50_000, 0.3), (250_000, 0.0)]
)
def test_dropout_by_the_length_of_the_text(tokens, dropout):
    assert begin.default_dropout(tokens) == dropout


def test_the_seed_it_chose_is_told_and_kept(data, tmp_path):
    said = []
    one, _ = run(data, tmp_path / "a", training={"seed": None}, listener=Listener(say=said.append))
    assert f"seed {one.config.seed}" in said
    assert model_file.load(tmp_path / "a").training["seed"] == one.config.seed


def test_auto_says_which_device_it_took():
    said = []
    device = begin.choose_device("auto", Listener(say=said.append))
    assert said
    assert device.type in said[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ConfigError, match="no cuda device"):
        begin.choose_device("cuda", Listener())
