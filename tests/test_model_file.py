"""The one-file model: what is saved is what is loaded, and nothing else is believed."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from charlm import model_file
from charlm.config import NetworkConfig
from charlm.errors import DataError
from charlm.model_file import Model
from charlm.network import Network
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form
from charlm.training.initialise import initial_weights


@pytest.fixture
def small_model():
    form = char_form("abc \n", boundary=True, unknown=False, normalize="none")
    tokenizer = Tokenizer.from_json(form)
    network = Network(NetworkConfig(width=8, cell="gru"), tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
    return Model(
        network, weights, tokenizer, records="line", corpus_hash="abc", training={"lr": 0.1},
        history={"steps": 3, "val_nats_per_char": 1.25},
    )  # fmt: skip


@pytest.fixture
def saved(small_model, tmp_path):
    path = tmp_path / "model.safetensors"
    model_file.save(small_model, path)
    return path


def test_round_trip(small_model, saved):
    loaded = model_file.load(saved)
    assert loaded.network.config == small_model.network.config
    assert loaded.tokenizer.to_json() == small_model.tokenizer.to_json()
    for name in ("records", "corpus_hash", "training", "history", "version"):
        assert getattr(loaded, name) == getattr(small_model, name)
    assert loaded.weights.keys() == small_model.weights.keys()
    for name, weight in small_model.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], weight)


def test_what_is_no_unicode_is_kept(small_model, tmp_path):
    history = {"a file \udce9": "é\U0001f600"}
    model_file.save(Model(**{**vars(small_model), "history": history}), tmp_path / "m")
    assert model_file.load(tmp_path / "m").history == history


def test_a_run_directory_means_its_model(saved):
    assert model_file.find(saved.parent) == saved
    assert model_file.load(saved.parent).records == "line"


def about_of(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["charlm"])


def rewrite(path, change):
    about, weights = about_of(path), load_file(path)
    change(about, weights)
    save_file(weights, path, {"charlm": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about, w: about.update(format=99), "format 99"),
        (lambda about, w: about.pop("tokenizer"), "tokenizer"),
        (lambda about, w: about.update(tokenizer="{}"), "tokenizer"),
        (lambda about, w: about["network"].update(cell="nonsense"), "nonsense"),
        (lambda about, w: about["network"].update(width=16), "float32"),
        (lambda about, w: about["network"].update(layers=2), "blocks.1"),
        (lambda about, w: about["network"].update(colour="red"), "colour"),
        (lambda about, w: w.pop("head.bias"), "head.bias"),
        (lambda about, w: w["head.bias"].fill(np.nan), "not numbers"),
        (lambda about, w: w.update({"head.bias": w["head.bias"].astype("f8")}), "float64"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(saved, change, words):
    rewrite(saved, change)
    with pytest.raises(DataError, match=words):
        model_file.load(saved)


@pytest.mark.parametrize("keep", [0, 1, 8, 9, 100, 1000, -1])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged or not a model file"):
        model_file.load(saved)


def test_another_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(DataError, match="not one that charlm made"):
        model_file.load(path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        model_file.load(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no model"):
        model_file.load(tmp_path)


def test_an_interrupted_save_leaves_the_old_file(small_model, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(weights, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        model_file.save(small_model, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.safetensors"]
