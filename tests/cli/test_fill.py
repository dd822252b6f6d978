"""`charlm fill` through real processes."""

import json
import shlex
import subprocess

import pytest
from support.commands import forked

SHORT = ["--seed", 1, "--length", "1-4"]


def fill(charlm, model, *args, stdin=""):
    done = charlm("fill", model, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8")


def fits(text, filled, lengths, gap="___"):
    """Whether `filled` is `text` with gaps of these lengths in place of the markers."""
    pieces = text.split(gap)
    at = 0
    for piece, length in zip(pieces, [*lengths, 0], strict=True):
        if not filled.startswith(piece, at):
            return False
        at += len(piece) + length
    return at == len(filled)


@pytest.fixture(scope="module")
def both_sides_names(charlm, tmp_path_factory):
    """A bidirectional run whose records are lines; read only."""
    folder = tmp_path_factory.mktemp("both_sides_names")
    names = ["anna", "annika", "bertha", "carl", "dora", "emil", "frida", "gustav"] * 40
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    charlm("prep", folder / "names.txt", "-o", folder / "data", "--records", "line")
    done = charlm(
        "train", folder / "data", "-o", folder / "run", "--bidirectional", "--steps", 150,
        "--seed", 1, "--width", 32, "--batch", 8, "--context", 16, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"


@pytest.mark.parametrize(
    "text",
    [
        "the king ___ have his own again.\nwhat ___ you to that?\n",
        "___ king",
        "the ___",
        "the ______ king",
        "___",
        "______",
        "  ___  \n\n\n___",
        "the ____ king",
    ],
)
def test_only_the_gaps_change_and_have_the_length_they_are_given(charlm, both_sides_model, text):
    done = charlm(
        "fill", both_sides_model, "--length", "3,5", "--seed", 1, "--unknown", "skip", stdin=text
    )
    lengths = [3, 5][: text.count("___")]
    assert fits(text, done.stdout.decode(), lengths), done.stdout
    assert done.stderr == b""


def test_it_has_learned_what_stands_there(charlm, both_sides_model):
    text = "what say you to that, my lord?\nthe king ___ll have his own again.\n"
    filled = fill(charlm, both_sides_model, "--length", 3, "--greedy", stdin=text)
    assert "the king shall have" in filled
    filled = fill(charlm, both_sides_model, "--length", "1-6", "--greedy", stdin=text)
    assert "the king shall have" in filled


def test_file_and_stdin_give_the_same(charlm, both_sides_model, tmp_path):
    text = "the king ___ have\nhis o___ again.\n"
    (tmp_path / "text").write_text(text)
    found = fill(charlm, both_sides_model, tmp_path / "text", *SHORT)
    assert found == fill(charlm, both_sides_model, *SHORT, stdin=text)
    assert found == fill(charlm, both_sides_model, "-", *SHORT, stdin=text)


def test_a_seed_it_chose_is_told_and_gives_the_same_text(charlm, both_sides_model):
    text = "the ___ is ___.\n"
    first = charlm("fill", both_sides_model, "--length", 6, stdin=text)
    seed = first.stderr.decode().split()[1]
    again = charlm("fill", both_sides_model, "--length", 6, "--seed", seed, stdin=text)
    assert (again.stdout, again.stderr) == (first.stdout, b"")
    greedy = charlm("fill", both_sides_model, "--length", 6, "--greedy", stdin=text)
    assert greedy.stderr == b""
    assert fill(charlm, both_sides_model, "--length", 6, "--temperature", 0, stdin=text) == (
        greedy.stdout.decode()
    )


@pytest.mark.parametrize(
    "knob",
    [["--temperature", 3], ["--top-k", 1], ["--top-p", 0.1], ["--min-p", 1], ["--greedy"],
     ["--length", "9"], ["--passes", 0], ["--seed", 2]],
)  # fmt: skip
def test_every_knob_changes_something(charlm, both_sides_model, knob):
    text = "the ___ ha___ is ___, what ___\n"
    common = ["--seed", 1, "--temperature", 1.5, "--length", 5]
    filled = fill(charlm, both_sides_model, *common, stdin=text)
    assert filled != fill(charlm, both_sides_model, *common, *knob, stdin=text)


def test_another_marker(charlm, both_sides_model):
    text = "the [?] have ___ own"
    filled = fill(
        charlm, both_sides_model, "--gap", "[?]", "--unknown", "skip", "--length", 4, "--seed", 1,
        stdin=text,
    )  # fmt: skip
    assert fits(text, filled, [4], gap="[?]")


def test_fillings_are_those_of_a_smaller_number(charlm, both_sides_model):
    text = "the ___ shall ___ it.\n"
    common = ["--seed", 5, "--temperature", 1, "--json"]
    rows = [
        json.loads(line)
        for line in fill(charlm, both_sides_model, "-n", 6, *common, stdin=text).splitlines()
    ]
    assert [(row["sample"], row["seed"]) for row in rows] == [(k, 5) for k in range(6)]
    assert len({row["text"] for row in rows}) > 2
    for row in rows:
        assert fits(text, row["text"], map(len, row["fills"]))
        assert row["text"] == "the {} shall {} it.\n".format(*row["fills"])
        assert row["bits_per_char"] > 0
    few = fill(charlm, both_sides_model, "-n", 2, *common, stdin=text).splitlines()
    for row, same in zip(map(json.loads, few), rows, strict=False):
        assert row == {**same, "bits_per_char": pytest.approx(same["bits_per_char"], rel=1e-5)}


def test_several_fillings_are_a_blank_line_apart(charlm, both_sides_model):
    text = "the ___ shall"
    common = ["--seed", 5, "--length", 3, "--top-k", 20]
    rows = fill(charlm, both_sides_model, "-n", 3, *common, "--json", stdin=text).splitlines()
    texts = [json.loads(line)["text"] for line in rows]
    expected = "\n\n".join(texts) + "\n"
    assert fill(charlm, both_sides_model, "-n", 3, *common, stdin=text) == expected
    assert fill(charlm, both_sides_model, *common, stdin=text) == texts[0]


@pytest.mark.parametrize("text", ["", "\n", "nothing is missing \u2603\r\n", "a__b"])
def test_a_text_without_a_gap_passes_through(charlm, both_sides_model, text):
    done = charlm("fill", both_sides_model, stdin=text)
    assert (done.returncode, done.stdout) == (0, text.encode())
    assert b"no gap (___) in the text" in done.stderr
    about = json.loads(fill(charlm, both_sides_model, "--json", stdin=text))
    assert (about["text"], about["fills"], about["bits_per_char"]) == (text, [], None)


def test_every_line_of_a_model_of_records_is_a_text_of_its_own(charlm, both_sides_names):
    lines = ["an___", "___", "", "gus___v", "b\u2603rta", "a___a", "an___", "___r___"]
    found = fill(charlm, both_sides_names, *SHORT, stdin="\n".join(lines)).split("\n")
    assert len(found) == len(lines)
    for line, filled in zip(lines, found, strict=True):
        begin, *_, end = line.split("___") if "___" in line else (line, "")
        assert filled.startswith(begin)
        assert filled.endswith(end)
        assert (filled == line) == ("___" not in line)
    # What a line is filled with does not depend on the lines beside it.
    changed = ["emil", *lines[1:6], "___", lines[7]]
    again = fill(charlm, both_sides_names, *SHORT, stdin="\n".join(changed)).split("\n")
    assert again[1:6] == found[1:6]
    assert again[7] == found[7]


def test_lines_that_are_the_same_are_filled_each_in_its_way(charlm, both_sides_names):
    warm = ("--temperature", 1, "--tries", 1)
    found = fill(charlm, both_sides_names, *warm, "--seed", 1, stdin="___\n" * 20)
    assert len(found.splitlines()) == 20
    assert len(set(found.splitlines())) > 3


def test_lengths_begin_anew_with_each_line(charlm, both_sides_names):
    found = fill(charlm, both_sides_names, "--length", "2,4,1", stdin="a___b___c___d___e\n" * 2)
    assert all(fits("a___b___c___d___e", line, [2, 4, 1, 1]) for line in found.splitlines())


def test_a_records_end_is_known(charlm, both_sides_names):
    """`gusta` ends only after another letter, `dora` may not go on."""
    found = fill(charlm, both_sides_names, "--greedy", "--length", 1, stdin="gusta___\ndor___\n")
    assert found == "gustav\ndora\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_line_ends_stay_as_they_are(charlm, both_sides_names, end):
    done = charlm(
        "fill", both_sides_names, "--length", 2, "--seed", 1, stdin=f"an___\r\ndora\r\n\nem___{end}"
    )
    filled = done.stdout.decode()
    assert fits(f"an___\r\ndora\r\n\nem___{end}", filled, [2, 2]), filled


def test_carriage_returns_and_nul_stay_in_the_text(charlm, both_sides_model):
    text = "the\0 king\r\n___ have\r\n"
    done = charlm("fill", both_sides_model, *SHORT, stdin=text)
    assert done.returncode == 1
    assert b"U+0000" in done.stderr
    assert b"U+000D" in done.stderr
    for policy in ("skip", "replace"):
        filled = fill(
            charlm, both_sides_model, "--length", 5, "--seed", 1, "--unknown", policy, stdin=text
        )
        assert fits(text, filled, [5])


def test_an_unknown_character_is_named_with_its_place(charlm, both_sides_model, both_sides_names):
    done = charlm("fill", both_sides_model, stdin="the ___\nking ___ h\u2603ve ___")
    message = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b"")
    for word in ("\u2603", "U+2603", "line 2", "column 11", "--unknown skip"):
        assert word in message
    done = charlm("fill", both_sides_names, *SHORT, stdin="an___\nca\u2603___\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "record 2: not in the vocabulary" in done.stderr.decode()
    assert "column 3" in done.stderr.decode()


def test_a_model_of_words_fills_words(charlm, tmp_path):
    text = "the cat sat on the mat, and the dog sat on the cat.\n" * 60 + "once"
    prepared = ["--level", "word", "--min-count", 2]
    charlm("prep", "-", "-o", tmp_path / "d", *prepared, stdin=text)
    charlm(
        "train", tmp_path / "d", "-o", tmp_path / "r", "--bidirectional", "--steps", 60,
        "--width", 16, "--batch", 4, "--context", 16, "--seed", 1,
    )  # fmt: skip
    gaps = "the ___ sat on the zebra, and ___ sat ___. the ___"
    done = charlm(
        "fill", tmp_path / "r", "--length", "1,2,2,1", "--seed", 1, "--json", "--temperature", 2,
        "-n", 20, stdin=gaps,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"1 word of the text not in the vocabulary" in done.stderr
    for row in map(json.loads, done.stdout.decode().splitlines()):
        assert fits(gaps, row["text"], map(len, row["fills"]))
        assert all(fill and not fill.startswith(" ") for fill in row["fills"])
        assert len(row["fills"][0].split()) == 1
        assert "<unk>" not in row["text"]
    done = charlm("fill", tmp_path / "r", "--length", 1, "--greedy", stdin="on the ___. the")
    assert done.stdout in (b"on the cat. the", b"on the mat. the")


def test_a_model_of_bytes_fills_any_bytes(charlm, tmp_path):
    raw = bytes([0, 255, 128, 65, 200, 10]) * 300
    (tmp_path / "raw").write_bytes(raw)
    charlm("prep", tmp_path / "raw", "-o", tmp_path / "d", "--level", "byte")
    charlm(
        "train", tmp_path / "d", "-o", tmp_path / "r", "--bidirectional", "--steps", 60,
        "--width", 16, "--batch", 4, "--seed", 1, "--lr", "0.03",
    )  # fmt: skip
    text = raw[:30] + b"___" + raw[32:50]
    done = charlm("fill", tmp_path / "r", "--greedy", "--length", 2, stdin=text)
    assert (done.returncode, done.stdout) == (0, raw[:50])
    as_json = charlm("fill", tmp_path / "r", "--greedy", "--length", 2, "--json", stdin=text)
    assert json.loads(as_json.stdout)["fills"] == ["\0\ufffd"]


def test_in_a_pipe_and_with_a_reader_that_goes_away(both_sides_model):
    command = f"{shlex.join(forked())} fill {both_sides_model} --length 3 --seed 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; echo 'the k___ shall' | {command} | tr a-z A-Z"],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert fits("THE K___ SHALL\n", done.stdout.decode(), [3])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; echo 'the k___' | {command} -n 3000 | head -c 10"],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 10, b"")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "does not exist"),
        (["SAMPLER"], 1, "--bidirectional"),
        (["MODEL", "nowhere"], 1, "nowhere"),
        (["MODEL", "."], 1, "directory"),
        (["MODEL", "NOISE"], 1, "not UTF-8 (byte 0xFF at offset 3)"),
        (["MODEL", "--gap", ""], 2, "--gap"),
        (["MODEL", "--length", "0"], 2, "length"),
        (["MODEL", "--length", ""], 2, "length"),
        (["MODEL", "--length", "many"], 2, "length"),
        (["MODEL", "--length", "7-3"], 2, "length"),
        (["MODEL", "--length", "3-"], 2, "length"),
        (["MODEL", "--length", "-3"], 2, "length"),
        (["MODEL", "--length", "3,,4"], 2, "length"),
        (["MODEL", "--length", "1-10001"], 2, "length"),
        (["MODEL", "--passes", "-1"], 2, "passes"),
        (["MODEL", "--temperature", "nan"], 1, "temperature"),
        (["MODEL", "-n", "0"], 2, "samples"),
        ([], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line(
    charlm, both_sides_model, model, tmp_path, args, code, words
):
    (tmp_path / "noise").write_bytes(b"the\xff ___")
    places = {"MODEL": both_sides_model, "SAMPLER": model, "NOISE": tmp_path / "noise"}
    done = charlm("fill", *[places.get(arg, arg) for arg in args], cwd=tmp_path, stdin="a ___")
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
    assert code == 2 or message.count("\n") == 1
