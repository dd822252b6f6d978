"""`charlm inspect` through real processes."""

import json
import re

import pytest

TEXT = "the king shall have his own again.\nwhat say you to that, my lord?\n"
ODD = TEXT.replace("king", "kiyg")


def inspected(charlm, model, *args, stdin=TEXT):
    done = charlm("inspect", model, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def without_colours(text):
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_the_text_comes_in_colours_only_where_asked(charlm, model):
    assert inspected(charlm, model) == TEXT
    assert inspected(charlm, model, "--color", "never") == TEXT
    coloured = inspected(charlm, model, "--color", "always", stdin=ODD)
    lines = [line.rstrip(" ") for line in without_colours(coloured).splitlines()]
    assert lines == ODD.splitlines()
    assert "\x1b[30;48;5;" in coloured


def test_a_surprise_is_redder(charlm, model):
    found = inspected(charlm, model, "--color", "always", stdin=ODD)
    assert re.search("\x1b\\[30;48;5;(203|196)my", found)
    bits = [one["bits"] for one in objects(inspected(charlm, model, "--json", stdin=ODD))]
    assert bits[ODD.index("y")] > 6 > max(bits[2 : ODD.index("y")])


def test_bits_are_those_of_eval(charlm, model, tmp_path):
    (tmp_path / "text").write_text(TEXT)
    bits = sum(one["bits"] for one in objects(inspected(charlm, model, "--json")))
    done = charlm("eval", model, tmp_path / "text", "--json")
    assert bits / len(TEXT) == pytest.approx(json.loads(done.stdout)["bits_per_char"], rel=1e-4)


def test_a_units_activation_colours_the_text_both_ways(charlm, model):
    found = inspected(charlm, model, "--unit", "0.h.3", "--color", "always")
    assert {"27", "203"} <= set(re.findall("48;5;(\\d+)m", found))
    values = objects(inspected(charlm, model, "--unit", "0.h.3", "--json"))
    assert len(values) == len(TEXT)
    assert len({one["value"] for one in values}) > 10
    assert "".join(one["symbol"] for one in values[:3]) == "the"


def test_units_are_named_with_what_they_track(charlm, model):
    rows = [line.split("\t") for line in inspected(charlm, model, "--units").splitlines()]
    tracks = [row[0] for row in rows]
    assert "position in the line" in tracks
    assert "inside quotes" not in tracks  # the text has none
    for _, unit, correlation in rows:
        assert re.fullmatch(r"0\.h\.\d+", unit)
        assert -1 <= float(correlation) <= 1
    several = objects(inspected(charlm, model, "--units", "--top", 3, "--json"))
    assert len(several) == 3 * len(rows)
    assert inspected(charlm, model, "--unit", rows[0][1]) == TEXT


def test_memory_falls_as_more_is_seen(charlm, model):
    text = TEXT * 10
    done = charlm("inspect", model, "--memory", "--back", 20, "--json", stdin=text)
    curve = objects(done.stdout.decode())
    assert [one["symbols_seen"] for one in curve] == [0, 1, 2, 4, 8, 16, 20]
    assert curve[0]["bits_per_symbol"] > 1.5 * curve[-1]["bits_per_symbol"]
    assert b"within 1% of the best" in done.stderr
    rows = inspected(charlm, model, "--memory", "--back", 20, stdin=text).splitlines()
    assert rows[0].split("\t")[2] == "█" * 40


def test_gradient_tells_every_distance(charlm, model):
    found = objects(inspected(charlm, model, "--gradient", "--back", 30, "--json", stdin=TEXT * 10))
    assert [one["symbols_back"] for one in found] == list(range(1, 31))
    assert all(one["norm"] > 0 and one["untrained_norm"] > 0 for one in found)
    rows = inspected(charlm, model, "--gradient", "--back", 30, stdin=TEXT * 10).splitlines()
    assert [int(row.split("\t")[0]) for row in rows] == [1, 2, 5, 10, 20, 30]


def test_a_long_text_is_cut_and_that_is_told(charlm, model):
    done = charlm("inspect", model, "--limit", 10, "-", stdin=TEXT)
    assert done.stdout.decode() == TEXT[:10] + "\n"
    assert b"first 10 of 66 symbols" in done.stderr


def test_records_are_read_each_by_itself(charlm, names_model):
    found = objects(inspected(charlm, names_model, "--json", stdin="anna\nanna\n"))
    bits = [one["bits"] for one in found]
    assert bits[:5] == bits[5:]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "does not exist"),
        (["MODEL", "nowhere"], 1, "nowhere"),
        (["MODEL", "--units", "--memory"], 2, "not both"),
        (["MODEL", "--top", "2"], 2, "--top is for"),
        (["MODEL", "--back", "2"], 2, "--back is for"),
        (["MODEL", "--unit", "0.h.99"], 1, "0.h.0 to 31"),
        (["MODEL", "--unknown", "error"], 1, "U+2603"),
        (["MODEL", "--memory"], 1, "lower --back"),
        (["MODEL", "--gradient"], 1, "lower --back"),
        (["BOTH"], 1, "bidirectional"),
        (["NAMES", "--memory"], 1, "records"),
        ([], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line(
    charlm, model, both_sides_model, names_model, tmp_path, args, code, words
):
    places = {"MODEL": model, "BOTH": both_sides_model, "NAMES": names_model}
    done = charlm(
        "inspect", *[places.get(arg, arg) for arg in args], cwd=tmp_path, stdin="the king ☃\n"
    )
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
