"""`charlm prep` through real processes: files, pipes, exit status, stdout, mistakes."""

import gzip
import json
import os
import pty
import subprocess
import termios

import numpy as np
import pytest
import tokenizers
from support.commands import forked

TEXT = "To be, or not to be, that is the question.\n" * 40


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_a_file_becomes_a_corpus(charlm, text, tmp_path):
    done = charlm("prep", text, "-o", tmp_path / "data", "--val", "0.1", "--test", "0")
    assert done.returncode == 0
    assert done.stdout == b""
    train, val = int(len(TEXT) * 0.9), len(TEXT) - int(len(TEXT) * 0.9)
    summary = done.stderr.decode().splitlines()[-1]
    assert summary == (
        f"corpus: {len(TEXT):,} characters, 17 symbols;"
        f" train {train:,} val {val:,} test 0 -> {tmp_path / 'data'}"
    )
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "data" / "tokenizer.json"))
    ids = np.fromfile(tmp_path / "data" / "train.bin", dtype=np.uint8)
    assert backend.decode(ids.tolist()) == TEXT[:train]


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
def test_stdin_and_files_give_the_same_corpus(charlm, text, tmp_path, level):
    options = ["--level", level, "--json"]
    if level == "bpe":
        options += ["--vocab-size", "280"]
    (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
    half = text.with_name("half")
    half.write_text(TEXT[:100])
    runs = [
        charlm("prep", text, "-o", tmp_path / "a", *options),
        charlm("prep", "-o", tmp_path / "b", *options, stdin=TEXT),
        charlm("prep", "-", "-o", tmp_path / "c", *options, stdin=TEXT),
        charlm("prep", tmp_path / "text.gz", "-o", tmp_path / "d", *options),
        charlm("prep", half, "-", "-o", tmp_path / "e", *options, stdin=TEXT[100:]),
    ]
    assert [run.returncode for run in runs] == [0] * 5
    abouts = [json.loads(run.stdout) for run in runs]
    assert len({about["hash"] for about in abouts}) == 1
    assert abouts[0] == json.loads((tmp_path / "a" / "corpus.json").read_text())
    assert abouts[0]["level"] == level
    assert [source["name"] for source in abouts[4]["sources"]] == [str(half), "stdin"]


def test_a_tokenizer_is_used_again(charlm, text, tmp_path):
    assert charlm("prep", text, "-o", tmp_path / "a").returncode == 0
    stored = tmp_path / "a" / "tokenizer.json"
    again = charlm("prep", "-", "-o", tmp_path / "b", "--tokenizer", stored, stdin="not to be")
    assert again.returncode == 0
    assert (tmp_path / "b" / "tokenizer.json").read_bytes() == stored.read_bytes()
    for option in (["--level", "char"], ["--min-count", 1], ["--vocab-size", 9]):
        done = charlm("prep", text, "-o", tmp_path / "c", "--tokenizer", stored, *option)
        assert done.returncode == 2
        assert option[0] in done.stderr.decode()
    done = charlm("prep", "-", "-o", tmp_path / "c", "--tokenizer", stored, stdin="be\nzé")
    complain(done, "'z' (U+007A) at stdin, line 2")
    done = charlm("prep", text, "-o", tmp_path / "c", "--tokenizer", text)
    complain(done, f"{text} cannot be used: the tokenizer is not JSON")


def complain(done, *words):
    """Exit status 1, one line on stderr with these words, nothing on stdout, no traceback."""
    message = done.stderr.decode()
    assert done.returncode == 1, message
    assert done.stdout == b""
    assert message.count("\n") == 1
    for word in words:
        assert word in message


def test_bad_text_is_refused_in_one_line(charlm, tmp_path):
    files = {
        "latin.txt": "caf\u00e9\n".encode("latin-1") * 3,
        "empty.txt": b"",
        "cut.gz": gzip.compress(os.urandom(1000))[:500],
        "plain.gz": b"not compressed",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    def refused(name):
        return charlm("prep", tmp_path / name, "-o", tmp_path / "data", "--level", "char")

    complain(refused("latin.txt"), "latin.txt is not UTF-8", "0xE9", "offset 3, line 1", "byte")
    complain(refused("empty.txt"), "empty.txt is empty")
    complain(refused("cut.gz"), "cut.gz is")
    complain(refused("plain.gz"), "plain.gz is a damaged")
    complain(refused("."), "cut.gz is")  # the first of those in it
    complain(refused("missing.txt"), "missing.txt: No such file")
    complain(charlm("prep", "-", "-o", tmp_path / "data", stdin=""), "stdin is empty")
    assert not (tmp_path / "data").exists()
    byte = charlm("prep", tmp_path / "latin.txt", "-o", tmp_path / "data", "--level", "byte")
    assert byte.returncode == 0


def test_a_cut_off_gzip_is_refused(charlm, tmp_path):
    data = gzip.compress(TEXT.encode())
    (tmp_path / "cut.gz").write_bytes(data[:-10])
    complain(charlm("prep", tmp_path / "cut.gz", "-o", tmp_path / "d"), "cut-off gzip", "Get it")


def test_an_existing_corpus_is_kept_unless_forced(charlm, text, tmp_path):
    out = tmp_path / "data"
    assert charlm("prep", text, "-o", out).returncode == 0
    before = (out / "corpus.json").read_bytes()
    complain(charlm("prep", "-", "-o", out, stdin="other"), "exists already", "--force")
    assert (out / "corpus.json").read_bytes() == before
    assert charlm("prep", "-", "-o", out, "--force", stdin="other").returncode == 0
    assert (out / "corpus.json").read_bytes() != before


def test_one_character_is_a_corpus(charlm, tmp_path):
    done = charlm("prep", "-", "-o", tmp_path / "data", stdin="x")
    assert done.returncode == 0
    said = done.stderr.decode()
    assert "the val split is empty" in said
    assert "train 1 val 0 test 0" in said


def test_wrong_usage(charlm, text, tmp_path):
    for args, words in [
        (["prep", text], "--out"),
        (["prep", text, "-o", tmp_path / "d", "--level", "letter"], "letter"),
        (["prep", text, "-o", tmp_path / "d", "--val", "1"], "--val"),
        (["prep", "-", "-", "-o", tmp_path / "d"], "only once"),
    ]:
        done = charlm(*args)
        assert done.returncode == 2
        assert words in done.stderr.decode()
        assert done.stdout == b""
    done = charlm("prep", text, "-o", tmp_path / "d", "--val", ".6", "--test", ".6")
    complain(done, "nothing to train on")
    done = charlm("prep", text, "-o", tmp_path / "d", "--level", "byte", "--min-count", "3")
    complain(done, "--min-count")


def test_a_terminal_as_stdin_is_wrong_usage(tmp_path):
    parent, child = pty.openpty()
    done = subprocess.run(
        [*forked(), "prep", "-o", str(tmp_path / "d")],
        stdin=child,
        capture_output=True,
        timeout=60,
    )
    os.close(parent)
    os.close(child)
    assert done.returncode == 2
    assert b"pipe text into" in done.stderr


def test_progress_is_shown_on_a_terminal_only(charlm, text, tmp_path):
    assert b"\r" not in charlm("prep", text, "-o", tmp_path / "a").stderr
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 100))
    done = subprocess.run(
        [*forked(), "prep", str(text), "-o", str(tmp_path / "b")],
        stdout=subprocess.PIPE,
        stderr=child,
        timeout=60,
    )
    os.close(child)
    shown = os.read(parent, 1 << 16)
    os.close(parent)
    assert done.stdout == b""
    assert b"B/s" in shown
    assert b"corpus: " in shown


