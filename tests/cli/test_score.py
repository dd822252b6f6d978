"""`charlm score` through real processes."""

import gzip
import json
import math
import re
import select
import shlex
import subprocess

import pytest
from support.commands import forked

from charlm import model_file
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import byte_form, char_form
from charlm.training.initialise import initial_weights

LINES = [
    "the king shall have his own again.",
    "what say you to that, my lord?",
    "",
    "xyxyx the my kwk",
    "i know not; the night is long.",
]
TEXT = "".join(f"{line}\n" for line in LINES)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def score(charlm, model, *args, stdin=TEXT):
    done = charlm("score", model, *args, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode("utf-8")


def rows(text):
    return [line.split("\t") for line in text.splitlines()]


def objects(text):
    return [json.loads(line) for line in text.split("\n") if line]


def untrained(path, form, **shape):
    tokenizer = Tokenizer.from_json(form)
    network = build(NetworkConfig(cell="gru", width=8, **shape), tokenizer.vocabulary)
    weights = {name: weight.numpy() for name, weight in initial_weights(network, 1).items()}
    model_file.save(model_file.Model(network, weights, tokenizer), path)
    return path


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory):
    """A model of bytes that has learned nothing."""
    form = byte_form(boundary=False)
    return untrained(tmp_path_factory.mktemp("bytes") / "model.safetensors", form)


@pytest.fixture(scope="module")
def blank_both_sides(tmp_path_factory):
    """A bidirectional model that has learned nothing."""
    symbols = sorted(set(TEXT))
    form = char_form(symbols, boundary=False, unknown=False, normalize="none")
    path = tmp_path_factory.mktemp("both") / "model.safetensors"
    return untrained(path, form, bidirectional=True)


@pytest.fixture(scope="module")
def found(charlm, model):
    """What --json tells of LINES."""
    return objects(score(charlm, model, "--json"))


def test_every_record_has_its_row(charlm, model, found):
    table = rows(score(charlm, model))
    assert [row[-1] for row in table] == LINES
    for row, about in zip(table, found, strict=True):
        bits, per_char, per_byte, perplexity = map(float, row[:4])
        assert int(row[4]) == about["chars"] == len(row[-1]) + 1
        assert int(row[5]) == about["unknown"]
        assert bits == pytest.approx(about["bits"], abs=1e-4)
        assert per_char == pytest.approx(bits / about["chars"], abs=1e-3)
        assert per_byte == per_char
        assert perplexity == pytest.approx(about["perplexity"], abs=1e-4)
    learned, strange = found[0]["bits_per_byte"], found[3]["bits_per_byte"]
    assert strange > 2 * learned


def test_files_and_stdin_give_the_same_and_json_names_the_file(charlm, model, found, tmp_path):
    (tmp_path / "a").write_text("".join(f"{line}\n" for line in LINES[:2]))
    (tmp_path / "b").write_text("\n".join(LINES[2:]))
    args = [tmp_path / "a", "-", tmp_path / "b", "--json"]
    both = objects(score(charlm, model, *args, stdin=""))
    assert [about["record"] for about in both] == [1, 2, 1, 2, 3]
    assert [about["file"] for about in both] == [str(args[0])] * 2 + [str(args[2])] * 3
    for one, other in zip(both, found, strict=True):
        assert one["bits"] == pytest.approx(other["bits"], abs=1e-4)
        assert one["text"] == other["text"]


def test_a_gzip_file_is_read_as_what_is_inside(charlm, model, found, tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in LINES).encode()))
    inside = objects(score(charlm, model, tmp_path / "a.gz", "--json"))
    assert [one["text"] for one in inside] == LINES
    (tmp_path / "a.gz").write_bytes((tmp_path / "a.gz").read_bytes()[:-9])
    done = charlm("score", model, tmp_path / "a.gz")
    assert done.returncode == 1
    assert b"a.gz is a damaged or cut-off gzip file" in done.stderr


