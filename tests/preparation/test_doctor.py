"""The text doctor: what it says about a text, and the errors it saves one from."""

import numpy as np
import pytest

from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.errors import DataError
from charlm.preparation import lines, sources


@pytest.fixture
def prep(tmp_path):
    """Prepares texts or bytes, each a file; the corpus, with what was said about it."""

    def run(*texts, **knobs):
        paths = [tmp_path / f"text{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        said = []
        config = PrepConfig(**knobs)
        corpus = prepare(paths, tmp_path / "data", config, force=True, say=said.append)
        corpus.said = "\n".join(said)
        return corpus

    return run


@pytest.mark.parametrize("chunk", [1, 4, 1 << 20])
def test_bytes_that_are_not_utf8_are_named(prep, monkeypatch, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    for data, place in [
        (b"ok\nna\xefve", "byte 0xEF at offset 5, line 2"),
        ("é\n".encode() + b"a\x80", "byte 0x80 at offset 4, line 2"),
        ("abc😀".encode()[:-1], "byte 0xF0 at offset 3, line 1"),
        (b"\xff\xfea\0", "byte 0xFF at offset 0, line 1"),
        (b"\xed\xa0\x80", "byte 0xED at offset 0, line 1"),
    ]:
        with pytest.raises(DataError, match=f"text0.txt is not UTF-8 .{place}.*--level byte"):
            prep(data)


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_byte_order_marks_and_carriage_returns_are_reported(prep, monkeypatch, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    corpus = prep("\ufeffa\r\nb\ufeff\r\n", "\ufeffc\n", val=0, test=0)
    assert corpus.tokenizer.decode(corpus.ids("train")) == "a\r\nb\ufeff\r\nc\n"
    assert corpus.said.count("byte order mark") == 2
    assert "2 lines end with CRLF, which is kept" in corpus.said


def test_a_clean_text_gets_one_line(prep):
    numbers = (i * 37 % 99 for i in range(99))
    corpus = prep("".join(f"line {i:03} of a text without any fault\n" for i in numbers))
    assert corpus.said == "text: nothing odd about it"


def test_rare_symbols_are_named(prep):
    said = prep("ab" * 50 + "\u0301é\ue000\r").said
    assert "symbols seen fewer than 3 times: 4 of 6: '\\r' (U+000D)" in said
    assert "U+0301" in said


def test_repeated_lines_and_overlap_are_reported(prep):
    text = "".join(f"this is line number {i} of the text\n" for i in range(100))
    assert "repeats" not in prep(text).said
    said = prep(text + text[: len(text) // 4]).said
    assert "20.0% of the lines of 20 characters or more are repeats" in said
    assert "100.0% of the validation lines" in said


@pytest.mark.parametrize("records", ["none", "line"])
def test_overlap_is_with_the_training_text_only(prep, records):
    def text(numbers):
        return "".join(f"this is line number {i:04} of the text\n" for i in numbers)

    train, val, test = range(800), [*range(790, 800), *range(800, 890)], range(800, 900)
    shares = {"val": 0.1, "test": 0.1, "held_out": "last"}
    said = prep(text([*train, *val, *test]), records=records, **shares).said
    assert "10.0% of the validation lines" in said


def test_repetition_is_estimated_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(lines, "KEPT_AT_MOST", 500)
    numbers = np.random.default_rng(0).integers(0, 20_000, 40_000)
    data = "".join(f"this is the line number {i} é\n" for i in numbers).encode()
    found = lines.Lines()
    for begin in range(0, len(data), 10_000):
        found.add(data[begin : begin + 10_000])
    found.close()
    assert found.sampled
    assert len(found._kept) <= 500
    assert found.repeated() == pytest.approx(1 - len(set(numbers)) / 40_000, abs=0.05)


def test_line_lengths_count_characters():
    short, long = "é" * 19, "é" * 20
    marks, starts, ends = lines._long_lines(f"{short}\n{long}\n\n{long}x\n".encode())
    assert (starts.tolist(), ends.tolist()) == ([39, 81], [79, 122])
    assert len(set(marks.tolist())) == 2
