"""`charlm train --init` through real processes."""

import json

import pytest

QUICK = ["--steps", "10", "--batch", "4", "--context", "16", "--seed", "1", "--device", "cpu"]
NEW = "the king will have a café; naïve, no?\n" * 60


@pytest.fixture(scope="module")
def tuned(charlm, model, tmp_path_factory):
    """The model, gone on with on a text with new symbols; read only."""
    folder = tmp_path_factory.mktemp("tuned")
    done = charlm("train", "-", "--init", model, "-o", folder / "run", *QUICK, stdin=NEW)
    assert done.returncode == 0, done.stderr.decode()
    return done, folder / "run"


def about(charlm, run):
    return json.loads(charlm("info", run, "--json").stdout)


def test_a_text_with_new_symbols_becomes_a_part_of_the_run(charlm, model, tuned):
    done, run = tuned
    old, new = about(charlm, model), about(charlm, run)
    before, after = old["tokenizer"]["symbols"], new["tokenizer"]["symbols"]
    assert after[: len(before)] == before
    assert set(after[len(before) :]) == set(NEW) - {"\n", " "} - set(before)
    told = f"new symbols: {len(after) - len(before)}, their rows begin small:"
    assert told in done.stderr.decode()
    assert "'é' (U+00E9)" in done.stderr.decode()
    assert new["network"] == old["network"]
    assert (run / "corpus" / "corpus.json").exists()
    assert charlm("sample", run, "--length", 20).returncode == 0


def test_info_tells_what_it_began_from(charlm, model, tuned):
    history = about(charlm, tuned[1])["history"]
    assert history["init"]["path"] == str(model)
    assert history["init"]["history"] == about(charlm, model)["history"]
    assert len(history["init"]["hash"]) == 64
    assert history["init"]["hash"] in charlm("info", tuned[1]).stdout.decode()
    first = json.loads((tuned[1] / "log.jsonl").read_text().splitlines()[0])
    assert first["init"] == history["init"]


def test_it_begins_better_than_a_new_model(charlm, model, corpus, tmp_path):
    """One update at a rate of next to nothing: what is measured is what it began with."""
    once = ["--steps", "1", "--lr", "1e-9", "--seed", "1", "--device", "cpu", "--ngram", "0"]
    small = ["--cell", "gru", "--width", "32"]
    anew = charlm("train", corpus, "-o", tmp_path / "anew", "--json", *once, *small)
    on = charlm("train", corpus, "--init", model, "-o", tmp_path / "on", "--json", *once)
    there = about(charlm, model)["history"]["val_nats_per_char"]
    assert json.loads(on.stdout)["val_nats_per_char"] == pytest.approx(there, abs=1e-4)
    assert json.loads(anew.stdout)["val_nats_per_char"] > there + 1
    assert not (tmp_path / "on" / "corpus").exists()


def test_a_corpus_of_another_alphabet_is_translated(charlm, model, tmp_path):
    (tmp_path / "text").write_text(NEW)
    charlm("prep", tmp_path / "text", "-o", tmp_path / "data")
    run = tmp_path / "run"
    done = charlm("train", tmp_path / "data", "--init", model, "-o", run, *QUICK)
    assert done.returncode == 0, done.stderr.decode()
    assert f"in the model's ids to {run / 'corpus'}" in done.stderr.decode()
    assert charlm("eval", run, run / "corpus").returncode == 0


def test_records_stay_records(charlm, names_model, tmp_path):
    names = "jörg\nkäthe\nanna\n" * 50
    run = tmp_path / "run"
    done = charlm("train", "-", "--init", names_model, "-o", run, *QUICK, stdin=names)
    assert done.returncode == 0, done.stderr.decode()
    assert about(charlm, run)["tokenizer"]["records"] == "line"
    sampled = charlm("sample", run, "-n", 3, "--seed", 1)
    assert len(sampled.stdout.decode().splitlines()) == 3


def test_a_model_file_will_do_and_the_network_may_be_named_as_it_is(charlm, model, tmp_path):
    run = tmp_path / "run"
    same = ["--cell", "gru", "--width", 32]
    init = ["--init", model / "model.safetensors"]
    done = charlm("train", "-", *init, "-o", run, *QUICK, *same, stdin=NEW)
    assert done.returncode == 0, done.stderr.decode()


def test_it_can_be_resumed(charlm, model, tmp_path):
    run = tmp_path / "run"
    done = charlm("train", "-", "--init", model, "-o", run, *QUICK, stdin=NEW)
    assert done.returncode == 0, done.stderr.decode()
    done = charlm("train", "--resume", run, "--steps", 15)
    assert done.returncode == 0, done.stderr.decode()
    assert about(charlm, run)["history"]["init"]["path"] == str(model)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["TEXT", "--init", "nowhere", "-o", "r"], 1, "nowhere"),
        (["TEXT", "--init", "TEXT", "-o", "r"], 1, "model file"),
        (["TEXT", "--init", "MODEL", "-o", "r", "--width", "64"], 2, "--width is 32"),
        (["TEXT", "--init", "MODEL", "-o", "r", "--cell", "lstm"], 2, "--cell is gru"),
        (["TEXT", "--init", "MODEL", "-o", "r", "--tied"], 2, "--tied is"),
        (["TEXT", "--init", "MODEL", "-o", "MODEL", "--force"], 2, "another name"),
        (["--resume", "r", "--init", "MODEL"], 2, "--init"),
        (["--init", "MODEL", "-o", "r"], 2, "CORPUS"),
        (["WORDS", "--init", "MODEL", "-o", "r"], 1, "--level char"),
        (["CORPUS", "--init", "NAMES", "-o", "r"], 1, "--records line"),
    ],
)
def test_mistakes_are_told_in_one_line(
    charlm, model, names_model, corpus, tmp_path, args, code, words
):
    (tmp_path / "text").write_text(NEW)
    if "WORDS" in args:
        charlm("prep", tmp_path / "text", "-o", tmp_path / "words", "--level", "word")
    places = {
        "TEXT": tmp_path / "text", "MODEL": model, "NAMES": names_model, "CORPUS": corpus,
        "WORDS": tmp_path / "words",
    }  # fmt: skip
    before = (model / "model.safetensors").read_bytes()
    done = charlm("train", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
    assert not (tmp_path / "r").exists()
    assert (model / "model.safetensors").read_bytes() == before
