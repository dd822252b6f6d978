"""`charlm compress` and `charlm decompress`: files, pipes, and what goes wrong."""

import os
import pty
import shlex
import subprocess

import pytest
from support.archives import sealed
from support.commands import forked

from charlm import model_file
from charlm.config import NetworkConfig
from charlm.model_file import Model
from charlm.network import build
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form
from charlm.training.initialise import initial_weights

TEXT = b"the king shall have his own again.\nwhat say you to that, my lord?\n" * 4


def save(path, *, seed=1, bidirectional=False):
    form = char_form("abc \n", boundary=False, unknown=False, normalize="none")
    tokenizer = Tokenizer.from_json(form)
    config = NetworkConfig(width=8, cell="gru", bidirectional=bidirectional)
    network = build(config, tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, seed).items()}
    model_file.save(Model(network, weights, tokenizer), path)
    return path


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model file that need not be good; read only."""
    return save(tmp_path_factory.mktemp("untrained") / "m.safetensors")


@pytest.fixture(scope="module")
def compressed(charlm, untrained, tmp_path_factory):
    """A file that `untrained` compressed; read only."""
    path = tmp_path_factory.mktemp("compressed") / "text.clm"
    done = charlm("compress", untrained, "-o", path, stdin="abc cab\n" * 9)
    assert done.returncode == 0, done.stderr.decode()
    return path


def test_a_trained_model_makes_its_text_small_and_gives_it_back(charlm, model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(TEXT)
    done = charlm("compress", model, text, "-o", tmp_path / "text.clm")
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
    size_bytes = (tmp_path / "text.clm").stat().st_size
    assert size_bytes < len(TEXT) / 3
    bits = 8 * size_bytes / len(TEXT)
    assert done.stderr.decode() == (
        f"{len(TEXT):,} bytes -> {size_bytes:,} bytes, {bits:.3f} bits/byte\n"
    )
    done = charlm("decompress", model, tmp_path / "text.clm", "-o", tmp_path / "back.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "back.txt").read_bytes() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.txt", "text.clm", "text.txt"]


@pytest.mark.parametrize("data", [b"", b"\n", b"abc", bytes(range(256)) * 2, "né\r\n".encode()])
def test_pipes_carry_any_bytes(charlm, untrained, data):
    small = charlm("compress", untrained, "--quiet", stdin=data)
    assert (small.returncode, small.stderr) == (0, b"")
    back = charlm("decompress", untrained, "-", stdin=small.stdout)
    assert (back.returncode, back.stdout, back.stderr) == (0, data, b"")


def test_both_in_one_pipe_that_its_reader_leaves(untrained):
    charlm = f"{shlex.join(forked())}"
    command = (
        f"set -o pipefail; {charlm} compress -q {untrained}"
        f" | {charlm} decompress {untrained} | head -c 100"
    )
    text = b"abc\n" * 2200
    done = subprocess.run(["bash", "-c", command], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"abc\n" * 25, b"")


def test_a_terminal_gets_no_binary(untrained):
    ours, theirs = pty.openpty()
    command = [*forked(), "compress", untrained]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"not for a terminal" in done.stderr


def test_an_existing_file_is_replaced_by_force_only(charlm, untrained, compressed, tmp_path):
    for command, file, begin in (
        ("compress", tmp_path / "in", b"\x89clm"),
        ("decompress", compressed, b"abc cab\n"),
    ):
        (tmp_path / "in").write_bytes(b"abc")
        out = tmp_path / command
        out.write_bytes(b"precious")
        done = charlm(command, untrained, file, "-o", out)
        assert done.returncode == 1
        assert b"--force" in done.stderr
        assert out.read_bytes() == b"precious"
        assert charlm(command, untrained, file, "-o", out, "--force").returncode == 0
        assert out.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["compress", "MODEL", "nowhere"], 1, "nowhere: No such file"),
        (["decompress", "MODEL", "nowhere"], 1, "nowhere: No such file"),
        (["compress", "nowhere", "TEXT"], 1, "does not exist"),
        (["compress", "BOTH", "TEXT"], 1, "bidirectional"),
        (["decompress", "BOTH", "SMALL"], 1, "bidirectional"),
        (["decompress", "OTHER", "SMALL"], 1, "its weights"),
        (["decompress", "MODEL", "TEXT"], 1, "TEXT is not a file that `charlm compress` made"),
        (["decompress", "MODEL", "CUT", "-o", "out"], 1, "CUT is damaged or cut off"),
        (["decompress", "MODEL", "WORSE", "-o", "out"], 1, "charlm: WORSE "),
        (["compress", "MODEL", "TEXT", "-o", "."], 1, "not a file"),
        (["compress", "MODEL", "TEXT", "-o", "nowhere/out"], 1, "nowhere is not a directory"),
        (["compress"], 2, "MODEL"),
        (["decompress"], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(
    charlm, untrained, compressed, tmp_path, args, code, words
):
    data = compressed.read_bytes()
    (tmp_path / "TEXT").write_bytes(b"abc abc abc abc")
    (tmp_path / "CUT").write_bytes(data[:-9])
    (tmp_path / "WORSE").write_bytes(sealed(data[:60] + bytes(8) + data[68:-4]))
    (tmp_path / "SMALL").write_bytes(data)
    save(tmp_path / "OTHER", seed=2)
    save(tmp_path / "BOTH", bidirectional=True)
    before = sorted(tmp_path.iterdir())
    args = [untrained if arg == "MODEL" else arg for arg in args]
    done = charlm(*args, cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert code == 2 or message.count("\n") == 1
    assert done.stdout == b""
    assert sorted(tmp_path.iterdir()) == before
