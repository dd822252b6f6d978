"""`charlm next` through real processes."""

import json
import math

import pytest


def expected(charlm, model, *args, stdin=""):
    done = charlm("next", model, *args, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode("utf-8")


def rows(text):
    return [line.split("\t") for line in text.splitlines()]


def test_all_symbols_share_one_whole_and_the_top_are_the_first(charlm, model):
    prompt = ["--prompt", "the kin"]
    everything = rows(expected(charlm, model, *prompt, "--all"))
    likely = [float(row[2]) for row in everything]
    assert sum(likely) == pytest.approx(1, abs=1e-4)
    assert likely == sorted(likely, reverse=True)
    assert [int(row[0]) for row in everything] == list(range(1, len(everything) + 1))
    assert everything[0][1] == "g"
    assert rows(expected(charlm, model, *prompt, "--top", 3)) == everything[:3]
    assert rows(expected(charlm, model, *prompt)) == everything[:10]


def test_json_has_the_same_and_bits_are_of_the_probability(charlm, model):
    table = rows(expected(charlm, model, "--prompt", "my"))
    found = [
        json.loads(line) for line in expected(charlm, model, "-p", "my", "--json").splitlines()
    ]
    assert [about["symbol"] for about in found] == [row[1] for row in table]
    for about in found:
        assert about["bits"] == pytest.approx(-math.log2(about["probability"]))


def test_it_is_what_score_says_of_the_next_symbol(charlm, model):
    found = {row[1]: float(row[3]) for row in rows(expected(charlm, model, "--all"))}
    done = charlm("score", model, "--each", stdin="the\n")
    symbol, bits = done.stdout.decode().splitlines()[0].split("\t")[2:4]
    assert found[symbol] == pytest.approx(float(bits), abs=1e-3)


def test_a_record_may_end(charlm, names_model):
    assert rows(expected(charlm, names_model, "--prompt", "anna"))[0][1] == "<boundary>"
    begun = {row[1] for row in rows(expected(charlm, names_model, "--top", 5))}
    assert begun <= set("abcdefg")


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_the_prompt_can_be_a_file_or_stdin(charlm, model, tmp_path, way):
    (tmp_path / "prompt").write_text("what sa")
    place = tmp_path / "prompt" if way == "file" else "-"
    found = expected(charlm, model, "--prompt-file", place, stdin="what sa")
    assert found == expected(charlm, model, "--prompt", "what sa")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "does not exist"),
        (["MODEL", "--top", "0"], 2, "top"),
        (["MODEL", "--top", "5", "--all"], 2, "not both"),
        (["MODEL", "--prompt", "a", "--prompt-file", "-"], 2, "not both"),
        (["MODEL", "--prompt-file", "nowhere"], 1, "nowhere"),
        (["MODEL", "--prompt-file", "LATIN"], 1, "0xE9 at offset 1"),
        (["MODEL", "--prompt", "☃"], 1, "U+2603"),
        (["BOTH"], 1, "bidirectional"),
        ([], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line(
    charlm, model, both_sides_model, tmp_path, args, code, words
):
    (tmp_path / "latin").write_bytes(b"t\xe9xt")
    places = {"MODEL": model, "BOTH": both_sides_model, "LATIN": tmp_path / "latin"}
    done = charlm("next", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
