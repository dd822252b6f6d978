"""A disk that fills up, by a limit on the size of files: what was there stays, and is told of.

The limit is of the process, and a write beyond it fails as one on a full disk does.
"""

import resource
import subprocess
import sys

import pytest

SMALL = ["--width", "64", "--batch", "4", "--context", "16", "--seed", "1", "--device", "cpu"]


def limited(size_bytes, *args, cwd):
    """Runs `charlm ARGS`, which can write no file larger than that."""
    return subprocess.run(
        [sys.executable, "-m", "charlm", *map(str, args)],
        capture_output=True,
        cwd=cwd,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes)),
    )


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "log.jsonl"
    }


def is_told(done, name):
    message = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1, done.stderr.decode()
    assert message.startswith("charlm: ")
    assert name in message
    assert "File too large" in message
    assert "as it was" in message
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("size_bytes", [100, 5000])
def test_prep(charlm, tmp_path, size_bytes):
    (tmp_path / "text").write_text("the king shall have his own again.\n" * 1000)
    assert charlm("prep", "text", "-o", "data", cwd=tmp_path).returncode == 0
    before = files(tmp_path)
    is_told(limited(size_bytes, "prep", "text", "-o", "data", "--force", cwd=tmp_path), "data")
    assert files(tmp_path) == before
    is_told(limited(size_bytes, "prep", "text", "-o", "new", cwd=tmp_path), "new")
    assert not (tmp_path / "new").exists()


def test_compress(charlm, model, tmp_path):
    (tmp_path / "text").write_text("the king shall have his own again.\n" * 10)
    (tmp_path / "text.clm").write_text("before")
    before = files(tmp_path)
    args = ["compress", model, "text", "-o", "text.clm", "--force"]
    is_told(limited(30, *args, cwd=tmp_path), "text.clm")
    assert files(tmp_path) == before


@pytest.mark.slow
def test_train(charlm, corpus, tmp_path):
    whole = ["train", corpus, "-o", "whole", "--steps", "40", *SMALL]
    assert charlm(*whole, cwd=tmp_path).returncode == 0
    started = ["train", corpus, "-o", "run", "--steps", "20", *SMALL]
    assert charlm(*started, cwd=tmp_path).returncode == 0
    before = files(tmp_path)
    resume = ["train", "--resume", "run", "--steps", "40"]
    is_told(limited(50_000, *resume, cwd=tmp_path), "run/")
    assert files(tmp_path) == before
    assert charlm(*resume, cwd=tmp_path).returncode == 0


def test_an_index(charlm, tmp_path):
    """Its suffixes, four bytes for each of the text, are what has no room."""
    (tmp_path / "text").write_text("the king shall have his own again.\n" * 1000)
    is_told(limited(60_000, "prep", "text", "-o", "data", "--index", cwd=tmp_path), "data")
    assert not (tmp_path / "data").exists()
