"""A model of a network and counts is a model like any other, for every command."""

import copy
import json
import math

import numpy as np
import pytest

from charlm import Model, model_file
from charlm.mixture import PRODUCTS
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


@pytest.mark.parametrize("more", [(), ("--adapt", "network", "--adapt-lr", "0"), ("--cache", "9")])
def test_what_learns_begins_from_the_mixture(charlm, mixed_model, corpus, tmp_path, more):
    """With rate or weight 0 nothing is learned, and the figure is that of the mixture."""
    (tmp_path / "text").write_text(TEXT)
    weight = ("--cache-weight", 0) if "--cache" in more else ()
    for read in (corpus, tmp_path / "text"):
        plain, learning = (
            json.loads(charlm("eval", mixed_model, read, "--json", *options).stdout)
            for options in ((), (*more, *weight))
        )
        assert learning["nats_per_char"] == pytest.approx(plain["nats_per_char"], rel=1e-5)


def test_a_text_compresses_to_what_it_scores(charlm, mixed_model, tmp_path):
    (tmp_path / "text").write_text(TEXT * 5)
    scored = json.loads(charlm("eval", mixed_model, tmp_path / "text", "--json").stdout)
    packed = charlm("compress", mixed_model, tmp_path / "text").stdout
    bits = scored["bits_per_char"] * len(TEXT * 5)
    assert 8 * len(packed) == pytest.approx(bits, rel=0.02, abs=8 * 80)


def test_counts_decide_what_is_another_model(charlm, mixed_model, model):
    packed = charlm("compress", mixed_model, stdin=TEXT).stdout
    done = charlm("decompress", model, stdin=packed)
    assert done.returncode == 1
    assert b"another model" in done.stderr


def test_an_export_says_that_it_goes_without(charlm, mixed_model, model, tmp_path):
    for run, said in ((mixed_model, True), (model, False)):
        done = charlm("export", run, "--to", "torch", "-o", tmp_path / run.parent.name)
        assert done.returncode == 0, done.stderr
        assert (b"the network alone" in done.stderr) == said


def test_they_are_not_for_both_sides(charlm, corpus, tmp_path):
    both = ("--bidirectional", "--ngram", 3, "--steps", 1, "--width", 8)
    done = charlm("train", corpus, "-o", tmp_path / "run", *both)
    assert done.returncode == 1
    assert b"leave --ngram out" in done.stderr


def test_plot_and_report_take_it(charlm, mixed_model, tmp_path):
    assert charlm("plot", mixed_model, "--json").returncode == 0
    assert charlm("report", mixed_model, "-o", tmp_path / "page.html").returncode == 0


@pytest.mark.parametrize(
    ("prepared", "order"),
    [(("--level", "word"), 3), (("--records", "line"), 4), (("--val", 0, "--level", "byte"), 1)],
    ids=["many words", "records", "no validation text"],
)
def test_every_kind_of_corpus(charlm, tmp_path, prepared, order):
    """What is trained is what is evaluated; words are so many that probabilities are added."""
    random = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprstvwxyz"]
    lines = (" ".join(random.choice(words + ["the"] * 800, 6)) for _ in range(1500))
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    data, run = tmp_path / "data", tmp_path / "run"
    assert charlm("prep", tmp_path / "text", "-o", data, *prepared).returncode == 0
    small = ("--steps", 20, "--width", 16, "--batch", 4, "--seed", 1, "--device", "cpu")
    done = charlm("train", data, "-o", run, "--ngram", order, *small)
    assert done.returncode == 0, done.stderr
    about = json.loads(charlm("info", run, "--json").stdout)
    assert (about["tokenizer"]["vocabulary"] > PRODUCTS) == ("word" in prepared)
    if 0 in prepared:
        assert about["history"]["val_nats_per_char"] is None
        found = json.loads(charlm("eval", run, tmp_path / "text", "--json").stdout)
        assert 0 < found["nats_per_char"] < math.log(256)
    else:
        found = json.loads(charlm("eval", run, data, "--json", "--parts").stdout)
        expected = about["history"]["val_nats_per_char"]
        assert found["nats_per_char"] == pytest.approx(expected, rel=1e-4)
        for name, part in found["parts"].items():
            expected = about["history"][f"{name}_val_nats_per_char"]
            assert part["nats_per_char"] == pytest.approx(expected, rel=1e-4)
    assert sum(one.probability for one in Model.load(run).next("the")) == pytest.approx(1, abs=1e-5)


def test_a_run_resumed_is_mixed_as_the_uninterrupted_one(charlm, corpus, tmp_path):
    options = ("--ngram", 3, "--width", 16, "--batch", 4, "--context", 16, "--device", "cpu")
    common = ("train", corpus, "-o", tmp_path / "whole", "--seed", 1, "--schedule", "constant")
    assert charlm(*common, "--warmup", 0, "--steps", 40, *options).returncode == 0
    half = ("train", corpus, "-o", tmp_path / "half", "--seed", 1, "--schedule", "constant")
    assert charlm(*half, "--warmup", 0, "--steps", 20, *options).returncode == 0
    assert charlm("train", "--resume", tmp_path / "half", "--steps", 40).returncode == 0
    whole, resumed = (model_file.load(tmp_path / name) for name in ("whole", "half"))
    assert resumed.history["steps"] == whole.history["steps"] == 40
    assert resumed.hash == whole.hash


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
