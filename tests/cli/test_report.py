"""`charlm report` through real processes."""

import json
import re
import shutil

import pytest


@pytest.fixture(scope="module")
def moved(model, tmp_path_factory):
    """A copy of a run whose corpus is not where it was, as `last.safetensors` says."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(model, folder / "run")
    last = folder / "run" / "last.safetensors"
    data = last.read_bytes()
    (path,) = re.findall(rb'\\"corpus_path\\": \\"(.*?)\\"', data)
    last.write_bytes(data.replace(path, path[:-1] + b"?"))
    return folder / "run"


def facts_of(page):
    (data,) = re.findall('<script type="application/json" id="facts">(.*?)</script>', page)
    return json.loads(data)


def test_a_page_is_written_and_nothing_else(charlm, model, tmp_path):
    out = tmp_path / "report.html"
    done = charlm("report", model, "-o", out)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert out.stat().st_size < 2_000_000
    text = out.read_text(encoding="ascii")
    assert text.startswith("<!doctype html>")
    assert facts_of(text)["name"] == "run"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    refused = charlm("report", model, "-o", out)
    assert refused.returncode == 1
    assert b"--force" in refused.stderr
    again = charlm("report", model, "-o", out, "--force")
    assert again.returncode == 0
    assert out.read_text() == text
    to_stdout = charlm("report", model, "-o", "-")
    assert to_stdout.stdout.decode() == text


def test_a_corpus_that_has_moved_is_named(charlm, model, moved, corpus, tmp_path):
    lost = charlm("report", moved, "-o", tmp_path / "page.html")
    assert lost.returncode == 1
    assert b"--corpus" in lost.stderr
    found = charlm("report", moved, "-o", tmp_path / "page.html", "--corpus", corpus)
    assert found.returncode == 0, found.stderr.decode()
    shutil.copytree(corpus, moved / "corpus")  # where a run keeps one of its own
    assert charlm("report", moved, "-o", "-").returncode == 0


def test_each_seed_has_its_curves(charlm, corpus, tmp_path):
    done = charlm(
        "train", corpus, "-o", tmp_path / "run", "--seeds", 2, "--steps", 12, "--width", 8,
        "--batch", 4, "--context", 16, "--seed", 1, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    page = charlm("report", tmp_path / "run", "-o", "-").stdout.decode()
    facts = facts_of(page)
    names = [curve["name"] for curve in facts["curves"]]
    assert names == ["seed-1 train", "seed-1 val", "seed-2 train", "seed-2 val"]
    assert len(facts["samples"]) == 1


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere", "-o", "page.html"], 1, "holds no log.jsonl"),
        (["MODEL/model.safetensors", "-o", "page.html"], 1, "holds no log.jsonl"),
        (["MODEL"], 2, "'-o'"),
        (["MODEL", "-o", "nowhere/page.html"], 1, "not a directory"),
        (["MODEL", "-o", "page.html", "--corpus", "nowhere"], 1, "not a corpus"),
        (["MODEL", "-o", "page.html", "--corpus", "NAMES/../data"], 1, "not the corpus"),
        ([], 2, "RUN"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, model, names_model, tmp_path, args, code, words):
    places = {"MODEL": str(model), "NAMES": str(names_model)}
    args = [re.sub("MODEL|NAMES", lambda name: places[name[0]], arg) for arg in args]
    done = charlm("report", *args, cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
    assert not list(tmp_path.iterdir())
