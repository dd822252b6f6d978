"""`--adapt` and `--cache` through real processes: eval, score, compress and decompress."""

import json
import math

import numpy as np
import pytest
from support.archives import HEADER

from charlm import model_file
from charlm.adaptation import reader_of, text_nats
from charlm.config import AdaptationConfig
from charlm.corpus import Corpus

# A text that the models of the tests have not seen, and that repeats itself.
TEXT = "to my own lord that night again, what say you?\n" * 12
NAMES = "zorab\nmirza\nzorab\nanna\nzorab\n" * 6
WAYS = {
    "adapt": (["--adapt"], AdaptationConfig(adapt="all")),
    "cache": (["--cache", "50"], AdaptationConfig(cache=50)),
    "both, all set": (
        ["--adapt", "--adapt-lr", "0.002", "--adapt-decay", "0.01", "--adapt-context", "20",
         "--cache", "50", "--cache-weight", "0.2", "--cache-flatness", "30"],
        AdaptationConfig("all", 0.002, 0.01, 20, 50, 0.2, 30.0),
    ),
}  # fmt: skip
every_way = pytest.mark.parametrize("way", WAYS)


def expected_nats(run, ids, config, records=False):
    model = model_file.load(run)
    reader = reader_of(model.network, model.weights, config)
    if records:
        return text_nats(reader, ids, model.tokenizer.boundary)
    reader.given(model.tokenizer.newline)  # a text begins a line, of which nothing is learned
    return text_nats(reader, ids)


def run(charlm, *args, stdin=b""):
    done = charlm(*args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@every_way
def test_eval_reads_a_split_as_one_stream(charlm, model, corpus, way):
    args, config = WAYS[way]
    nats = expected_nats(model, np.asarray(Corpus(corpus).ids("val")), config)
    found = json.loads(run(charlm, "eval", model, corpus, "--json", *args))
    assert found["nats_per_char"] == pytest.approx(nats.mean(), rel=1e-6)
    assert found["tokens"] == len(nats)
    assert found["bits_per_char_low"] < found["bits_per_char"] < found["bits_per_char_high"]


@every_way
def test_eval_carries_what_was_learned_from_record_to_record(charlm, names_model, way):
    args, config = WAYS[way]
    tokenizer = model_file.load(names_model).tokenizer
    kept = NAMES.replace("z", "").splitlines()
    ids = [np.append(tokenizer.encode(name), tokenizer.boundary) for name in kept]
    nats = expected_nats(names_model, np.concatenate(ids), config, records=True)
    found = json.loads(
        run(charlm, "eval", names_model, "--json", *args, stdin="\n".join(kept) + "\n")
    )
    assert found["nats_per_char"] == pytest.approx(nats.mean(), rel=1e-6)


@every_way
def test_a_text_that_repeats_itself_costs_less(charlm, model, way):
    plain, learned = (
        json.loads(run(charlm, "eval", model, "--json", *args, stdin=TEXT))["nats_per_char"]
        for args in ([], WAYS[way][0])
    )
    assert learned < 0.97 * plain


@every_way
@pytest.mark.parametrize("kind", ["model", "names_model"])
def test_compressed_and_back(charlm, request, tmp_path, kind, way):
    """The size is what eval says with the same options, and decompress needs none of them."""
    model, args = request.getfixturevalue(kind), WAYS[way][0]
    text = TEXT if kind == "model" else NAMES.replace("z", "b")
    small = run(charlm, "compress", model, "--quiet", *args, stdin=text)
    assert run(charlm, "decompress", model, stdin=small) == text.encode()
    told = json.loads(run(charlm, "eval", model, "--json", *args, stdin=text))
    header = HEADER + 41 + 4  # with how the model learns, and the checksum
    bits = told["bits_per_byte"] * told["bytes"]
    assert 0.995 * bits - 8 < 8 * (len(small) - header) < 1.005 * bits + 64


def test_any_bytes_come_back(charlm, model):
    for data in (b"", bytes(range(256)) * 2, "né\r\n".encode() * 40):
        small = run(charlm, "compress", model, "-q", "--adapt", "--cache", 9, stdin=data)
        assert run(charlm, "decompress", model, stdin=small) == data


@every_way
@pytest.mark.parametrize("running", [True, False])
def test_score_reads_its_records_in_order(charlm, model, way, running):
    args, config = WAYS[way]
    loaded = model_file.load(model)
    newline = int(loaded.tokenizer.encode("\n")[0])
    lines = [*TEXT.splitlines()[:6], "again", ""]
    reader = reader_of(loaded.network, loaded.weights, config)
    expected = []
    for number, line in enumerate(lines):
        if number == 0 or not running:
            reader.end()
            reader.given(newline)
        nats = []
        for id in [*loaded.tokenizer.encode(line).tolist(), newline]:
            nats.append(float(np.logaddexp.reduce(reader.logits[0]) - reader.logits[0, id]))
            reader.read(id)
        expected.append(nats)
    more = ["--running"] * running
    stdin = "\n".join(lines) + "\n"
    rows = run(charlm, "score", model, *args, *more, stdin=stdin).decode().splitlines()
    bits = [float(row.split("\t")[0]) for row in rows]
    np.testing.assert_allclose(
        bits, [sum(nats) / math.log(2) for nats in expected], rtol=1e-4, atol=1e-3
    )
    rows = run(charlm, "score", model, "--each", *args, *more, stdin=stdin).decode().splitlines()
    bits = [float(row.split("\t")[3]) for row in rows]
    np.testing.assert_allclose(bits, np.concatenate(expected) / math.log(2), rtol=1e-4, atol=1e-3)


def test_score_of_records(charlm, names_model):
    rows = run(charlm, "score", names_model, "--adapt", stdin=NAMES).decode().splitlines()
    bits = [float(row.split("\t")[0]) for row in rows]
    assert bits[-1] < bits[0]
    again = run(charlm, "score", names_model, "--adapt", stdin=NAMES + "anna\n").decode()
    assert again.splitlines()[:-1] == rows


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["eval", "MODEL", "CORPUS", "--adapt-lr", "0.01"], 1, "give --adapt, too"),
        (["score", "MODEL", "--cache-weight", "0.5"], 1, "give --cache, too"),
        (["compress", "MODEL", "--adapt-context", "9"], 1, "give --adapt, too"),
        (["eval", "MODEL", "CORPUS", "--adapt", "--adapt-lr", "-1"], 2, "--adapt-lr"),
        (["eval", "MODEL", "CORPUS", "--cache", "0"], 2, "--cache"),
        (["eval", "MODEL", "CORPUS", "--cache", "9", "--cache-weight", "1"], 2, "--cache-weight"),
        (["eval", "MODEL", "CORPUS", "--adapt", "--protocol", "nanogpt"], 2, "--protocol"),
        (["eval", "BOTH", "CORPUS", "--adapt"], 1, "bidirectional"),
        (["score", "BOTH", "--cache", "9"], 1, "bidirectional"),
        (["compress", "BOTH", "--adapt"], 1, "bidirectional"),
        (["decompress", "MODEL", "--adapt"], 2, "No such option"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, model, corpus, both_sides_model, args, code, words):
    places = {"MODEL": model, "CORPUS": corpus, "BOTH": both_sides_model}
    done = charlm(*[places.get(arg, arg) for arg in args], stdin="the king\n")
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert code == 2 or message.count("\n") == 1
    assert done.stdout == b""
