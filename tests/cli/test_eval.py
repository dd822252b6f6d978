"""`charlm eval` through real processes: exact, the same whatever way the text comes."""

import gzip
import json
import math

import numpy as np
import pytest

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.network import Network
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights


def evaluate(charlm, *args, stdin=""):
    done = charlm("eval", *args, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return json.loads(done.stdout)


def engine_of(run):
    loaded = model_file.load(run)
    return NumpyEngine(loaded.network, loaded.weights), loaded.tokenizer


@pytest.fixture(scope="module")
def train_text(corpus):
    """The text of the corpus's training split."""
    data = Corpus(corpus)
    return data.tokenizer.decode(data.ids("train"))


@pytest.fixture(scope="module")
def word_model(train_text, tmp_path_factory):
    """A model of words that has not learned anything yet."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "t").write_text(train_text)
    tokenizer = prepare([folder / "t"], folder / "d", PrepConfig(level="word")).tokenizer
    network = Network(NetworkConfig(width=8), tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
    model_file.save(model_file.Model(network, weights, tokenizer), folder / "m.safetensors")
    return folder / "m.safetensors"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_is_scored_exactly(charlm, model, corpus, split):
    ids = Corpus(corpus).ids(split)
    engine, tokenizer = engine_of(model)
    nats = token_nats(engine, np.append([tokenizer.newline], ids))[0][1:].sum()
    found = evaluate(charlm, model, corpus, "--split", split)
    size = Corpus(corpus).size(split)
    assert (found["tokens"], found["chars"], found["bytes"]) == (
        size.tokens, size.chars, size.bytes,
    )  # fmt: skip
    assert found["nats_per_char"] == pytest.approx(nats / size.chars, rel=1e-5)
    assert found["bits_per_char"] == pytest.approx(found["nats_per_char"] / math.log(2))
    assert found["perplexity"] == pytest.approx(math.exp(nats / len(ids)), rel=1e-4)
    assert found["bits_per_char_low"] < found["bits_per_char"] < found["bits_per_char_high"]
    assert found["split"] == split
    assert found["unknown"] == 0


def test_a_split_is_val_unless_told(charlm, model, corpus):
    assert evaluate(charlm, model, corpus) == evaluate(charlm, model, corpus, "--split", "val")


def test_is_what_training_told(charlm, model, corpus):
    told = model_file.load(model).history["val_bits_per_char"]
    assert evaluate(charlm, model, corpus)["bits_per_char"] == pytest.approx(told, abs=1e-4)


def test_a_file_is_the_split_with_its_text(charlm, model, corpus, train_text, tmp_path):
    (tmp_path / "t.txt").write_text(train_text)
    (tmp_path / "t.gz").write_bytes(gzip.compress(train_text.encode()))
    split = evaluate(charlm, model, corpus, "--split", "train")
    figures = {name: value for name, value in split.items() if name not in ("text", "split")}
    for given in (tmp_path / "t.txt", tmp_path / "t.gz", "-"):
        found = evaluate(charlm, model, given, stdin=train_text)
        assert {name: found[name] for name in figures} == figures
    assert evaluate(charlm, model, stdin=train_text) == found


def test_a_model_of_records_reads_records(charlm, names_model):
    engine, tokenizer = engine_of(names_model)
    records = ["anna", "zoot", "dora"]
    text = "anna\n\nzoot\r\ndora"
    done = charlm("eval", names_model, "--json", "--unknown", "error", stdin=text)
    assert done.returncode == 1
    found = evaluate(charlm, names_model, stdin=text)
    kept = ["".join(c for c in r if c.encode() in tokenizer.pieces) for r in records]
    nats = [
        token_nats(engine, np.append(tokenizer.encode(record), tokenizer.boundary))[0].sum()
        for record in kept
    ]
    chars = sum(map(len, records)) + 3
    strange = chars - sum(map(len, kept)) - 3
    assert found["chars"] == found["tokens"] == chars
    assert (found["unknown"], found["bytes"]) == (strange, len(text) + 1)  # with the last's end
    assert found["unread"] == 2  # the empty line and the carriage return
    bits = (sum(nats) + strange * math.log(0x110000)) / math.log(2)
    assert found["bits_per_char"] == pytest.approx(bits / chars, rel=1e-5)
    bits += 2 * math.log2(0x110000)
    assert found["bits_per_byte"] == pytest.approx(bits / (len(text) + 1), rel=1e-5)


def test_a_split_of_records_is_the_file_with_them(charlm, names_model):
    data = Corpus(names_model.parent / "data")
    ids = data.ids("val")
    pieces = data.tokenizer.pieces
    text = b"".join(b"\n" if id == data.tokenizer.boundary else pieces[id] for id in ids)
    split, file = (
        evaluate(charlm, names_model, data.path),
        evaluate(charlm, names_model, stdin=text),
    )
    assert split["chars"] == split["tokens"] == len(ids)
    assert {**split, "text": "stdin"} == {**file, "split": "val"}


def test_unknown_words_are_counted_and_share_the_texts_length(charlm, word_model):
    found = evaluate(charlm, word_model, stdin="the king, zebras zigzag again")
    assert found["unknown"] == 2
    assert found["chars"] == 29
    assert found["tokens"] == 6
    assert found["unread"] == len(" zebras zigzag")
    left_out = evaluate(charlm, word_model, "--unknown", "skip", stdin="the king, zebras again")
    assert (left_out["unknown"], left_out["chars"], left_out["tokens"]) == (1, 22, 5)
    assert left_out["unread"] == 0  # what is skipped is paid for as it is


def test_unknown_characters_can_be_replaced(charlm, model):
    found = evaluate(charlm, model, "--unknown", "replace", stdin="the k☃ng\n" * 3)
    assert (found["unknown"], found["chars"], found["bytes"]) == (3, 27, 33)


def test_nanogpts_figure_is_that_of_cold_windows(charlm, model, corpus):
    engine, _ = engine_of(model)
    ids = np.asarray(Corpus(corpus).ids("train"))
    nats = [
        token_nats(engine, ids[begin : begin + 257])[0][1:]
        for begin in range(0, len(ids) - 256, 256)
    ]
    found = evaluate(charlm, model, corpus, "--split", "train", "--protocol", "nanogpt")
    assert found["nanogpt_nats_per_token"] == pytest.approx(np.mean(nats), rel=1e-5)


def test_cold_windows_are_of_what_is_read(charlm, model):
    """What is skipped is in no window, as it is in no text."""
    line = "the king shall have his own again.\n"
    protocol = ("--protocol", "nanogpt", "--unknown", "skip")
    strange = evaluate(charlm, model, *protocol, stdin=line.replace("k", "☃k") * 20)
    plain = evaluate(charlm, model, *protocol, stdin=line * 20)
    assert strange["nanogpt_nats_per_token"] == pytest.approx(plain["nanogpt_nats_per_token"])


def test_the_lines_are_names_and_values(charlm, model, corpus):
    lines = charlm("eval", model, corpus).stdout.decode().splitlines()
    found = evaluate(charlm, model, corpus)
    assert [line.split()[0] for line in lines] == list(found)
    assert len({line.index(line.split()[1], 20) for line in lines}) == 1
    values = dict(line.split() for line in lines)
    assert float(values["bits_per_char"]) == pytest.approx(found["bits_per_char"], abs=1e-4)


def test_a_single_token_has_no_interval(charlm, model):
    found = evaluate(charlm, model, stdin="t")
    assert found["bits_per_char"] > 0
    assert found["bits_per_char_low"] is None


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere", "CORPUS"], 1, "does not exist"),
        (["EMPTY", "CORPUS"], 1, "holds no model.safetensors"),
        (["MODEL", "nowhere"], 1, "nowhere"),
        (["MODEL", "EMPTY"], 1, "is not a corpus"),
        (["MODEL", "OTHER"], 1, "another tokenizer"),
        (["MODEL", "-"], 1, "stdin is empty"),
        (["MODEL", "STRANGE", "--unknown", "error"], 1, "'☃' (U+2603) at STRANGE, line 2, column "),
        (["MODEL", "LATIN", "--unknown", "error"], 1, "byte 0xEF at "),
        (["BOTH", "CORPUS"], 1, "bidirectional"),
        (["NAMES", "OTHER", "--protocol", "nanogpt"], 1, "running text"),
        (["MODEL", "CORPUS", "--unknown", "skip"], 2, "--unknown is for a file"),
        (["MODEL", "STRANGE", "--split", "val"], 2, "--split is for a corpus"),
        (["MODEL", "CORPUS", "--split", "dev"], 2, "dev"),
        ([], 2, "MODEL"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(
    charlm, model, corpus, both_sides_model, names_model, tmp_path, args, code, words
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "strange").write_text("the king\nthe k☃ng\n", encoding="utf-8")
    (tmp_path / "latin").write_bytes(b"the k\xefng\n")
    places = {
        "MODEL": model, "CORPUS": corpus, "BOTH": both_sides_model, "NAMES": names_model,
        "OTHER": names_model.parent / "data", "EMPTY": tmp_path / "empty",
        "STRANGE": tmp_path / "strange", "LATIN": tmp_path / "latin",
    }  # fmt: skip
    done = charlm("eval", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words.replace("STRANGE", str(tmp_path / "strange")) in message
    assert "Traceback" not in message
    assert done.stdout == b""


def test_a_corpus_without_the_split_is_refused(charlm, model, corpus, tmp_path):
    tokenizer = corpus / "tokenizer.json"
    done = charlm("prep", "-", "-o", tmp_path / "d", "--tokenizer", tokenizer, "--test", 0,
                  stdin="the king shall have his own\n" * 20)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    done = charlm("eval", model, tmp_path / "d", "--split", "test")
    assert done.returncode == 1
    assert b"has no test split" in done.stderr
