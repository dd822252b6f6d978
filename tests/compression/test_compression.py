"""Compression: any bytes come back, the size is what the model says, and damage is told."""

import io
import math
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.archives import FORMS, HEADER, SENTENCES, WORDS, small_model, write_only

from charlm.adaptation import reader_of
from charlm.compression import compress, decompress
from charlm.compression.coding import Decoder, Encoder
from charlm.compression.prediction import ESCAPE, TOTAL, counts, shares
from charlm.compression.spelling import Spelling
from charlm.config import PLAINLY
from charlm.errors import DataError
from charlm.model_file import Model
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats


def there_and_back(model, data):
    small, size_bytes = compress(model, io.BytesIO(data))
    assert size_bytes == len(data)
    return b"".join(decompress(model, io.BytesIO(small), "it"))


LAWS = settings(derandomize=True, max_examples=15, deadline=None)
TEXT = st.text(
    st.sampled_from("abc \u00e9e\u0301\ufb01\u2460\u0627\ud55c\U0001f600\r\n\n\n\0"), max_size=30
)
LIKELY = st.lists(st.sampled_from([*WORDS, *SENTENCES]), max_size=8).map("".join)
PIECES = st.binary(max_size=12) | (TEXT | LIKELY).map(lambda text: text.encode())
BYTES = st.lists(PIECES, max_size=4).map(b"".join)


@pytest.mark.parametrize("kind", FORMS)
@LAWS
@given(data=BYTES)
def test_any_bytes_come_back(kind, data):
    assert there_and_back(small_model(kind), data) == data


@pytest.mark.parametrize("kind", FORMS)
@LAWS
@given(data=BYTES, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_the_steps_add_up_to_the_text_however_it_comes(kind, data, cuts):
    model = small_model(kind)
    spelling = Spelling(model.tokenizer, model.records)
    edges = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    chunks = [data[begin:end] for begin, end in pairwise(edges)]
    steps = [step for text in spelling.texts(chunks) for step in spelling.steps(text)]
    spelled = [step if isinstance(step, bytes) else spelling.pieces[step] for step in steps]
    assert b"".join(spelled) == data
    assert all(spelled)


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe"])
def test_known_text_is_spelled_as_in_training(kind):
    model = small_model(kind)
    spelling = Spelling(model.tokenizer, model.records)
    text = "the cat sat\nthe cat." if kind != "char" else "abc cab \u00e9\n" * 5
    assert list(spelling.steps(text)) == model.tokenizer.encode(text).tolist()


def test_an_unknown_word_is_one_escape_and_so_are_many_bytes():
    word = small_model("word")
    spelling = Spelling(word.tokenizer, "none")
    assert list(spelling.steps("the dog\udcff\udcfe")) == [
        word.tokenizer.encode("the")[0], b" dog", b"\xff\xfe"
    ]  # fmt: skip
    plain = Spelling(small_model("char").tokenizer, "none")
    assert list(plain.steps("xyz\udcffz")) == [b"xyz\xffz"]


@LAWS
@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32) | st.just(-math.inf), min_size=2, max_size=30),
    escape=st.none() | st.integers(0, 1),
)
def test_counts_share_out_everything_and_leave_nothing_impossible(logits, escape):
    logits = np.array([logits], dtype=np.float32)
    if not np.isfinite(logits.max()):
        logits[0, 0] = 0
    p = shares(logits)
    found = counts(p, escape)
    assert found.min() >= 0
    assert (found + 1).sum() == TOTAL
    expected = p / p.sum()
    if escape is not None:
        assert found[escape] >= ESCAPE
        expected = expected * (1 - ESCAPE / TOTAL)
        expected[escape] += ESCAPE / TOTAL
    np.testing.assert_allclose((found + 1) / TOTAL, expected, atol=(2 * len(p) + 2) / TOTAL)


def test_logits_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="not numbers"):
        shares(np.array([[0.0, np.nan]], dtype=np.float32))


