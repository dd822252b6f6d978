"""A record of the training text is found as one, whatever its length, and nothing else is."""

import json

import pytest

from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.novelty import Index, build, layout

LINES = ["anna", "ann", "zoë", "anna maria", "x"]
PARTS = {  # longer and shorter than a record, across two, and other ones
    "line": ["ann", "anna", "an", "nna", "anna m", "maria", "anna\nann", "zoë", "zo", "x", "bob"],
    "blank": ["anna\nann", "anna", "ann", "zoë", "zoë\n", "x", "x\n\ny", "bob"],
    "file": ["anna\nann", "anna", "ann", "nna", "zoë", "x", "bob", "anna\nann\n"],
}


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
@pytest.mark.parametrize("records", ["line", "blank", "file"])
def test_a_record_is_one_of_those_that_python_splits(tmp_path, monkeypatch, records, level):
    monkeypatch.setattr(layout, "READ_AT_ONCE", 3)
    texts = {
        "line": ["\n".join(LINES) + "\n"],
        "blank": ["anna\nann\n\nzoë\n\nx\n"],
        "file": ["anna\nann", "zoë", "x"],
    }[records]
    wanted = {"line": LINES, "blank": texts[0].strip("\n").split("\n\n"), "file": texts}[records]
    paths = [tmp_path / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    knobs = {"vocab_size": 300} if level == "bpe" else {}
    config = PrepConfig(val=0, test=0, records=records, level=level, **knobs)
    prepare(paths, tmp_path / "data", config)
    build(tmp_path / "data")
    index = Index.open(tmp_path / "data")
    for part in {*PARTS[records], *wanted}:
        assert index.has_record(part) == (part in wanted), part
    assert not index.has_record("\ud800")


def test_running_text_has_no_records(tmp_path):
    (tmp_path / "text").write_text("anna\nann\n")
    prepare([tmp_path / "text"], tmp_path / "data", PrepConfig(val=0, test=0))
    build(tmp_path / "data")
    assert not Index.open(tmp_path / "data").has_record("anna")


@pytest.fixture(scope="module")
def names(charlm, tmp_path_factory):
    """A run of records that has learned its names by heart, and its indexed corpus."""
    folder = tmp_path_factory.mktemp("names")
    text = "anna\nannika\nbertha\ncarl\ndora\nemil\n" * 60
    done = charlm("prep", "-", "-o", folder / "data", "--records", "line", "--index", stdin=text)
    assert done.returncode == 0, done.stderr
    done = charlm(
        "train", folder / "data", "-o", folder / "run", "--steps", 100, "--seed", 1, "--width", 24,
        "--batch", 8, "--context", 16, "--dropout", 0, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run", folder / "data"


@pytest.mark.parametrize("prompt", ["", "an"])
def test_a_sample_that_is_a_training_record_is_not_novel(charlm, names, prompt):
    model, data = names
    common = (model, "-n", 60, "--seed", 2, "--prompt", prompt, "--novel", 30, "--index", data)
    done = charlm("sample", *common, "--json", "--temperature", 1.3)
    assert done.returncode == 0, done.stderr
    listed = {"anna", "annika", "bertha", "carl", "dora", "emil"}
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["text"] in listed for one in found} == {True, False}
    for one in found:
        assert one["novel"] == (one["text"] not in listed)
    done = charlm("sample", *common, "--temperature", 1.3)
    assert done.stdout.decode().splitlines() == [one["text"] for one in found if one["novel"]]
    left_out = sum(not one["novel"] for one in found)
    assert done.stderr.decode().startswith(f"{left_out} of 60 samples left out")
    # The prompt is part of the record where it is not shown, too.
    done = charlm("sample", *common, "--temperature", 1.3, "--no-echo")
    assert len(done.stdout.decode().splitlines()) == 60 - left_out


def test_a_record_whose_beginning_is_in_a_state_is_refused(charlm, names, tmp_path):
    model, data = names
    state = tmp_path / "state"
    done = charlm("sample", model, "--prompt", "an", "--save-state", state, "--length", 0)
    assert done.returncode == 0, done.stderr
    done = charlm("sample", model, "--state", state, "--novel", 5, "--index", data)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"--prompt" in done.stderr
