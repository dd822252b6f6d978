"""What people really have: foreign letters, bytes that are not UTF-8, marks, blank lines."""

import gzip
import json
import math

import pytest
from support.measured import make

from charlm.measuring import evaluation, records
from charlm.measuring.scorer import Scorer

NAMING_BITS = math.log2(0x110000)


@pytest.fixture(scope="module")
def by_blank(tmp_path_factory):
    """A model of records that end with blank lines."""
    return make(tmp_path_factory.mktemp("blank") / "m.safetensors", "char", "blank")


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A model of words between spaces."""
    return make(tmp_path_factory.mktemp("words") / "m.safetensors", "word")


def test_a_foreign_letter_has_its_row_and_its_place(charlm, model):
    done = charlm("score", model, "--each", "--json", stdin="the king\u00e9 \xe9\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["place"] for row in rows] == list(range(1, 13))
    foreign = [row for row in rows if row["unknown"]]
    assert [(row["place"], row["symbol"]) for row in foreign] == [(9, "é"), (11, "é")]
    assert all(row["bits"] == pytest.approx(NAMING_BITS) for row in foreign)


def test_the_strongest_color_is_the_foreign_letters(charlm, model):
    for args in (["score", model, "--color", "always"], ["inspect", model, "--color", "always"]):
        done = charlm(*args, stdin="the kéng shall have\n")
        assert "\x1b[30;48;5;196mé\x1b[0m" in done.stdout.decode()


def test_bytes_that_are_not_utf8_pass_through(charlm, model):
    data = b"the king\nthe \xff\xfe king\nmy lord\n"
    done = charlm("score", model, "--text-only", stdin=data)
    assert (done.returncode, done.stdout) == (0, data)
    rows = charlm("score", model, stdin=data).stdout.splitlines()
    assert [row.split(b"\t")[5] for row in rows] == [b"0", b"2", b"0"]
    assert charlm("eval", model, stdin=data).returncode == 0


def test_a_line_longer_than_the_limit_passes_through(monkeypatch):
    monkeypatch.setattr(records, "LONGEST_BYTES", 10)
    data = "eins\nzwei drei vier fünf sechs ☃☃☃☃☃☃☃\nsieben\n".encode()
    found = list(records.of_bytes(data, "text", records.Form()))
    assert "".join(one.text + one.end for one in found).encode() == data
    assert "\ufffd" not in "".join(one.text for one in found)
    assert [one.number for one in found if not one.goes_on] == [1, 2, 3]


def test_a_mark_is_no_text_wherever_a_file_begins(charlm, model, tmp_path):
    mark, text = b"\xef\xbb\xbf", b"the king\nmy lord\n"
    for command in (["score", model], ["eval", model, "--json"], ["compare", model, model, "-"]):
        assert charlm(*command, stdin=mark + text).stdout == charlm(*command, stdin=text).stdout
    args = ["sample", model, "--per-line", "--length", 5, "--seed", 1]
    assert charlm(*args, stdin=mark + text).stdout == charlm(*args, stdin=text).stdout
    for args in (["sample", model, "--length", 5, "--seed", 1], ["next", model]):
        args = [*args, "--prompt-file", "-"]
        assert charlm(*args, stdin=mark + text).stdout == charlm(*args, stdin=text).stdout


def test_a_mark_is_no_text_where_gaps_are_filled(charlm, both_sides_model):
    args = ["fill", both_sides_model, "--seed", 1]
    wanted = charlm(*args, stdin=b"the ___ king\n").stdout
    assert charlm(*args, stdin=b"\xef\xbb\xbfthe ___ king\n").stdout == wanted != b""


@pytest.mark.parametrize("command", [["eval", "MODEL"], ["compare", "MODEL", "MODEL", "-"]])
def test_a_mark_alone_is_an_empty_text(charlm, model, command):
    done = charlm(*(model if word == "MODEL" else word for word in command), stdin=b"\xef\xbb\xbf")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"stdin is empty" in done.stderr


@pytest.mark.parametrize(
    "command", [["score", "MODEL"], ["eval", "MODEL", "--json"], ["compare", "MODEL", "MODEL", "-"]]
)
def test_gzip_on_stdin_is_read_as_what_is_inside(charlm, model, command):
    command = [model if word == "MODEL" else word for word in command]
    text = b"the king\nmy lord\n"
    done = charlm(*command, stdin=gzip.compress(text))
    assert (done.returncode, done.stdout) == (0, charlm(*command, stdin=text).stdout)


def test_a_model_of_blank_line_records_is_scored_by_them(charlm, by_blank):
    text = "the king\nshall\n\n\n\nmy lord\n"
    done = charlm("score", by_blank, "--json", stdin=text)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["the king\nshall", "my lord"]
    assert done.stderr == b"passed over 2 empty lines\n"
    by_line = charlm("score", by_blank, "--records", "line", "--json", stdin=text)
    assert len(by_line.stdout.splitlines()) == 3


def test_empty_lines_are_never_the_worst(charlm, names_model):
    done = charlm("score", names_model, "--worst", 3, stdin="anna\n\nbertha\n\n\n")
    texts = [line.split(b"\t")[-1] for line in done.stdout.splitlines()]
    assert sorted(texts) == [b"anna", b"bertha"]
    assert b"passed over 3 empty lines" in done.stderr


def test_unk_is_a_token_like_any_other(spaced, tmp_path):
    """By hand: its own negative log-likelihood, and a perplexity of the others."""
    model = evaluation.load(spaced)
    (one,) = Scorer(model).score([" the zebra shall <unk> "])
    unknown = model.tokenizer.unknown
    assert one.ids.tolist()[1] == one.ids.tolist()[3] == unknown
    assert one.score.nats == pytest.approx(one.nats.sum())
    others = (one.nats[0] + one.nats[2] + one.nats[4]) / 3
    assert one.score.perplexity == pytest.approx(math.exp(one.nats.mean()))
    assert one.score.perplexity_excluding_unknown == pytest.approx(math.exp(others))
    # What a literal <unk> stands for is told; a zebra is named in bits per byte.
    assert one.score.unread == len(" zebra")
    bits = one.score.bits + len(" zebra") * NAMING_BITS
    assert one.score.bits_per_byte == pytest.approx(bits / one.score.bytes)


def test_a_line_between_spaces_has_nothing_unknown_and_an_end(spaced):
    model = evaluation.load(spaced)
    for line in (" the king shall ", "the king shall"):
        (one,) = Scorer(model).score([line])
        assert (one.score.unknown, len(one.ids)) == (0, 4)
        assert one.ids[-1] == model.tokenizer.newline
