"""Laws of going on from a model: symbols keep what they had, and new ones begin small."""

import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from charlm import model_file
from charlm.cells import CELLS
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import DataError
from charlm.model_file import Model
from charlm.network import build
from charlm.network.stack import under
from charlm.sampling.engine import NumpyEngine
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form
from charlm.training import begin, directory
from charlm.training.fine_tuning import LR_SHARE, Origin, fitted
from charlm.training.initialise import initial_weights
from charlm.training.standing import Listener

OLD = "the cat sat on the mat; the dog sat on the log.\n" * 40
NEW = "é ü the cat sät on the mät ß\n" * 40
SMALLER = "the cat sat\n" * 40
SMALL = {"steps": 6, "seed": 1, "batch": 4, "context": 8, "device": "cpu", "dropout": 0.1}
NETWORKS = [
    *[{"cell": cell} for cell in CELLS],
    {"cell": "gru,lstm", "layers": 2, "norm": "rms", "residual": True, "feed_forward": True},
    {"cell": "lstm", "tied": True},
    {"cell": "gru", "attention": True, "memory": 8},
    {"cell": "gru", "bidirectional": True},
]


def ids_of(network):
    return "-".join(map(str, network.values()))


def model_of(symbols, network, spread=3.0):
    """A model over `symbols` with weights that make it sure of itself."""
    form = char_form(symbols, boundary=False, unknown=False, normalize="none")
    tokenizer = Tokenizer.from_json(form)
    built = build(NetworkConfig(width=16, **network), tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(built, 1).items()}
    for name, weight in weights.items():
        if name.endswith("embedding" if built.config.tied else "head.weight"):
            weight *= spread
        elif name.endswith("head.bias"):
            weight[:] = np.linspace(-2, 2, tokenizer.vocabulary)
    return Model(network=built, weights=weights, tokenizer=tokenizer)


def logits_of(network, weights, ids):
    """The logits after each of `ids`, read one by one from the start."""
    engine = NumpyEngine(network, {name: np.asarray(w) for name, w in weights.items()})
    state = engine.initial_state(1)
    found = []
    for id in (engine.start, *ids):
        logits, state = engine.step(np.array([id]), state)
        found.append(logits[0])
    return np.array(found)


@pytest.mark.parametrize("network", NETWORKS, ids=ids_of)
def test_without_new_symbols_the_logits_are_those_of_the_model(network):
    model = model_of("abcde", network)
    same = Origin("m", model).weights(build(model.network.config, 5))
    ids = [0, 3, 2, 2, 4, 1]
    before = logits_of(model.network, model.weights, ids)
    assert np.array_equal(before, logits_of(model.network, same, ids))