def test_a_record_is_one_line_whatever_is_in_it(charlm, model):
    text = "a\tb\\c\n\x1bd\re\u2028é\x85"
    (row,) = rows(score(charlm, model, "--null", stdin=f"{text}\0"))
    assert row[-1] == r"a\tb\\c\n\x1bd\re\u2028é\u0085"
    assert int(row[4]) == len(text) + 1
    assert objects(score(charlm, model, "-0", "--json", stdin=text))[0]["text"] == text


def test_a_header_names_the_columns(charlm, model):
    header, *table = rows(score(charlm, model, "--header"))
    assert header[0] == "bits"
    assert {len(row) for row in table} == {len(header)}
    header, *table = rows(score(charlm, model, "--header", "--each"))
    assert header[:2] == ["record", "place"]
    assert {len(row) for row in table} == {len(header)}


def test_the_bits_of_each_symbol_add_up_to_the_records(charlm, model, found):
    each = objects(score(charlm, model, "--each", "--json"))
    assert all(one["favourite_bits"] <= one["bits"] for one in each)
    for number, about in enumerate(found, 1):
        own = [one for one in each if one["record"] == number]
        assert [one["place"] for one in own] == list(range(1, about["tokens"] + 1))
        assert sum(one["unknown"] for one in own) == about["unknown"]
        bits = sum(one["bits"] for one in own)
        assert bits == pytest.approx(about["bits"], abs=1e-3)
        assert own[-1]["symbol"] == r"'\n'"
    table = rows(score(charlm, model, "--each"))
    assert [row[2] for row in table] == [one["symbol"] for one in each]


def test_a_model_of_records_predicts_their_end(charlm, names_model):
    each = rows(score(charlm, names_model, "--each", stdin="anna\r\nbertha\nannan\n"))
    assert [row[2] for row in each if row[2] == "<boundary>"] == ["<boundary>"] * 3
    assert len(each) == len("anna-bertha-annan-")
    bits = [float(row[0]) for row in rows(score(charlm, names_model, stdin="anna\nnnaab\n"))]
    assert bits[0] < bits[1]


def test_the_worst_and_the_order_are_by_bits_per_byte(charlm, model, found):
    by_bpb = sorted(found, key=lambda about: about["bits_per_byte"])
    texts = [about["text"] for about in by_bpb]
    assert [row[-1] for row in rows(score(charlm, model, "--sort"))] == texts
    worst = rows(score(charlm, model, "--worst", 2))
    assert [row[-1] for row in worst] == texts[::-1][:2]
    assert len(rows(score(charlm, model, "--worst", 99))) == len(LINES)


def test_the_filters_part_the_records_and_keep_their_bytes(charlm, model, found):
    middle = sorted(about["bits_per_byte"] for about in found)[3] - 1e-3
    text = TEXT.replace("long.\n", "long.")
    low = score(charlm, model, "--max-bpb", middle, "--text-only", stdin=text)
    high = score(charlm, model, "--min-bpb", middle, "--text-only", stdin=text)
    assert sorted([*low.splitlines(), *high.splitlines()]) == sorted(LINES)
    assert high == "".join(f"{a['text']}\n" for a in found if a["bits_per_byte"] > middle)
    assert score(charlm, model, "--text-only", stdin=text) == text
    sorted_out = score(charlm, model, "--text-only", "--sort", "-0", stdin="k\0the king")
    assert sorted_out == "the king\0k\0"


def test_bytes_go_through_as_they_are(charlm, bytes_model):
    raw = b"one \xff\xfe\r\ntwo\x00\n\xe2\x98"
    done = charlm("score", bytes_model, "--text-only", stdin=raw)
    assert (done.returncode, done.stdout) == (0, raw)
    table = rows(score(charlm, bytes_model, stdin=raw))
    assert [row[-1] for row in table] == [r"one \xff\xfe\r", r"two\x00", r"\xe2\x98"]
    assert "�" in objects(score(charlm, bytes_model, "--json", stdin=raw))[0]["text"]


def test_colours_leave_the_text_as_it_is(charlm, model):
    shaded = score(charlm, model, "--color", "always")
    assert "\x1b[" in shaded.splitlines()[3]
    assert [line.rstrip() for line in ANSI.sub("", shaded).splitlines()] == LINES
    for way in ("auto", "never"):
        assert score(charlm, model, "--color", way) == TEXT


