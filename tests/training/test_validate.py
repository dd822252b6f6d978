"""Validation: exact where it can be, close where it warms up, the same however it is trained."""

import numpy as np
import pytest
import torch

from charlm.cells import CELLS
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.measuring import parallel
from charlm.network import Network, build
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights
from charlm.training.streams import streams_of
from charlm.training.trainer import Trainer
from charlm.training.validate import ScannedReader, seconds_needed, validate

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
    assert corpus.tokenizer.newline is None  # else it would be read before the first token
    nats, _ = token_nats(engine(network, weights), np.asarray(corpus.ids("val")))
    assert score.tokens == len(nats) == corpus.size("val").tokens
    assert score.chars == corpus.size("val").chars
    assert score.nats == pytest.approx(nats.sum(), rel=1e-5)


def test_a_chunk_that_began_in_the_wrong_state_is_read_again(tmp_path, monkeypatch):
    """Without warm-up every chunk but the first begins wrong; reading again mends it."""
    corpus = prepared(tmp_path, shuffled_words(8000), val=0.3, test=0)
    network, weights = trained(corpus)
    expected = validate(network, weights, corpus).nats
    monkeypatch.setattr(parallel, "WARMUP", 1)
    assert validate(network, weights, corpus).nats == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(parallel, "TOLERANCE", 1e9)
    assert validate(network, weights, corpus).nats != pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("records", ["none", "line"])
def test_training_and_eval_have_one_figure(tmp_path, records):
    text = shuffled_words(8000)
    text = text if records == "none" else text.replace("the", "the\n") + " " + text[:9000]
    corpus = prepared(tmp_path, text, val=0.4, test=0, records=records)
    network, weights = trained(corpus, steps=30)
    found = engine(network, weights)
    ids = np.asarray(corpus.ids("val"))
    if records == "none":
        nats = parallel.text_nats(found, ids)
    else:
        assert np.diff(parallel.record_begins(ids, corpus.tokenizer.boundary)).max() < len(ids)
        nats = parallel.records_nats(found, ids, corpus.tokenizer.boundary)
    assert validate(network, weights, corpus).nats == pytest.approx(nats.sum(), rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("members", [1, 2])
def test_torch_and_numpy_read_alike(cell, members, monkeypatch):
    monkeypatch.setattr(parallel, "LEAST", 64)
    monkeypatch.setattr(parallel, "LONG", 200)
    monkeypatch.setattr(parallel, "MOST_LOGITS", 500)
    network = build(NetworkConfig(cell=cell, width=16, members=members, norm="layer"), 7)
    weights = initial_weights(network, 1)
    scanned = ScannedReader(network, network.arrange(weights))
    stepped = parallel.SteppedReader(engine(network, weights))
    assert parallel.rows_of(scanned) == parallel.rows_of(stepped) > 1
    ids = np.random.default_rng(0).integers(0, 7, 700)
    begins = np.array([0, 0, 3, 103, 104, 104, 430, 699])
    with torch.no_grad():
        one, two = (parallel.text_figures(reader, ids) for reader in (scanned, stepped))
        three, four = (
            parallel.record_figures(reader, ids, begins) for reader in (scanned, stepped)
        )
    np.testing.assert_allclose(one[0], two[0], atol=1e-4)
    np.testing.assert_allclose(three, four, atol=1e-4)
    for layer, other in zip(one[1], two[1], strict=True):
        for a, b in zip(layer, other, strict=True):
            np.testing.assert_allclose(a.numpy(), b, atol=2e-3)


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
        monkeypatch.setattr(parallel, "CONTEXT", context)
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


def test_a_share_names_the_unknown_words_that_are_in_it(tmp_path):
    """A word that is known is short here, and one that is not has nine characters."""
    rare = " ".join(f"{first}bcdefgh" for first in "abcdefghijklmnopqrst")
    text = "a b c d " * 500 + f"a b {rare} " * 3 + rare
    corpus = prepared(tmp_path, text, val=0.4, test=0, level="word", words="spaces", vocab_size=6)
    network, weights = trained(corpus, steps=2)
    for share in (1, 0.95, 0.9, 0.5):
        score = validate(network, weights, corpus, share=share)
        assert score.unread == 9 * score.unknown
        assert (score.unknown > 0) == (share > 0.5)


def test_knows_about_how_long_it_will_take(tmp_path):
    corpus = prepared(tmp_path, shuffled_words(8000), val=0.3, test=0)
    network, weights = trained(corpus, steps=1)
    assert 0 < seconds_needed(network, weights, corpus) < 60
