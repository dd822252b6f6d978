"""What a model cannot make smaller is stored: no archive is more than 64 bytes longer."""

import io
import zlib

import numpy as np
import pytest
from support.archives import FORMS, HEADER, small_model, write_only

from charlm.compression import archive, compress, decompress
from charlm.config import PLAINLY, AdaptationConfig

GROWTH = 64
NOISE = np.random.default_rng(0).integers(0, 256, 700, dtype=np.uint8).tobytes()
INPUTS = {
    "nothing": b"",
    "a byte": b"x",
    "noise": NOISE,
    "unknown text": "Съешь же ещё этих мягких булок".encode() * 5,
    "newlines": b"\r\n\r\n" * 30,
}


@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("kind", FORMS)
def test_nothing_grows_by_more_and_all_comes_back(kind, data):
    model = small_model(kind)
    small, size_bytes = compress(model, io.BytesIO(data))
    assert size_bytes == len(data)
    assert len(small) <= len(data) + GROWTH
    assert b"".join(decompress(model, io.BytesIO(small), "it")) == data


@pytest.mark.parametrize("config", [PLAINLY, AdaptationConfig(cache=20)], ids=["plain", "cache"])
def test_the_shorter_of_both_forms_is_written(monkeypatch, config):
    model = small_model("char")
    for data in (NOISE[:100], "abc cab \u00e9\n".encode() * 100):
        found, _ = compress(model, io.BytesIO(data), config=config)
        sizes = {}
        for form in ("coded", "stored"):
            with monkeypatch.context() as patch:
                write_only(patch, form)
                sizes[form] = len(compress(model, io.BytesIO(data), config=config)[0])
        assert len(found) == min(sizes.values())
        assert sizes["stored"] == HEADER + len(data) + 4


def test_a_stored_archive_is_the_original_between_header_and_checksum():
    data, _ = compress(small_model("word"), io.BytesIO(NOISE))
    assert int.from_bytes(data[8:10], "little") == 3
    assert data[HEADER:-4] == NOISE
    assert data[-4:] == zlib.crc32(data[:-4]).to_bytes(4, "little")


def test_any_model_on_any_machine_brings_it_back(monkeypatch):
    data, _ = compress(small_model("char"), io.BytesIO(NOISE))
    monkeypatch.setattr(archive, "fingerprint", lambda reader, config: b"12345678")
    assert b"".join(decompress(small_model("word"), io.BytesIO(data), "it")) == NOISE