def test_help_has_an_example_and_every_knob(charlm):
    shown = charlm("prep", "--help").stdout.decode()
    assert "charlm prep book.txt -o data" in shown
    for option in ("--level", "--records", "--val", "--tokenizer", "--force", "--json"):
        assert option in shown


@pytest.mark.parametrize("way", ["stdin", "file of another name"])
def test_gzip_is_known_by_its_first_bytes(charlm, tmp_path, way):
    packed = gzip.compress(b"the cat sat on the mat.\n" * 50)
    (tmp_path / "text").write_bytes(packed)
    source = "-" if way == "stdin" else tmp_path / "text"
    done = charlm("prep", source, "-o", tmp_path / "d", "--json", stdin=packed)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["sources"][0]["bytes"] == 24 * 50


def test_a_corpus_cannot_go_to_stdout(charlm, tmp_path):
    done = charlm("prep", "-o", "-", stdin="abc", cwd=tmp_path)
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_an_index_lies_beside_the_training_text(charlm, text, tmp_path):
    plain = charlm("prep", text, "-o", tmp_path / "plain", "--json")
    done = charlm("prep", text, "-o", tmp_path / "data", "--index", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == plain.stdout
    assert done.stderr.decode().splitlines()[-1].endswith(f"-> {tmp_path / 'data'}")
    index = {"train.txt", "train.suffixes", "train.places"}
    before = {path.name for path in (tmp_path / "plain").iterdir()}
    assert {path.name for path in (tmp_path / "data").iterdir()} == before | index
    train = (tmp_path / "data" / "train.txt").read_bytes()
    assert train == TEXT.encode()[: int(len(TEXT) * 0.9)]
    assert (tmp_path / "data" / "train.suffixes").stat().st_size == 4 * len(train)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "plain", "text.txt"]


def test_a_corpus_with_an_index_is_replaced_or_kept_whole(charlm, text, tmp_path):
    out = tmp_path / "data"
    complain(charlm("prep", "-", "-o", out, "--index", stdin=b"\xff"), "stdin is not UTF-8")
    assert not out.exists()
    assert charlm("prep", text, "-o", out, "--index").returncode == 0
    complain(charlm("prep", "-", "-o", out, "--index", stdin="other"), "exists already", "--force")
    complain(charlm("prep", "-", "-o", out, "--index", "--force", stdin=""), "stdin is empty")
    assert (out / "train.txt").read_text().startswith("To be")
    assert charlm("prep", "-", "-o", out, "--force", stdin="other").returncode == 0
    assert not (out / "train.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "text.txt"]