@pytest.mark.parametrize("added", [1, 3, 100])
@pytest.mark.parametrize("network", NETWORKS, ids=ids_of)
def test_new_symbols_begin_rare_and_change_nothing_for_the_old(network, added):
    model = model_of("abcde", network)
    larger = build(model.network.config, 5 + added)
    weights = Origin("m", model).weights(larger)
    assert {name: tuple(w.shape) for name, w in weights.items()} == larger.shapes()
    ids = [0, 3, 2, 2, 4, 1]  # the start's row comes first, and has moved
    before = logits_of(model.network, model.weights, ids)
    after = logits_of(larger, weights, ids)
    np.testing.assert_allclose(after[:, :5], before, rtol=1e-5, atol=1e-5)
    assert np.isfinite(after).all()
    probabilities = np.exp(after - after.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    assert (probabilities > 0).all()
    assert probabilities[:, 5:].sum(1).max() <= 1 / 6 + 1e-6
    # A new symbol can be read, too.
    assert np.isfinite(logits_of(larger, weights, [5, 0, 5])).all()


def test_new_symbols_are_new_to_each_member():
    """Whose logits have no common scale, so that the law is one of each for itself."""
    model = model_of("abcde", {"cell": "gru", "members": 2})
    larger = build(model.network.config, 8)
    weights = Origin("m", model).weights(larger)
    for k in range(2):
        own = replace(
            model, network=model.network.member, weights=under(model.weights, f"members.{k}.")
        )
        expected = Origin("m", own).weights(larger.member)
        found = under(weights, f"members.{k}.")
        assert found.keys() == expected.keys()
        for name, weight in expected.items():
            assert torch.equal(found[name], weight), name
    after = logits_of(larger, weights, [0, 3, 2, 2, 4, 1])
    assert np.exp(after)[:, 5:].sum(1).max() <= 1 / 6 + 1e-6


@pytest.fixture
def prep(tmp_path):
    def run(text, **knobs):
        (tmp_path / "text").write_text(text)
        name = f"corpus{len(list(tmp_path.iterdir()))}"
        config = PrepConfig(**{"val": 0.2, "test": 0} | knobs)
        return prepare([tmp_path / "text"], tmp_path / name, config)

    return run


def begun(corpus, out, *, origin=None, network=None, said=None, update=None, **training):
    listener = Listener()
    if said is not None:
        listener.say = said.append
    if update is not None:
        listener.update = update
    config = NetworkConfig(width=8, **network or {}) if origin is None else None
    return begin.begin(
        corpus,
        out,
        config or origin.model.network.config,
        TrainingConfig(**SMALL | training),
        listener,
        time.monotonic(),
        origin,
    )


@pytest.fixture
def base(prep, tmp_path):
    """A trained model of OLD."""

    def run(text=OLD, network=None, **knobs):
        begun(prep(text, **knobs), tmp_path / "base", network=network, steps=20).go()
        return Origin(tmp_path / "base", model_file.load(tmp_path / "base"))

    return run


def tuned(origin, corpus, out, **more):
    own = fitted(corpus, origin.model, out / directory.OWN_CORPUS, lambda text: None)
    return begun(own, out, origin=origin, **more)


def weights_of(run):
    return {name: w.detach().numpy() for name, w in run.trainer.weights.items()}


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
def test_every_level_goes_on_where_the_model_was(base, prep, tmp_path, level):
    size = {"vocab_size": 270} if level == "bpe" else {}
    origin = base(level=level, **size)
    run = tuned(origin, prep(NEW, level=level, **size), tmp_path / "tuned")
    V = origin.model.tokenizer.vocabulary
    assert run.corpus.tokenizer.pieces[:V] == origin.model.tokenizer.pieces
    grows = level in ("char", "word")
    assert (run.network.vocabulary > V) == grows
    for name, weight in origin.model.weights.items():
        rows = V if name in ("embedding", "head.weight", "head.bias") else len(weight)
        assert np.array_equal(weights_of(run)[name][:rows], weight[:rows])
    assert np.array_equal(weights_of(run)["embedding"][-1], origin.model.weights["embedding"][-1])
    outcome = run.go()
    assert np.isfinite(outcome.best_nats_per_char)
    text = run.corpus.tokenizer.decode(run.corpus.ids("train"))
    assert NEW.startswith(text)


@pytest.mark.parametrize("level", ["char", "word"])
def test_the_same_corpus_is_used_as_it_lies(base, tmp_path, level):
    origin = base(level=level)
    said = []
    corpus = next(p for p in tmp_path.iterdir() if (p / "corpus.json").exists())
    run = tuned(origin, Corpus(corpus), tmp_path / "tuned", said=said)
    assert run.corpus.path == corpus
    assert not (tmp_path / "tuned" / directory.OWN_CORPUS).exists()
    assert not any("new symbols" in text for text in said)
    for name, weight in origin.model.weights.items():
        assert np.array_equal(weights_of(run)[name], weight)


def test_a_smaller_alphabet_loses_nothing(base, prep, tmp_path):
    origin = base()
    run = tuned(origin, prep(SMALLER), tmp_path / "tuned")
    run.go()
    kept = model_file.load(tmp_path / "tuned")
    assert kept.tokenizer.hash == origin.model.tokenizer.hash
    logits = logits_of(kept.network, kept.weights, kept.tokenizer.encode("the dog;"))
    assert np.isfinite(logits).all()


def test_new_symbols_are_told(base, prep, tmp_path):
    said = []
    tuned(base(), prep(NEW), tmp_path / "tuned", said=said)
    shown = "'ß' (U+00DF), 'ä' (U+00E4), 'é' (U+00E9), 'ü' (U+00FC)"
    assert f"new symbols: 4, their rows begin small: {shown}" in said


@pytest.mark.parametrize("records", ["none", "line"])
def test_a_stopped_run_resumed_equals_the_uninterrupted_one(base, prep, tmp_path, records):
    origin, corpus = base(records=records), prep(NEW, records=records)
    whole = tuned(origin, corpus, tmp_path / "whole")
    whole.go()
    updates = []

    def stop_at_3(progress, tokens):
        updates.append(tokens)
        if len(updates) == 3:
            signal.raise_signal(signal.SIGTERM)

    assert tuned(origin, corpus, tmp_path / "cut", update=stop_at_3).go().steps == 3
    again = begin.resume(tmp_path / "cut", None, {}, Listener(), time.monotonic())
    again.go()
    assert weights_of(again).keys() == weights_of(whole).keys()
    assert all(np.array_equal(weights_of(again)[n], w) for n, w in weights_of(whole).items())
    histories = [model_file.load(tmp_path / name).history for name in ("whole", "cut")]
    assert histories[0]["init"] == histories[1]["init"]


def test_the_history_is_kept_from_model_to_model(base, prep, tmp_path):
    first = base()
    tuned(first, prep(NEW), tmp_path / "second").go()
    second = Origin(tmp_path / "second", model_file.load(tmp_path / "second"))
    assert second.model.history["init"]["hash"] == first.model.hash
    assert second.model.history["init"]["history"] == first.model.history
    tuned(second, prep(SMALLER), tmp_path / "third").go()
    third = model_file.load(tmp_path / "third")
    assert third.history["init"]["history"]["init"]["hash"] == first.model.hash


def test_the_learning_rate_is_a_share_of_the_usual_one_unless_told(base, prep, tmp_path):
    origin, corpus = base(), prep(NEW)
    usual = begun(corpus, tmp_path / "plain").config.lr
    assert tuned(origin, corpus, tmp_path / "a").config.lr == pytest.approx(LR_SHARE * usual)
    assert tuned(origin, corpus, tmp_path / "b", lr=0.5).config.lr == 0.5


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        ({"level": "char"}, {"level": "word"}, "--level char"),
        ({"level": "byte"}, {"level": "char"}, "--level byte"),
        ({"normalize": "nfc"}, {}, "--normalize nfc"),
        ({"records": "line"}, {}, "--records line"),
        ({}, {"records": "line"}, "--records none"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(base, prep, tmp_path, mine, theirs, words):
    with pytest.raises(DataError, match=words) as caught:
        tuned(base(**mine), prep(NEW, **theirs), tmp_path / "tuned")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tuned").exists()


def test_a_model_of_both_sides_goes_on(base, prep, tmp_path):
    origin = base(network={"bidirectional": True, "cell": "gru"})
    run = tuned(origin, prep(NEW), tmp_path / "tuned")
    assert run.network.config.bidirectional
    assert np.isfinite(run.go().best_nats_per_char)


def test_the_weights_of_the_model_are_not_changed_by_training(base, prep, tmp_path):
    origin = base()
    before = origin.model.hash
    tuned(origin, prep(OLD), tmp_path / "tuned").go()
    del origin.model.__dict__["hash"]  # it is remembered
    assert origin.model.hash == before
    assert torch.get_default_dtype() == torch.float32