def test_colours_show_what_is_unknown_and_no_controls(charlm, model):
    text = "the ☃king\x1b[31m shall\n"
    shown = ANSI.sub("", score(charlm, model, "--color", "always", stdin=text)).rstrip()
    assert shown == r"the ☃king\x1b[31m shall"
    replaced = score(charlm, model, "--color", "always", "--unknown", "replace", stdin=text)
    assert ANSI.sub("", replaced).startswith("the ☃king")


def test_running_carries_the_state_from_record_to_record(charlm, model, found):
    running = objects(score(charlm, model, "--running", "--json"))
    assert running[0]["bits"] == pytest.approx(found[0]["bits"], abs=1e-4)
    assert running[1]["bits"] != pytest.approx(found[1]["bits"], abs=1e-4)
    assert [about["chars"] for about in running] == [about["chars"] for about in found]


def test_a_bidirectional_model_scores_but_does_not_run_on(charlm, blank_both_sides):
    table = rows(score(charlm, blank_both_sides))
    assert [row[-1] for row in table] == LINES
    symbols = len(set(TEXT))
    assert float(table[0][1]) == pytest.approx(math.log2(symbols), rel=0.3)
    done = charlm("score", blank_both_sides, "--running", stdin=TEXT)
    assert done.returncode == 1
    assert b"bidirectional" in done.stderr


def test_an_unknown_symbol_is_an_error_when_asked(charlm, model):
    done = charlm("score", model, "--unknown", "error", stdin="the king\nthe ☃\nmy lord\n")
    assert done.returncode == 1
    assert [row[-1] for row in rows(done.stdout.decode())] == ["the king"]
    for word in ("stdin, record 2: ", "U+2603) at column 5.", "--unknown skip"):
        assert word in done.stderr.decode()


def test_nothing_in_is_nothing_out(charlm, model):
    for args in ([], ["--worst", 3], ["--sort", "--json"], ["--each"], ["--text-only"]):
        assert score(charlm, model, *args, stdin="") == ""


def test_each_line_is_answered_before_the_next_is_written(model):
    command = [*forked(), "score", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for line in LINES:
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, "no answer"
            assert process.stdout.readline().decode().endswith(f"\t{line}\n")
        process.stdin.write(b"no end")
        process.stdin.close()
        assert process.stdout.read().endswith(b"\tno end\n")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["MODEL", "nowhere"], 1, "nowhere"),
        (["MODEL", "FOLDER"], 1, "is a directory"),
        (["MODEL", "LATIN", "--unknown", "error"], 1, "record 2: byte 0xE9 is not UTF-8"),
        (["nowhere", "LATIN"], 1, "does not exist"),
        (["MODEL", "--worst", "0"], 2, "worst"),
        (["MODEL", "--worst", "2", "--sort"], 2, "not both"),
        (["MODEL", "--each", "--text-only"], 2, "not both"),
        (["MODEL", "--each", "--color", "auto"], 2, "not both"),
        (["MODEL", "--json", "--color", "auto"], 2, "not both"),
        (["MODEL", "--json", "--text-only"], 2, "not both"),
        (["MODEL", "--header", "--json"], 2, "not both"),
        (["MODEL", "--header", "--text-only"], 2, "not both"),
        (["MODEL", "--min-bpb", "3", "--max-bpb", "2"], 2, "nothing between"),
        (["MODEL", "--max-bpb", "nan"], 2, "nothing between"),
        (["MODEL", "--color", "red"], 2, "color"),
        (["MODEL", "--unknown", "ask"], 2, "unknown"),
        ([], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, model, tmp_path, args, code, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b"some\nt\xe9xt\n")
    places = {"MODEL": model, "FOLDER": tmp_path / "folder", "LATIN": tmp_path / "latin"}
    done = charlm("score", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message


def test_a_reader_that_goes_away_ends_it_quietly(model, tmp_path):
    (tmp_path / "text").write_text(TEXT * 2000)
    command = f"{shlex.join(forked())} score {model} {tmp_path / 'text'}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 2"], capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 2, b"")
