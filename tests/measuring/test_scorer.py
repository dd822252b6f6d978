"""Records as they arrive, and what they score: alone, side by side, and as one stream."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.params import quick

from charlm.config import NetworkConfig
from charlm.errors import DataError
from charlm.measuring import both_sides, parallel, records, scorer
from charlm.measuring.scorer import Scorer
from charlm.model_file import Model
from charlm.network import build
from charlm.sampling.engine import NumpyEngine
from charlm.score import Score, log_softmax, nats_of, token_nats
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form, word_form
from charlm.training import both_sides as torch_sides
from charlm.training.initialise import initial_weights
from charlm.training.streams import Batch

SHAPES = {
    "gru": {"cell": "gru", "layers": 2},
    "lstm with attention": {"cell": "lstm", "attention": True, "memory": 7},
    "rwkv": {"cell": "rwkv", "layers": 2},
}


def make(records="line", *, spread=0.4, symbols="abcdef \n", **shape):
    """A model of random weights; with `spread` 0 every weight is 0."""
    form = char_form(symbols, boundary=records != "none", unknown=False, normalize="none")
    return around(Tokenizer.from_json(form), records, spread=spread, **shape)


def around(tokenizer, records, *, spread=0.4, cell="gru", **shape):
    network = build(NetworkConfig(cell=cell, width=12, **shape), tokenizer.vocabulary)
    weights = initial_weights(network, 1)
    generator = torch.Generator().manual_seed(1)
    for weight in weights.values():  # far from their beginning, so that every part matters
        weight += 0.4 * torch.randn(weight.shape, generator=generator)
        weight *= spread / 0.4
    flat = {name: weight.numpy() for name, weight in weights.items()}
    return Model(network, flat, tokenizer, records=records)


def texts(count=300, longest=40):
    rng = np.random.default_rng(2)
    lengths = rng.integers(0, longest, count)
    return ["".join(rng.choice(list("abcdef "), length)) for length in lengths]


def ids_in_context(model, text):
    """The ids that are read for a text, and how many of them only open it."""
    tokenizer = model.tokenizer
    if model.records == "none":
        return tokenizer.encode(f"\n{text}\n"), 1
    return np.append(tokenizer.encode(text), tokenizer.boundary), 0


@pytest.mark.parametrize("kind", ["line", "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("precision", quick(["float32"], ["float32", "float64"]))
def test_a_record_alone_equals_the_record_among_others(kind, bidirectional, shape, precision):
    model = make(kind, bidirectional=bidirectional, **shape)
    weights = {name: weight.astype(precision) for name, weight in model.weights.items()}
    measure = Scorer(replace(model, weights=weights), favourites=True)
    nats_apart, bits_apart = (1e-4, 1e-5) if precision == "float32" else (1e-11, 1e-12)
    some = texts()
    together = list(measure.score(some))
    assert len(together) == len(some)
    for text, scored in zip(some[::10], together[::10], strict=True):
        (alone,) = measure.score([text])
        np.testing.assert_array_equal(alone.ids, scored.ids)
        np.testing.assert_allclose(alone.nats, scored.nats, atol=nats_apart, rtol=0)
        assert abs(alone.score.bits_per_char - scored.score.bits_per_char) < bits_apart
        assert alone.score.chars == scored.score.chars == len(text) + 1


@pytest.mark.parametrize("kind", ["line", "none"])
def test_it_is_what_the_network_says_of_the_record(kind):
    model = make(kind)
    engine = NumpyEngine(model.network, model.weights)
    for text, scored in zip(texts(20), Scorer(model).score(texts(20)), strict=True):
        ids, opening = ids_in_context(model, text)
        nats, _ = token_nats(engine, ids)
        np.testing.assert_array_equal(scored.ids, ids[opening:])
        np.testing.assert_allclose(scored.nats, nats[opening:], atol=1e-5)
        assert scored.score.nats == pytest.approx(nats[opening:].sum(), abs=1e-4)


@pytest.mark.parametrize("kind", ["line", "none"])
@pytest.mark.parametrize("piece", [5, 1024])
def test_both_sides_are_what_torch_says_of_the_whole_record(kind, piece, monkeypatch):
    monkeypatch.setattr(both_sides, "PIECE", piece)
    model = make(kind, bidirectional=True)
    w = model.network.arrange({name: torch.tensor(w) for name, w in model.weights.items()})
    for text, scored in zip(texts(20), Scorer(model).score(texts(20)), strict=True):
        ids, opening = ids_in_context(model, text)
        inputs = np.append([model.network.start], ids[:-1])[None]
        distances = np.ones((1, len(ids)), dtype=np.int64)
        distances[0, -1] = kind == "line"
        batch = Batch(inputs, ids[None], np.array([True]), ids[None])
        after = torch_sides.after(batch, model.network.start, torch.device("cpu"), distances)
        state = model.network.initial_state(torch, w, 1)
        with torch.no_grad():
            logits, _ = model.network.scan(torch, w, torch.tensor(inputs), state, after=after)
        expected = nats_of(logits[0].numpy(), ids)[opening:]
        np.testing.assert_allclose(scored.nats, expected, atol=1e-4)


def test_a_long_text_is_forgotten_beyond_the_reach(monkeypatch):
    text = "".join(np.random.default_rng(0).choice(list("abc"), 300))
    measure = Scorer(make(bidirectional=True))
    (whole,) = measure.score([text])
    monkeypatch.setattr(both_sides, "PIECE", 50)
    monkeypatch.setattr(both_sides, "REACH", 100)
    (pieces,) = measure.score([text])
    np.testing.assert_allclose(pieces.nats, whole.nats, atol=1e-3)


@pytest.mark.parametrize("kind", ["line", "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_uniform_model_scores_log2_of_its_vocabulary(kind, bidirectional):
    model = make(kind, spread=0.0, bidirectional=bidirectional)
    for scored in Scorer(model).score(texts(10)):
        assert scored.score.bits_per_char == pytest.approx(
            math.log2(model.tokenizer.vocabulary), abs=1e-6
        )
        assert scored.score.perplexity == pytest.approx(model.tokenizer.vocabulary, rel=1e-6)


def test_the_scores_of_lines_add_up_to_those_of_the_file():
    some = texts(30)
    parts = [scored.score for scored in Scorer(make("none")).score(some)]
    whole = sum(parts, Score())
    size = len("\n".join([*some, ""]))
    assert (whole.chars, whole.bytes, whole.tokens) == (size, size, size)
    assert whole.bits == pytest.approx(sum(part.bits for part in parts))


def test_records_read_on_score_what_the_stream_scores():
    model, some = make("none"), texts(30)
    measure, before, nats = Scorer(model), None, []
    for text in some:
        scored, before = measure.read_on(text, before)
        nats.append(scored.nats)
    ids = model.tokenizer.encode("\n" + "\n".join([*some, ""]))
    expected, _ = token_nats(NumpyEngine(model.network, model.weights), ids)
    np.testing.assert_allclose(np.concatenate(nats), expected[1:], atol=1e-5)


def test_the_window_and_the_batch_change_nothing(monkeypatch):
    model, some = make(), texts(40)
    expected = [scored.nats for scored in Scorer(model).score(some)]
    monkeypatch.setattr(scorer, "WINDOW", 7)
    monkeypatch.setattr(scorer, "ROWS", 3)
    monkeypatch.setattr(parallel, "ROWS", 2)
    for scored, nats in zip(Scorer(model).score(iter(some)), expected, strict=True):
        np.testing.assert_allclose(scored.nats, nats, atol=1e-5)


@pytest.mark.parametrize("kind", ["line", "none"])
def test_a_long_record_is_read_in_chunks_and_scores_the_same(kind, monkeypatch):
    """In chunks 31 rows of 64 and a warm-up of 32; else 2,000 steps and more."""
    model, long = make(kind), "".join(texts(100))
    some = ["abc", long[:2000], "", "fed"]
    ways = {"whole": 10**6, "in chunks": 500}
    found, steps = {}, {}
    step = NumpyEngine.step

    def counted(engine, ids, state):
        steps[way] = steps.get(way, 0) + 1
        return step(engine, ids, state)

    monkeypatch.setattr(NumpyEngine, "step", counted)
    for name, value in {"LEAST": 64, "WARMUP": 32, "MEET": 16}.items():
        monkeypatch.setattr(parallel, name, value)
    for way, least in ways.items():
        monkeypatch.setattr(parallel, "LONG", least)
        found[way] = list(Scorer(model, favourites=True).score(some))
    assert steps["in chunks"] < 300 < 2000 < steps["whole"]
    for one, other in zip(found["whole"], found["in chunks"], strict=True):
        assert abs(one.nats - other.nats).mean() < 5e-5
        assert abs(one.favourite_nats - other.favourite_nats).mean() < 5e-5
        assert (one.favourites != other.favourites).mean() < 0.01
        assert one.score.nats == pytest.approx(other.score.nats, rel=1e-5)


def test_a_long_record_is_read_on_in_chunks(monkeypatch):
    model, long = make("none"), "".join(texts(100))[:1500]
    monkeypatch.setattr(parallel, "WARMUP", 32)
    found = []
    for least in (10**6, 64):
        monkeypatch.setattr(parallel, "LEAST", least)
        measure, before = Scorer(model), None
        for text in ("abc", long, "", "fed"):
            scored, before = measure.read_on(text, before)
            found.append(scored.nats)
    for one, other in zip(found[:4], found[4:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_favourites_are_never_dearer_and_are_the_text_where_they_agree():
    for scored in Scorer(make(), favourites=True).score(texts(20)):
        assert (scored.favourite_nats <= scored.nats).all()
        same = scored.favourites == scored.ids
        np.testing.assert_array_equal(scored.favourite_nats[same], scored.nats[same])


def test_unknown_symbols_are_counted_whatever_becomes_of_them():
    for unknown, tokens in (("skip", 7), ("replace", 7)):
        (scored,) = Scorer(make(), unknown).score(["abZ☃cd"])
        assert (scored.score.unknown, scored.score.tokens) == (2, tokens)
        assert (scored.score.chars, scored.score.bytes) == (7, 9)
    with pytest.raises(DataError, match="U\\+2603"):
        list(Scorer(make(), "error").score(["ab☃"]))


def test_what_is_skipped_is_paid_for_by_its_name():
    without, with_it = Scorer(make()).score(["abcd", "ab☃☃cd"])
    more = with_it.score.nats - without.score.nats
    assert more == pytest.approx(2 * np.log(0x110000), rel=1e-5)


def test_an_unknown_word_is_its_own_symbol_unless_skipped():
    form = word_form(["the", " cat", "\n"], boundary=False, normalize="none")
    model = around(Tokenizer.from_json(form), "none")
    found = {u: next(Scorer(model, u).score(["the dog"])) for u in ("skip", "error")}
    assert [scored.score.unknown for scored in found.values()] == [1, 1]
    assert [len(scored.ids) for scored in found.values()] == [3, 3]
    assert [scored.ids[1] for scored in found.values()] == [-1, model.tokenizer.unknown]
    assert [scored.unknown for scored in found.values()] == [{1: " dog"}] * 2


def test_without_a_newline_in_the_vocabulary_a_text_has_no_end():
    measure = Scorer(make("none", symbols="abcdef "))
    assert measure.end is None
    empty, some = measure.score(["", "ab"])
    assert empty.score == Score()
    assert (some.score.tokens, some.score.chars) == (2, 2)


def test_what_an_empty_record_costs_is_its_end():
    model = make()
    (scored,) = Scorer(model).score([""])
    assert scored.ids.tolist() == [model.tokenizer.boundary]
    assert (scored.score.chars, scored.score.bytes) == (1, 1)
    assert list(Scorer(model).score([])) == []


def test_nats_of_is_safe_far_out_and_agrees_with_log_softmax():
    logits = np.array([[1e4, 0.0, -1e4], [3.0, 1.0, 2.0]], dtype=np.float32)
    for ids in ([0, 0], [1, 2], [2, 1]):
        expected = -log_softmax(logits)[np.arange(2), ids]
        np.testing.assert_allclose(nats_of(logits, np.array(ids)), expected, rtol=1e-6)


@pytest.fixture
def trickle(monkeypatch):
    """Reads stdin that arrives in these pieces."""

    def read(pieces, form):
        left = iter([*pieces, b""])
        peek = lambda size: pieces[0] if pieces else b""  # noqa: E731
        stream = SimpleNamespace(read1=lambda size: next(left), peek=peek)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        return records.read([], form)

    return read


DATA = "one\ntwo\r\n\n\r\nthree ☃\0four\nfive\0\nlast".encode()


@pytest.mark.parametrize("form", [records.Form(), records.Form(null=True), records.Form(crlf=True)])
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("data", [DATA, DATA + b"\n", DATA + b"\0", b"\n", b""])
def test_records_are_the_input_however_it_is_cut(trickle, form, size, data):
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [record for chunk in trickle(pieces, form) for record in chunk]
    assert "".join(record.text + record.end for record in found).encode() == data
    assert [record.number for record in found] == list(range(1, len(found) + 1))
    assert all(record.end for record in found[:-1])
    assert found == [record for chunk in trickle([data], form) for record in chunk]
    if form.crlf:
        assert not any(record.text.endswith("\r") for record in found)


def test_whole_records_do_not_wait_for_more(trickle):
    chunks = trickle([b"one\ntw", b"o\n", b"th", b"ree"], records.Form())
    assert [[record.text for record in chunk] for chunk in chunks] == [["one"], ["two"], ["three"]]


def test_files_are_numbered_each_by_itself(tmp_path):
    for name, text in (("a", "one\ntwo"), ("b", "three\n")):
        (tmp_path / name).write_text(text)
    found = records.read([tmp_path / "a", tmp_path / "b"], records.Form())
    assert [(Path(r.file).name, r.number, r.text, r.end) for chunk in found for r in chunk] == [
        ("a", 1, "one", "\n"), ("a", 2, "two", ""), ("b", 1, "three", "\n"),
    ]  # fmt: skip


def test_what_is_not_utf8_is_found_after_the_records_before_it(trickle):
    data = b"\xc3\xa9t\xc3\xa9\nbad \xff here\nmore\n"
    chunks = trickle([data], records.Form(errors="strict"))
    assert [record.text for record in next(chunks)] == ["été"]
    with pytest.raises(DataError, match=r"stdin .*line 2: byte 0xFF at offset 10"):
        next(chunks)
    (chunk,) = trickle([data], records.Form(errors="surrogateescape"))
    assert "".join(r.text + r.end for r in chunk).encode("utf-8", "surrogateescape") == data
