"""Compression: what is not whole, not ours or not this model's is refused, and nothing hangs."""

import io
import struct

import numpy as np
import pytest
from support.archives import HEADER, sealed, small_model, write_only

from charlm.adaptation import Reader
from charlm.compression import archive, compress, decompress
from charlm.errors import DataError
from charlm.model_file import Model


@pytest.fixture
def coded(monkeypatch):
    write_only(monkeypatch, "coded")


@pytest.fixture(params=["coded", "stored"])
def form(request, monkeypatch):
    write_only(monkeypatch, request.param)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: small_model("char", seed=2), "weights"),
        (lambda: small_model("char", width=12), "shape of its network"),
        (lambda: small_model("char nfc"), "tokenizer"),
        (lambda: small_model("word"), "tokenizer"),
        (lambda: Model(**{**vars(small_model("char")), "records": "file"}), "tokenizer"),
    ],
)
def test_another_model_is_refused_by_what_differs(other, words, coded):
    data, _ = compress(small_model("char"), io.BytesIO(b"abc abc"))
    with pytest.raises(DataError, match=words):
        decompress(other(), io.BytesIO(data), "it")


def test_a_model_with_another_history_is_the_same():
    model = small_model("char")
    data, _ = compress(model, io.BytesIO(b"abc abc"))
    moved = Model(**{**vars(model), "history": {"steps": 9}, "version": "0"})
    assert b"".join(decompress(moved, io.BytesIO(data), "it")) == b"abc abc"


def test_a_machine_that_computes_otherwise_is_refused(monkeypatch, coded):
    model = small_model("char")
    data, _ = compress(model, io.BytesIO(b"abc abc"))
    monkeypatch.setattr(archive, "fingerprint", lambda reader, config: b"12345678")
    with pytest.raises(DataError, match="this machine computes"):
        decompress(model, io.BytesIO(data), "it")


def test_a_slip_of_the_arithmetic_is_found_at_the_end(monkeypatch, coded):
    """The fingerprint is a probe, and a difference may show after it."""
    model = small_model("byte")
    text = b"the cat sat on the mat. " * 4
    data, _ = compress(model, io.BytesIO(text))
    honest, steps = Reader._expected, iter(range(10**6))

    def expected(self, *places):
        return honest(self, *places) + (next(steps) == 70) * np.linspace(0, 1, 256)

    monkeypatch.setattr(Reader, "_expected", expected)
    with pytest.raises(DataError, match="machine"):
        b"".join(decompress(model, io.BytesIO(data), "it"))


DAMAGED = ["char", "byte by line", "word"]


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_cut_off_anywhere_is_refused(kind, form):
    model = small_model(kind)
    data, _ = compress(model, io.BytesIO(b"the cat sat\nabc\xff"))
    for length in range(len(data)):
        with pytest.raises(DataError):
            decompress(model, io.BytesIO(data[:length]), "it")
    with pytest.raises(DataError, match="damaged or cut off"):
        decompress(model, io.BytesIO(data + b"\0"), "it")


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_flipped_bit_anywhere_is_refused(kind, form):
    model = small_model(kind)
    data, _ = compress(model, io.BytesIO(b"the cat sat\nabc\xff"))
    for at in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(DataError):
            decompress(model, io.BytesIO(flipped), "it")


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_was_changed_by_hand_ends_and_gives_no_other_text(kind, form):
    """A checksum that fits says nothing; bits past the end of the code may be anything."""
    model = small_model(kind)
    text = b"the cat sat\nabc\xff" * 3
    data, _ = compress(model, io.BytesIO(text))
    for at in range(8 * HEADER, 8 * (len(data) - 4), 5):
        body = bytearray(data[:-4])
        body[at // 8] ^= 1 << at % 8
        try:
            found = b"".join(decompress(model, io.BytesIO(sealed(body)), "it"))
        except DataError:
            continue
        assert found == text


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("keep", [0, 4, 8, 10**6])
def test_an_endless_text_cannot_be_asked_for(kind, keep, form):
    model = small_model(kind)
    data, _ = compress(model, io.BytesIO(b"abc" * 30))
    fields = list(archive._HEADER.unpack_from(data))
    fields[-2] = 2**63
    body = archive._HEADER.pack(*fields) + data[HEADER:-4][:keep]
    with pytest.raises(DataError, match="damaged"):
        for _ in decompress(model, io.BytesIO(sealed(body)), "it"):
            pass


def test_a_later_format_and_another_file_are_told_apart():
    model = small_model("char")
    data, _ = compress(model, io.BytesIO(b"abc"))
    later = sealed(data[:8] + struct.pack("<H", 9) + data[10:-4])
    with pytest.raises(DataError, match="format 9"):
        decompress(model, io.BytesIO(later), "it")
    with pytest.raises(DataError, match="charlm compress"):
        decompress(model, io.BytesIO(b"once upon a time"), "it")
