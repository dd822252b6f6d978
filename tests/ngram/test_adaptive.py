"""The laws of counts that go on in the text that is read."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.ngrams import contexts, naive_counts, naive_p

from charlm import model_file
from charlm.adaptation import reader_of, text_nats
from charlm.config import AdaptationConfig
from charlm.mixture import Mixer
from charlm.ngram import AdaptiveNgram, count, histories
from charlm.ngram.adaptive import BOOST

V = 7
random = np.random.default_rng(0)
TEXT = random.choice(V - 1, 900, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]).astype(np.uint8)
TEXT[1::3] = TEXT[::3]
READ = random.integers(0, V, 120)
READ[60:] = READ[:60]
NGRAM = AdaptationConfig(adapt="ngram", adapt_context=5)
LINES = "to my own lord that night again, what say you?\n" * 6


@pytest.mark.parametrize("boundary", [None, 0])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_equals_a_naive_loop(order, boundary):
    ngram = AdaptiveNgram(count(TEXT, V, order=order, boundary=boundary))
    counts, taken = naive_counts(TEXT, V, order, boundary)
    history = histories(READ, V, order, boundary)
    for row, (context, id) in enumerate(contexts(READ.astype(int), boundary, V)):
        found = ngram.estimate(history[row : row + 1]).p[0]
        for depth in range(order):
            expected = [naive_p(counts, taken, V, context, id, depth) for id in range(V)]
            np.testing.assert_allclose(found[depth], expected, rtol=1e-9)
        ngram.add(history[row : row + 1], READ[row : row + 1])
        for depth in range(min(order - 1, len(context)), -1, -1):
            own = counts[depth][context[:depth]]
            was_new = not own[id]
            own[id] += BOOST
            if not was_new:
                break


def test_sums_to_1_and_begins_as_the_base():
    base = count(TEXT, V, order=5)
    ngram, history = AdaptiveNgram(base), histories(READ, V, 5)
    expected = base.estimate(history)
    np.testing.assert_allclose(ngram.estimate(history).p, expected.p, rtol=1e-12)
    np.testing.assert_allclose(ngram.estimate(history).known, expected.known, rtol=1e-12)
    ngram.add(history, READ)
    after = ngram.estimate(history).p
    np.testing.assert_allclose(after.sum(-1), 1, rtol=1e-12)
    own = np.arange(len(READ)), -1, READ
    assert np.log(after[own]).sum() > np.log(expected.p[own]).sum()


@pytest.mark.parametrize("boundary", [None, 0])
def test_one_token_is_as_among_all(boundary):
    history = histories(READ, V, 4, boundary)
    ngram = AdaptiveNgram(count(TEXT, V, order=4, boundary=boundary))
    for _ in range(3):
        whole, one = ngram.estimate(history), ngram.estimate_of(history, READ)
        np.testing.assert_allclose(one.p[..., 0], whole.p[np.arange(len(READ)), :, READ], rtol=1e-9)
        np.testing.assert_allclose(one.known, whole.known, rtol=1e-9)
        ngram.add(history, READ)


def test_one_by_one_is_as_all_at_once():
    history = histories(READ, V, 4)
    once, each = (AdaptiveNgram(count(TEXT, V, order=4)) for _ in range(2))
    once.add(history, READ)
    for row in range(len(READ)):
        each.add(history[row : row + 1], READ[row : row + 1])
    np.testing.assert_array_equal(once.estimate(history).p, each.estimate(history).p)


@pytest.mark.parametrize("adapt", ["none", "all", "network", "ngram"])
@pytest.mark.parametrize("wide", [False, True])
def test_read_at_once_is_as_read_one_by_one(mixed_model, adapt, wide, monkeypatch):
    model = model_file.load(mixed_model)
    if wide:  # as a large vocabulary is mixed; a mixer for that has fewer features
        for module in ("charlm.mixture", "charlm.adaptation.counts"):
            monkeypatch.setattr(f"{module}.PRODUCTS", 8)
        model = replace(model, mixer=Mixer.prior(model.ngram.order, model.ngram.vocabulary))
    context = {} if adapt == "none" else {"adapt_context": 5}
    config = AdaptationConfig(adapt=adapt, **context)
    ids = np.array(model.tokenizer.encode(LINES))
    at_once, by_one = (
        reader_of(model.network, model.weights, config, model.counts) for _ in range(2)
    )
    expected = []
    for id in ids.tolist():
        logits = by_one.logits[0]
        expected.append(np.logaddexp.reduce(logits) - logits[id])
        by_one.read(id)
    np.testing.assert_allclose(text_nats(at_once, ids), expected, rtol=1e-3, atol=1e-4)


def figure(charlm, *args, **more):
    done = charlm(*args, "--json", **more)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_what_was_read_is_expected_again(charlm, mixed_model):
    plain, learned = (
        figure(charlm, "eval", mixed_model, *more, stdin=LINES)["nats_per_char"]
        for more in ([], ["--adapt", "ngram"])
    )
    assert learned < 0.9 * plain


@pytest.mark.parametrize("adapt", ["all", "ngram"])
def test_two_commands_have_one_figure(charlm, mixed_model, adapt):
    """What score adds up over the lines of a text that is read on is what eval finds for it."""
    whole = figure(charlm, "eval", mixed_model, "--adapt", adapt, stdin=LINES)
    lines = charlm(
        "score", mixed_model, "--adapt", adapt, "--running", "--json", stdin=LINES
    ).stdout.decode()
    bits = sum(json.loads(line)["bits"] for line in lines.splitlines())
    assert bits == pytest.approx(whole["bits_per_char"] * len(LINES), rel=2e-3)


@pytest.mark.parametrize("adapt", ["all", "network", "ngram"])
def test_what_is_compressed_comes_back(charlm, mixed_model, adapt):
    packed = charlm("compress", mixed_model, "--adapt", adapt, stdin=LINES)
    assert packed.returncode == 0, packed.stderr
    assert charlm("decompress", mixed_model, stdin=packed.stdout).stdout.decode() == LINES
    bits = figure(charlm, "eval", mixed_model, "--adapt", adapt, stdin=LINES)["bits_per_char"]
    assert 8 * len(packed.stdout) == pytest.approx(bits * len(LINES), rel=0.05, abs=8 * 110)


def test_the_own_validation_text_is_read_by_what_was_fitted_to_the_other_half(mixed_model, corpus):
    """With nothing to learn from it costs what it does without learning."""
    from charlm.measuring import evaluation

    model = model_file.load(mixed_model)
    text = evaluation.of_corpus(model, corpus, "val")
    never = AdaptationConfig(adapt="ngram", adapt_context=4096)
    assert len(text.symbols.read) < never.adapt_context
    plain = evaluation.evaluate(model, text).score.nats_per_char
    learning = evaluation.evaluate(model, text, never).score.nats_per_char
    assert learning == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("command", ["eval", "score", "compress"])
def test_a_model_without_counts_says_so(charlm, model, command):
    done = charlm(command, model, "--adapt", "ngram", stdin=LINES)
    assert done.returncode == 1
    assert b"no counts" in done.stderr
    assert done.stdout == b""


def test_without_a_value_it_is_both(charlm, mixed_model, tmp_path):
    """What stands after a bare --adapt is its value only where it can be one."""
    (tmp_path / "text").write_text(LINES)
    said = [
        figure(charlm, "eval", mixed_model, *args)["nats_per_char"]
        for args in (
            [tmp_path / "text", "--adapt"],
            ["--adapt", tmp_path / "text"],
            [tmp_path / "text", "--adapt=all"],
            [tmp_path / "text", "--adapt", "all"],
            [tmp_path / "text", "--adapt", "--adapt-lr", "0.001"],
        )
    ]
    assert said == [said[0]] * len(said)
    wrong = charlm("eval", mixed_model, "--adapt=counts", tmp_path / "text")
    assert wrong.returncode == 2
    assert b"ngram" in wrong.stderr
