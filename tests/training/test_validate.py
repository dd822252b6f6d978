"""Validation: exact where it can be, close where it warms up, the same however it is trained."""

import numpy as np
import pytest
import torch

from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training import validate as module
from charlm.training.initialise import initial_weights
from charlm.training.streams import IGNORED, streams_of
from charlm.training.trainer import Trainer
from charlm.training.validate import seconds_needed, validate

TEXT = "the cat sat on the mat; the dog sat on the log.\n"


def prepared(tmp_path, text, **settings):
    (tmp_path / "text").write_text(text)
    return prepare([tmp_path / "text"], tmp_path / "data", PrepConfig(**settings))


def trained(corpus, steps=80):
    network = Network(NetworkConfig(width=24), corpus.tokenizer.vocabulary)
    config = TrainingConfig(seed=1, batch=8, context=32, steps=steps)
    streams = streams_of(corpus, "train", rows=8, context=32, seed=1)
    one = Trainer(network, config, initial_weights(network, 1), streams, torch.device("cpu"))
    for step in range(steps):
        one.step(step / steps)
    return network, one.weights


def engine(network, weights):
    return NumpyEngine(network, {n: w.detach().numpy() for n, w in weights.items()})


def shuffled_words(count):
    rng = np.random.default_rng(0)
    words = np.array(TEXT.split())
    return " ".join(words[rng.integers(0, len(words), count)])


def test_equals_one_read_of_the_split_by_the_numpy_engine(tmp_path):
    corpus = prepared(tmp_path, shuffled_words(8000), val=0.3, test=0)
    network, weights = trained(corpus)
    score = validate(network, weights, corpus)
    nats, _ = token_nats(engine(network, weights), np.asarray(corpus.ids("val")))
    assert score.tokens == len(nats) == corpus.size("val").tokens
    assert score.chars == corpus.size("val").chars
    assert score.nats == pytest.approx(nats.sum(), rel=1e-5)


def test_a_stretch_that_began_in_the_wrong_state_is_read_again(tmp_path, monkeypatch):
    """Without warm-up every stretch but the first begins wrong; reading again mends it."""
    corpus = prepared(tmp_path, shuffled_words(8000), val=0.3, test=0)
    network, weights = trained(corpus)
    expected = validate(network, weights, corpus).nats
    monkeypatch.setattr(module, "WARMUP", 1)
    assert validate(network, weights, corpus).nats == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(module, "TOLERANCE", 1e9)
    assert validate(network, weights, corpus).nats != pytest.approx(expected, rel=1e-5)


def test_reading_again_ends_where_the_state_is_what_it_was(tmp_path, monkeypatch):
    corpus = prepared(tmp_path, shuffled_words(80_000), val=0.3, test=0)
    network, weights = trained(corpus)
    monkeypatch.setattr(module, "WARMUP", 1)
    read, found = [], []
    batches = module._stretches
    monkeypatch.setattr(
        module, "_stretches", lambda *a, **k: (read.append(b) or b for b in batches(*a, **k))
    )
    for pieces in (1, 16):
        monkeypatch.setattr(module, "PIECES", pieces)
        nats = validate(network, weights, corpus).nats
        found.append((nats, sum(b.targets.size for b in read)))
        read.clear()
    (all_again, twice), (some_again, tokens) = found
    assert some_again == pytest.approx(all_again, rel=1e-5)
    length = corpus.size("val").tokens
    assert tokens < 1.3 * length < 1.9 * length < twice


@pytest.mark.parametrize("length", [1, 2, 1023, 1024, 2049, 5000, 65_600, 111_540, 500_000])
def test_stretches_have_every_token_once(length):
    ids = np.arange(length)
    begins, stretch = module._cut(length)
    batches = list(module._stretches(ids, begins, begins + stretch, 10**6, fresh=False))
    inputs = np.concatenate([batch.inputs for batch in batches], axis=1)
    targets = np.concatenate([batch.targets for batch in batches], axis=1)
    counted = targets != IGNORED
    np.testing.assert_array_equal(np.sort(targets[counted]), ids)
    after_the_first = counted & (targets != 0)
    np.testing.assert_array_equal(inputs[after_the_first], targets[after_the_first] - 1)
    assert inputs[targets == 0] == 10**6


def test_a_short_split_is_read_in_one_piece_exactly(tmp_path):
    corpus = prepared(tmp_path, TEXT * 60, val=0.3, test=0)
    network, weights = trained(corpus, steps=10)
    nats, _ = token_nats(engine(network, weights), np.asarray(corpus.ids("val")))
    assert validate(network, weights, corpus).nats == pytest.approx(nats.sum(), rel=1e-5)


def test_records_are_scored_alone(tmp_path):
    corpus = prepared(tmp_path, TEXT.replace(" ", "\n") * 40, val=0.3, test=0, records="line")
    network, weights = trained(corpus, steps=20)
    ids = np.asarray(corpus.ids("val"))
    ends = np.flatnonzero(ids == corpus.tokenizer.boundary) + 1
    alone = [
        token_nats(engine(network, weights), record)[0].sum()
        for record in np.split(ids, ends)
        if len(record)
    ]
    score = validate(network, weights, corpus)
    assert score.tokens == len(ids)
    assert score.nats == pytest.approx(sum(alone), rel=1e-5)


def test_how_it_is_cut_in_time_changes_nothing(tmp_path, monkeypatch):
    corpus = prepared(tmp_path, shuffled_words(3000), val=0.3, test=0)
    network, weights = trained(corpus, steps=10)
    found = []
    for context in (1, 7, 128, 1000):
        monkeypatch.setattr(module, "CONTEXT", context)
        found.append(validate(network, weights, corpus).nats)
    assert found == pytest.approx([found[0]] * 4, rel=1e-6)


def test_a_uniform_model_scores_log2_of_its_vocabulary(tmp_path):
    corpus = prepared(tmp_path, TEXT * 100, val=0.3, test=0)
    network = Network(NetworkConfig(width=8), corpus.tokenizer.vocabulary)
    weights = {n: torch.zeros_like(w) for n, w in initial_weights(network, 1).items()}
    score = validate(network, weights, corpus)
    assert score.bits_per_char == pytest.approx(np.log2(corpus.tokenizer.vocabulary), rel=1e-6)


def test_a_share_scores_the_beginning(tmp_path):
    corpus = prepared(tmp_path, TEXT * 100, val=0.3, test=0)
    network, weights = trained(corpus, steps=10)
    score = validate(network, weights, corpus, share=0.5)
    assert score.tokens == round(corpus.size("val").tokens / 2)
    assert score.chars == corpus.size("val").chars // 2


def test_knows_about_how_long_it_will_take(tmp_path):
    corpus = prepared(tmp_path, shuffled_words(8000), val=0.3, test=0)
    network, weights = trained(corpus, steps=1)
    assert 0 < seconds_needed(network, weights, corpus) < 60