class Tables:
    """Predicts by a list of tables, one after another."""

    def __init__(self, tables):
        self.tables = iter(tables)

    def counts(self):
        return next(self.tables)

    def read(self, symbol):
        pass


def plain_range_decoder(data, tables):
    """constriction's range decoder in whole numbers, after its documentation."""
    words = [word for (word,) in struct.iter_unpack("<I", data)] + [0, 0]
    point, following = words[0] << 32 | words[1], iter([*words[2:], *[0] * len(tables)])
    low, width, full = 0, 2**64 - 1, 2**64
    for table in tables:
        edges = np.concatenate([[0], np.cumsum(table + 1)]).tolist()
        scale = width >> 24
        quantile = (point - low) % full // scale
        symbol = max(i for i, edge in enumerate(edges) if edge <= quantile)
        yield symbol
        low = (low + scale * edges[symbol]) % full
        width = scale * (edges[symbol + 1] - edges[symbol])
        if width < 2**32:
            low, width = (low << 32) % full, width << 32
            point = (point << 32 | next(following)) % full


@pytest.mark.parametrize("sharpness", [0, 1, 10, 1000])
def test_the_code_follows_from_the_whole_numbers_alone(sharpness, monkeypatch):
    rng = np.random.default_rng(0)
    tables = [
        counts(shares(sharpness * rng.standard_normal((1, n)).astype(np.float32)))
        for n in rng.integers(2, 300, 400)
    ]
    symbols = [
        int(rng.choice(len(table), p=(table + 1) / TOTAL))
        if i % 9
        else int(rng.integers(len(table)))
        for i, table in enumerate(tables)
    ]
    model = small_model("byte")
    spelling = Spelling(model.tokenizer, "none")
    reader = reader_of(model.network, model.weights, PLAINLY)
    encoder = Encoder(reader, spelling)
    encoder._tokens = Tables(tables)
    for symbol in symbols:
        encoder.add(symbol)
    data = encoder.finish()
    bits = sum(math.log2(TOTAL / (table[s] + 1)) for table, s in zip(tables, symbols, strict=True))
    assert bits - 1 < 8 * len(data) < bits * 1.001 + 65
    assert list(plain_range_decoder(data, tables)) == symbols
    decoder = Decoder(reader, spelling, data, "it")
    found = Tables(tables)
    assert [decoder._take(found) for _ in tables] == symbols


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe", "char by line", "byte by line"])
def test_the_size_is_what_the_model_says(kind, monkeypatch):
    write_only(monkeypatch, "coded")
    model = small_model(kind)
    text = "the cat sat.\n" * 60 if not kind.startswith("char") else "abc caa \u00e9c\n" * 60
    data, _ = compress(model, io.BytesIO(text.encode()))
    engine = NumpyEngine(model.network, model.weights)
    if model.records == "line":
        records = [model.tokenizer.encode(line) for line in text.splitlines()]
        texts = [np.append(ids, model.tokenizer.boundary) for ids in records]
    else:
        texts = [np.array(list(Spelling(model.tokenizer, "none").steps(text)))]
    bits = sum(token_nats(engine, ids)[0].sum() for ids in texts) / math.log(2)
    assert 0.99 * bits < 8 * (len(data) - HEADER - 4) < bits * 1.001 + 65


@pytest.mark.parametrize("kind", ["char", "char with <unk>", "word", "byte"])
def test_what_no_token_stands_for_takes_little_more_than_its_bytes(kind, monkeypatch):
    write_only(monkeypatch, "coded")
    noise = np.random.default_rng(0).integers(128, 192, 3000, dtype=np.uint8).tobytes()
    model = small_model(kind)
    if kind == "byte":
        model = Model(**{**vars(model), "weights": {k: w * 0 for k, w in model.weights.items()}})
    data, _ = compress(model, io.BytesIO(noise))
    assert len(data) < 1.1 * len(noise)


def test_nothing_is_a_text_too():
    data, size_bytes = compress(small_model("char"), io.BytesIO())
    assert size_bytes == 0
    assert len(data) <= HEADER + 12
