"""`charlm compare` through real processes: the same bytes, whatever the models' tokens are."""

import gzip
import json
import math

import numpy as np
import pytest

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig
from charlm.corpus import prepare
from charlm.measuring.lines import line_nats, line_sizes
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights

TEXT = "the king shall have his own again.\nwhat say you to that, my lord?\ni know not.\n" * 4


def compare(charlm, *args, stdin=""):
    done = charlm("compare", *args, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes a model of the symbols of TEXT that has not learned anything yet."""

    def make(**settings):
        folder = tmp_path_factory.mktemp("made")
        (folder / "t").write_text("\n".join([TEXT] * 4))
        corpus = prepare([folder / "t"], folder / "d", PrepConfig(**settings))
        network = Network(NetworkConfig(width=8), corpus.tokenizer.vocabulary)
        weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
        model = model_file.Model(network, weights, corpus.tokenizer, records=corpus.records)
        model_file.save(model, folder / "m.safetensors")
        return folder / "m.safetensors"

    return make


@pytest.fixture(scope="module")
def words(made):
    return made(level="word", min_count=2)


@pytest.fixture(scope="module")
def raw(made):
    return made(level="byte")


@pytest.fixture(scope="module")
def pairs(made):
    return made(level="bpe", vocab_size=270)


@pytest.fixture(scope="module")
def by_line(made):
    return made(records="line")


@pytest.fixture(scope="module")
def by_blank(made):
    return made(records="blank")


def whole(run, text):
    """The nats of a text that the model knows every symbol of, read at once."""
    loaded = model_file.load(run)
    engine = NumpyEngine(loaded.network, loaded.weights)
    return after_newline(engine, loaded.tokenizer, loaded.tokenizer.encode(text)).sum()


def after_newline(engine, tokenizer, ids):
    """The nats of each of ids where they begin a line."""
    return token_nats(engine, np.append([tokenizer.newline], ids))[0][1:]


def test_each_models_bits_are_those_of_the_whole_text(charlm, model, raw, words, pairs):
    runs = [model, raw, words, pairs]
    found = compare(charlm, *runs, "-", stdin=TEXT)
    for run, row in zip(runs, found, strict=True):
        assert row["model"] == str(run)
        bits = whole(run, TEXT) / math.log(2) / len(TEXT.encode())
        assert row["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
        assert row["low"] <= row["bits_per_byte"] <= row["high"]
        assert (row["lines"], row["unknown"]) == (12, 0)


def test_the_difference_is_from_the_best(charlm, model, raw, words):
    found = compare(charlm, raw, model, words, "-", stdin=TEXT)
    best = min(found, key=lambda row: row["bits_per_byte"])
    assert best["difference"] == best["difference_low"] == best["difference_high"] == 0
    assert best["wins"] == 0
    for row in found:
        difference = row["bits_per_byte"] - best["bits_per_byte"]
        assert row["difference"] == pytest.approx(difference, abs=1e-9)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert 0 <= row["wins"] <= row["lines"]


def test_a_model_against_itself_is_no_different(charlm, model):
    first, second = compare(charlm, model, model, "-", stdin=TEXT)
    assert first == second
    assert second["difference_high"] == second["wins"] == 0


def test_the_table_has_a_header_and_a_row_per_model(charlm, model, raw, tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    done = charlm("compare", model, raw, tmp_path / "t.txt")
    header, *rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    found = compare(charlm, model, raw, "-", stdin=TEXT)
    assert header == list(found[0])
    assert [row[0] for row in rows] == [str(model), str(raw)]
    assert float(rows[0][1]) == pytest.approx(found[0]["bits_per_byte"], abs=1e-4)
    assert done.stderr == b""


def test_a_gzip_file_is_read_as_what_is_inside(charlm, model, raw, tmp_path):
    (tmp_path / "t.gz").write_bytes(gzip.compress(TEXT.encode()))
    plain = compare(charlm, model, raw, "-", stdin=TEXT)
    assert compare(charlm, model, raw, tmp_path / "t.gz") == plain


def test_unknown_characters_are_named_and_told(charlm, model, raw):
    known, strange = "the king\nthe king\n", "the k☃☃ing\nthe king\n"
    done = charlm("compare", model, raw, "-", "--json", stdin=strange)
    row, other = map(json.loads, done.stdout.splitlines())
    assert (row["unknown"], other["unknown"]) == (2, 0)
    bits = whole(model, known) / math.log(2) + 2 * math.log2(1_114_112)
    assert row["bits_per_byte"] == pytest.approx(bits / len(strange.encode()), rel=1e-5)
    message = done.stderr.decode()
    assert f"{model}: 2 characters not in the vocabulary, at 20.09 bits a character" in message
    assert message.count("\n") == 1


def test_an_unknown_word_is_read_as_unk_and_spelled_out(words):
    loaded = model_file.load(words)
    engine = NumpyEngine(loaded.network, loaded.weights)
    nats, unknown = line_nats(loaded, "i know zebras\nthe.")
    ids = loaded.tokenizer.encode("i know zebras\nthe.")
    read = after_newline(engine, loaded.tokenizer, ids)
    assert unknown == 1
    assert ids[2] == loaded.tokenizer.unknown
    expected = [read[:4].sum() + len(" zebras") * math.log(1_114_112), read[4:].sum()]
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


def test_lines_of_records_are_read_alone(by_line):
    loaded = model_file.load(by_line)
    engine = NumpyEngine(loaded.network, loaded.weights)
    nats, _ = line_nats(loaded, "the king\r\n\nmy lord")
    first, last = (
        token_nats(engine, np.append(loaded.tokenizer.encode(line), loaded.tokenizer.boundary))[0]
        for line in ("the king", "my lord")
    )
    named = math.log(1_114_112)  # the carriage return, and the empty line, which are not read
    expected = [first.sum() + named, named, last.sum()]
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


def test_blank_lines_end_records_and_count_for_the_line_before(by_blank):
    loaded = model_file.load(by_blank)
    engine = NumpyEngine(loaded.network, loaded.weights)
    nats, _ = line_nats(loaded, "the king\nhis own\n\n\nmy lord\n")
    tokenizer = loaded.tokenizer
    first, second = (
        token_nats(engine, np.append(tokenizer.encode(record), tokenizer.boundary))[0]
        for record in ("the king\nhis own", "my lord")
    )
    # The boundary is the first blank line; the second is not read.
    expected = [first[:9].sum(), first[9:].sum(), 0, math.log(1_114_112), second.sum()]
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


@pytest.mark.parametrize("which", ["model", "raw", "words", "pairs", "by_line", "by_blank"])
def test_the_lines_add_up_to_the_text(request, which):
    loaded = model_file.load(request.getfixturevalue(which))
    for text in ("i know not", "\n", "\n\n", "my lord?\n\nthat\n", "\r\nthat\r\n\n", "ok ☃\nI"):
        sizes = line_sizes(text.encode())
        nats, _ = line_nats(loaded, text)
        assert len(nats) == len(sizes) == len(text.splitlines())
        assert sizes.sum() == len(text.encode())
        assert nats.sum() > 0


def test_one_line_has_no_interval(charlm, model, raw):
    row, _ = compare(charlm, model, raw, "-", stdin="the king")
    assert row["low"] is row["difference_low"] is None
    table = charlm("compare", model, raw, "-", stdin="the king").stdout.decode()
    assert table.splitlines()[1].split("\t")[2] == "-"


def test_models_of_bytes_are_compared_on_any_bytes(charlm, raw):
    first, second = compare(charlm, raw, raw, "-", stdin=b"\xff\xfe\n\x80\n")
    assert first == second
    assert first["lines"] == 2


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["MODEL", "TEXT"], 2, "two models at least"),
        (["TEXT"], 2, "two models at least"),
        ([], 2, "FILE"),
        (["MODEL", "nowhere", "TEXT"], 1, "does not exist"),
        (["MODEL", "FOLDER", "TEXT"], 1, "holds no model.safetensors"),
        (["MODEL", "MODEL", "nowhere"], 1, "nowhere"),
        (["MODEL", "MODEL", "FOLDER"], 1, "the last argument is the text"),
        (["MODEL", "MODEL", "-"], 1, "stdin is empty"),
        (["MODEL", "BOTH", "TEXT"], 1, "bidirectional"),
    ],
)
def test_mistakes_are_told_in_one_line(
    charlm, model, raw, both_sides_model, tmp_path, args, code, words
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("the king\n")
    (tmp_path / "latin").write_bytes(b"the k\xefng\n")
    places = {
        "MODEL": model, "BOTH": both_sides_model, "RAW": raw, "TEXT": tmp_path / "text",
        "FOLDER": tmp_path / "folder", "LATIN": tmp_path / "latin",
    }  # fmt: skip
    done = charlm("compare", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
