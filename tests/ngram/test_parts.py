"""`charlm eval --parts`: what the network alone and the counts alone cost on a text."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.measured import SENTENCES, make

from charlm import model_file
from charlm.config import AdaptationConfig
from charlm.errors import ConfigError
from charlm.measuring import evaluation
from charlm.mixture import Mixer
from charlm.ngram import count
from charlm.ngram.model import ABSENT
from charlm.sampling.engine import parts_of
from charlm.sampling.text import opening

TEXT = "".join(f"{SENTENCES[i * i % 3]}\n" for i in range(200)) + "the lord ☃ shall\nknow\n"
UNKNOWN = "the lord ☃ shall\nknow the king\n"
FIGURES = [
    "bits_per_char", "bits_per_char_low", "bits_per_char_high", "nats_per_char", "bits_per_byte",
    "perplexity", "perplexity_excluding_unknown",
]  # fmt: skip


def evaluated(charlm, *args, stdin=""):
    done = charlm("eval", *args, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def with_counts(path, level, records, order):
    """A model of counts of TEXT, and of a network that has learned nothing."""
    model = model_file.load(make(path, level, records))
    ids = evaluation.of_file(model, written(path.parent, TEXT)).symbols.read
    tokenizer = model.tokenizer
    boundary = None if records == "none" else tokenizer.boundary
    begun = tuple(opening(tokenizer, records))
    ngram = count(ids, tokenizer.vocabulary, order=order, boundary=boundary, opening=begun)
    mixer = Mixer.prior(ngram.order, tokenizer.vocabulary)
    return replace(model, ngram=ngram, mixer=mixer)


def written(folder, text):
    (folder / "text").write_text(text, encoding="utf-8")
    return folder / "text"


def one_by_one(model, ids):
    """The nats of ids by the highest order, each context written out by hand."""
    start, boundary = model.tokenizer.vocabulary, None
    before = [start, *opening(model.tokenizer, model.records)]
    if model.records != "none":
        boundary = model.tokenizer.boundary
    for id in ids.tolist():
        context = [*before[::-1], *[ABSENT] * 40][: model.ngram.order - 1]
        p = model.ngram.estimate(np.array([context], np.int32)).p[0, -1, id]
        yield -math.log(p)
        before = [start] if id == boundary else [*before, id]


@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("level", ["char", "unk", "byte", "bpe", "word"])
def test_each_part_costs_what_it_does_alone(tmp_path, level, records, order):
    model = with_counts(tmp_path / "m.safetensors", level, records, order)
    text = evaluation.of_file(model, written(tmp_path, TEXT[-3000:] + UNKNOWN))
    found = evaluation.evaluate(model, text, parts=True)
    network = evaluation.evaluate(replace(model, ngram=None, mixer=None), text)
    assert found.parts["network"] == network
    assert replace(found, parts={}) == evaluation.evaluate(model, text)
    nats = text.symbols.priced(np.array(list(one_by_one(model, text.symbols.read))))
    expected = text.symbols.score(nats)
    assert found.parts["ngram"].score.nats == pytest.approx(expected.nats, rel=1e-9)
    assert replace(found.parts["ngram"].score, nats=0, unknown_nats=0) == replace(
        expected, nats=0, unknown_nats=0
    )


@pytest.mark.parametrize("split", ["val", "train", "test"])
def test_a_split(charlm, mixed_model, corpus, tmp_path, split):
    """The network's is the figure of the model without counts, and the mixture's stays."""
    read = (corpus, "--split", split)
    found = evaluated(charlm, mixed_model, *read, "--parts")
    parts = found.pop("parts")
    assert found == evaluated(charlm, mixed_model, *read)
    assert list(parts) == ["network", "ngram"]
    assert [list(part) for part in parts.values()] == [FIGURES] * 2
    alone = replace(model_file.load(mixed_model), ngram=None, mixer=None)
    model_file.save(alone, tmp_path / "alone.safetensors")
    expected = evaluated(charlm, tmp_path / "alone.safetensors", *read)
    assert parts["network"] == {name: expected[name] for name in FIGURES}
    assert parts["ngram"]["bits_per_char"] * math.log(2) == pytest.approx(
        parts["ngram"]["nats_per_char"]
    )


def test_the_network_is_the_one_trained_without(charlm, mixed_model, model, corpus):
    parts = evaluated(charlm, mixed_model, corpus, "--parts")["parts"]
    expected = evaluated(charlm, model, corpus)
    assert parts["network"]["nats_per_char"] == pytest.approx(expected["nats_per_char"], rel=1e-6)


def test_the_validation_split_is_what_training_told(charlm, mixed_model, corpus):
    history = model_file.load(mixed_model).history
    parts = evaluated(charlm, mixed_model, corpus, "--parts")["parts"]
    for name, part in parts.items():
        expected = history[f"{name}_val_nats_per_char"]
        assert part["nats_per_char"] == pytest.approx(expected, rel=1e-4)


def test_stdin_is_read_as_a_file(charlm, mixed_model, tmp_path):
    piped = evaluated(charlm, mixed_model, "-", "--parts", stdin=TEXT)
    named = evaluated(charlm, mixed_model, written(tmp_path, TEXT), "--parts")
    assert piped["parts"] == named["parts"]


def test_a_table_has_a_line_for_each(charlm, mixed_model, corpus):
    lines = charlm("eval", mixed_model, corpus, "--parts").stdout.decode().splitlines()
    assert lines[:-5] == charlm("eval", mixed_model, corpus).stdout.decode().splitlines()
    blank, names, *rows = lines[-5:]
    assert blank == ""
    assert [row.split()[0] for row in rows] == ["mixture", "network", "ngram"]
    assert {len(row) for row in rows} == {len(names)}
    found = evaluated(charlm, mixed_model, corpus, "--parts")
    for row, part in zip(rows, [found, *found["parts"].values()], strict=True):
        assert row.split()[1:] == [f"{part[name]:.4f}" for name in names.split()]


def test_the_counts_step_as_any_engine(mixed_model):
    """However rows are put together, each is as it was alone."""
    engine = parts_of(model_file.load(mixed_model))["ngram"]
    ids = np.array([3, 1, 4, 1, 5])
    states = [engine.step(ids[:1], engine.initial_state(1))[1], engine.initial_state(1)]
    together, _ = engine.step(ids[1:3], engine.join(states))
    alone = [engine.step(ids[1 + i : 2 + i], state)[0] for i, state in enumerate(states)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-12)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["PLAIN"], 1, "without counts"),
        (["MIXED", "--adapt"], 2, "--parts"),
        (["MIXED", "--cache", "9"], 2, "--parts"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, mixed_model, model, corpus, args, code, words):
    run, *options = args
    run = {"PLAIN": model, "MIXED": mixed_model}[run]
    done = charlm("eval", run, corpus, "--parts", *options)
    assert done.returncode == code
    assert words in done.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_what_learns_has_no_parts(mixed_model, tmp_path):
    model = evaluation.load(Path(mixed_model))
    text = evaluation.of_file(model, written(tmp_path, "the king\n"))
    with pytest.raises(ConfigError, match="parts"):
        evaluation.evaluate(model, text, AdaptationConfig(cache=9), parts=True)
