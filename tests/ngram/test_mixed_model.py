"""A model of a network and counts is a model like any other, for every command."""

import copy
import json
import math

import numpy as np
import pytest

from charlm import Model, model_file
from charlm.sampling.engine import engine_of

TEXT = "the king shall have what you say.\nmy lord, i know not;\n" * 3


@pytest.fixture(scope="module")
def loaded(mixed_model):
    return Model.load(mixed_model)


def test_info_tells_of_the_counts(charlm, mixed_model):
    about = json.loads(charlm("info", mixed_model, "--json").stdout)
    assert about["ngram"]["order"] == 3
    assert about["ngram"]["ngrams"] > 100


def test_every_distribution_sums_to_1(loaded):
    for prompt in ("", "the king ", "hhh", "\n\n"):
        assert sum(one.probability for one in loaded.next(prompt)) == pytest.approx(1, abs=1e-6)


def test_two_commands_have_one_figure(charlm, mixed_model, loaded, tmp_path):
    (tmp_path / "text").write_text(TEXT)
    evaluated = json.loads(charlm("eval", mixed_model, tmp_path / "text", "--json").stdout)
    ids = loaded.contents.tokenizer.encode(TEXT)
    engine = engine_of(loaded.contents)
    state = engine.initial_state(1)
    nats = 0.0
    logits, state = engine.step(np.array([engine.start]), state)
    for id in loaded.contents.tokenizer.encode("\n"):
        logits, state = engine.step(np.array([id]), state)
    for id in ids:
        nats -= float(logits[0, id]) - math.log(np.exp(logits[0].astype(float)).sum())
        logits, state = engine.step(np.array([id]), state)
    assert evaluated["nats_per_char"] == pytest.approx(nats / len(TEXT), rel=1e-5)


def test_the_validation_figure_is_that_of_eval(charlm, mixed_model, corpus):
    """Each half of the split by the mixer that was fitted to the other."""
    history = json.loads(charlm("info", mixed_model, "--json").stdout)["history"]
    found = json.loads(charlm("eval", mixed_model, corpus, "--json").stdout)
    assert found["nats_per_char"] == pytest.approx(history["val_nats_per_char"], rel=1e-4)
    parts = history["network_val_nats_per_char"], history["ngram_val_nats_per_char"]
    assert history["val_nats_per_char"] < min(parts) + 0.02


def test_a_text_among_others_is_as_alone(charlm, mixed_model):
    common = ("--prompt", "the", "--length", 60, "--seed", 3)
    alone = charlm("sample", mixed_model, *common).stdout.decode()
    several = charlm("sample", mixed_model, *common, "-n", 9, "--json").stdout.decode()
    assert json.loads(several.splitlines()[0])["text"] in alone


def test_a_saved_state_goes_on_as_the_text(charlm, mixed_model, tmp_path):
    state = tmp_path / "state"
    charlm("sample", mixed_model, "--prompt", "the king", "--save-state", state, "--length", 0)
    common = ("--no-echo", "--length", 50, "--seed", 1)
    on = charlm("sample", mixed_model, "--state", state, "--prompt", " sha", *common)
    whole = charlm("sample", mixed_model, "--prompt", "the king sha", *common)
    assert on.returncode == 0, on.stderr
    assert on.stdout == whole.stdout


def test_what_is_compressed_comes_back(charlm, mixed_model):
    packed = charlm("compress", mixed_model, stdin=TEXT)
    assert packed.returncode == 0, packed.stderr
    assert charlm("decompress", mixed_model, stdin=packed.stdout).stdout.decode() == TEXT


def test_a_copy_says_the_same(loaded):
    assert copy.deepcopy(loaded).sample("a", length=40, seed=1) == loaded.sample(
        "a", length=40, seed=1
    )


def test_without_its_counts_it_is_another_model(loaded, model):
    assert loaded.contents.hash != model_file.load(model).hash


def test_a_damaged_mixer_is_refused(charlm, loaded, tmp_path):
    broken = copy.deepcopy(loaded.contents)
    broken.mixer.arrays["w1"] = broken.mixer.arrays["w1"] * np.float32(np.nan)
    model_file.save(broken, tmp_path / "model")
    done = charlm("info", tmp_path / "model")
    assert done.returncode == 1
    assert b"damaged" in done.stderr
