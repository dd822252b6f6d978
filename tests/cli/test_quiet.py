"""`train -q` says nothing, `sample -o` writes a file; amounts, URLs and completion."""

import os
import subprocess
import sys

import pytest

from charlm.amounts import counted, size_words
from charlm.cells import CELLS
from charlm.cli import COMMANDS, cli

SMALL = ["--width", 8, "--batch", 4, "--context", 8, "--seed", 1]


@pytest.mark.parametrize("more", [["--seeds", 2], ["--preset", "char-rnn", "--layers", 1], []])
def test_quiet_training_says_nothing(charlm, corpus, tmp_path, more):
    asked = ["train", corpus, "-o", tmp_path / "run", "--steps", 60, "--lr", 0.01, *SMALL, *more]
    done = charlm(*asked, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    again = charlm(*asked, "-q")
    assert again.returncode == 1
    assert b"exists already" in again.stderr


def test_one_update_is_one(charlm, corpus, tmp_path):
    done = charlm("train", corpus, "-o", tmp_path / "run", "--steps", 1, *SMALL)
    assert "\n1 update in " in done.stderr.decode()


@pytest.mark.parametrize(
    "args",
    [
        ["--length", "40", "--seed", "2"],
        ["-n", "3", "--length", "9", "--seed", "2", "--json"],
        ["--per-line", "--length", "9", "--seed", "2"],
        ["--trace", "--length", "9", "--seed", "2"],
        ["-n", "5", "--unique", "--best", "2", "--length", "5", "--seed", "2"],
    ],
)
def test_a_file_holds_what_stdout_would(charlm, model, tmp_path, args):
    prompts = "the king\nmy lord\n"
    shown = charlm("sample", model, *args, stdin=prompts)
    asked = ["sample", model, *args, "-o", tmp_path / "text"]
    done = charlm(*asked, stdin=prompts)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert (tmp_path / "text").read_bytes() == shown.stdout != b""
    assert charlm(*asked, stdin=prompts).returncode == 1
    assert charlm(*asked, "--force", stdin=prompts).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_sample_that_fails_leaves_no_file(charlm, model, tmp_path):
    done = charlm("sample", model, "--prompt", "\u4e00", "-o", tmp_path / "text")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_end_has_no_file(charlm, model, tmp_path):
    for endless in ("--follow", "--interactive"):
        assert charlm("sample", model, endless, "-o", tmp_path / "text").returncode == 2


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"),
        (43_210, "43.2 kB"), (1_115_394, "1.1 MB"), (26_000_000_000, "26.0 GB"),
    ],
)  # fmt: skip
def test_a_size_has_a_unit_that_suits_it(size_bytes, words):
    assert size_words(size_bytes) == words


def test_one_is_one():
    assert [counted(n, "update") for n in (0, 1, 2, 1200)] == [
        "0 updates", "1 update", "2 updates", "1,200 updates",
    ]  # fmt: skip


def paths_of(name):
    return [param.name for param in cli.get_command(None, name).params if param.type.name == "path"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "corpus"])
def test_a_url_is_told_as_it_was_given(charlm, name):
    assert paths_of(name)
    done = charlm(name, "https://example.org/a", "https://example.org/a")
    assert done.returncode == 2
    assert "https://example.org/a is a URL" in done.stderr.decode()


def completed(*words):
    """What a shell would offer for the last of the words."""
    environment = os.environ | {
        "_CHARLM_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from charlm.cli import main; main(['charlm'])"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_names_of_corpora_and_of_cells_are_completed():
    assert completed("charlm", "corpus", "cat", "py") == ["python-docs", "python-source"]
    assert completed("charlm", "train", "--cell", "") == [*CELLS, "none"]
    assert completed("charlm", "train", "--cell", "gru,sl") == ["gru,slstm"]
    assert completed("charlm", "zoo", "--cell", "min") == ["mingru", "minlstm"]
