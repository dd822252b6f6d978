"""charlm as a library: it does what the commands do, needs no torch to write, and is typed."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest
from support.paths import ROOT

import charlm as package
from charlm import config
from charlm.errors import ConfigError, DataError
from charlm.library import options

README = (ROOT / "README.md").read_text(encoding="utf-8")


BOOK = "To be, or not to be, that is the question\nmy king\n" * 80


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run trained for a moment on BOOK, whose letters the README's examples need."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "book.txt").write_text(BOOK)
    package.train(
        folder / "book.txt", folder / "run", steps=100, width=32, context=32, seed=1, device="cpu"
    )
    return folder / "run"


@pytest.fixture(scope="module")
def loaded(model):
    return package.Model.load(model)


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Tells the exit status of `mypy --strict`, and the lines that it says of a program."""
    cache = tmp_path_factory.mktemp("mypy")

    def check(program):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, program.name],
            cwd=program.parent, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        return done.returncode, [line for line in done.stdout.splitlines() if ": " in line]

    return check


def python(code, *args):
    """Runs a program in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_sample_is_what_the_command_writes(charlm, model, loaded):
    asked = ["--prompt", "the ", "--length", 60, "--temperature", 0.8, "--seed", 3, "--no-echo"]
    done = charlm("sample", model, *asked)
    text = loaded.sample("the ", length=60, temperature=0.8, seed=3)
    assert f"{text.rstrip(chr(10))}\n" == f"{done.stdout.decode().rstrip(chr(10))}\n"
    assert len(text) == 60


def test_stream_is_the_sample_in_pieces(loaded):
    pieces = list(loaded.stream("my ", length=40, seed=1))
    assert len(pieces) == 40
    assert "".join(pieces) == loaded.sample("my ", length=40, seed=1)


def test_a_stream_is_made_while_it_is_read(loaded):
    stream = loaded.stream(length=10**9, seed=1)
    assert len([next(stream) for _ in range(5)]) == 5


def test_samples_are_those_of_the_command(charlm, model, loaded):
    asked = ["-n", 5, "--length", 30, "--seed", 2, "--json", "-p", "a", "--no-echo"]
    done = charlm("sample", model, *asked)
    texts = [json.loads(line)["text"] for line in done.stdout.decode().splitlines()]
    assert loaded.samples("a", 5, length=30, seed=2) == texts
    assert loaded.sample("a", length=30, seed=2) == texts[0]


def test_samples_end_where_they_are_told(loaded):
    assert loaded.sample("the", stops=["e"], seed=1, allow=["e", "n"]).strip("n") == ""
    assert re.fullmatch("[a-z]{3,5} [a-z]", loaded.sample(match="[a-z]{3,5} [a-z]", seed=1))
    assert "e" not in loaded.sample(length=200, ban=["e"], seed=1)


def test_a_state_is_where_the_prompt_leads(loaded):
    whole = loaded.state("to be, or not")
    parts = loaded.state(" or not", state=loaded.state("to be,"))
    assert np.array_equal(whole.logits, parts.logits)
    assert loaded.sample("", state=whole, length=50, seed=4) == loaded.sample(
        "to be, or not", length=50, seed=4
    )
    assert loaded.next(state=whole) == loaded.next("to be, or not")


def test_next_is_a_distribution(loaded):
    found = loaded.next("th")
    assert sum(one.probability for one in found) == pytest.approx(1)
    assert [one.bits for one in found] == sorted(one.bits for one in found)
    assert sorted(one.id for one in found) == list(range(loaded.contents.tokenizer.vocabulary))


def test_score_is_what_the_command_says(charlm, model, loaded):
    done = charlm("score", model, "--json", stdin="the king\n")
    said = json.loads(done.stdout)
    score = loaded.score("the king")
    assert score.bits == pytest.approx(said["bits"], rel=1e-5)
    assert (score.chars, score.bytes, score.tokens) == (9, 9, 9)
    assert score.bits_per_char == pytest.approx(score.bits / 9)
    assert (score + loaded.score("my")).chars == 12


def test_it_is_what_next_expected(loaded):
    """A text's nats are those of its symbols, each after those before it, and of its end."""
    text, nats = "king\n", 0.0
    ids = loaded.contents.tokenizer.encode(text).tolist()
    for at, id in enumerate(ids):
        nats += {one.id: one.nats for one in loaded.next(text[:at])}[id]
    assert loaded.score("king").nats == pytest.approx(nats, rel=1e-5)


def test_a_bidirectional_model_can_only_score(both_sides_model):
    both = package.Model.load(both_sides_model)
    assert both.score("the king").bits > 0
    for call in (both.sample, both.stream, both.next, both.state):
        with pytest.raises(ConfigError, match="bidirectional"):
            call("the")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda model: package.Model.load("nowhere"), DataError, "does not exist"),
        (lambda model: model.sample("☃"), DataError, "U+2603"),
        (lambda model: model.stream(temperature=-1.0), ConfigError, "temperature"),
        (lambda model: model.sample(colour=1), ConfigError, "no option colour"),
        (lambda model: model.sample(samples=3), ConfigError, "Model.samples"),
        (lambda model: model.samples("my", 2, samples=3), ConfigError, "Model.samples"),
        (lambda model: model.sample(stops=[""]), ConfigError, "need some text"),
        (lambda model: model.stream(allow=["a", ""]), ConfigError, "need some text"),
        (lambda model: package.prepare("nowhere.txt", "data"), DataError, "nowhere.txt"),
        (lambda model: package.prepare([], "data", level="rune"), ConfigError, "rune"),
        (lambda model: package.train("nowhere", "run", steps=0), ConfigError, "steps"),
        (lambda model: package.train("nowhere", "run", preset="x"), ConfigError, "char-rnn"),
    ],
)
def test_mistakes_are_told(loaded, tmp_path, monkeypatch, call, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(words)):
        call(loaded)
    assert not list(tmp_path.iterdir())


def test_prepare_and_train_make_what_the_commands_make(charlm, tmp_path):
    (tmp_path / "text.txt").write_text(BOOK)
    told, heard, said = [], [], []
    corpus = package.prepare(
        tmp_path / "text.txt", tmp_path / "data", val=0.1, progress=told.append, say=said.append
    )
    assert sum(told) == (tmp_path / "text.txt").stat().st_size
    knobs = {"steps": 20, "width": 16, "batch": 4, "context": 16, "seed": 1, "device": "cpu"}
    trained = package.train(
        corpus.path, tmp_path / "run", cell="gru", progress=heard.append, say=said.append, **knobs
    )
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert heard == [json.loads(line) for line in log[1:]]
    assert trained.contents.history["steps"] == 20
    charlm("prep", tmp_path / "text.txt", "-o", tmp_path / "data2", "--val", 0.1)
    flags = [word for name, value in knobs.items() for word in (f"--{name}", value)]
    done = charlm("train", tmp_path / "data2", "-o", tmp_path / "run2", "--cell", "gru", *flags)
    assert done.returncode == 0, done.stderr.decode()
    assert package.Model.load(tmp_path / "run2").contents.hash == trained.contents.hash
    with pytest.raises(DataError, match="exists already"):
        package.train(corpus.path, tmp_path / "run", **knobs)
    with pytest.raises(ConfigError, match="cell is gru"):
        package.train(corpus.path, tmp_path / "new", init=tmp_path / "run", cell="lstm", steps=1)
    tuned = package.train(corpus.path, tmp_path / "new", init=tmp_path / "run", steps=2, seed=1)
    assert tuned.contents.history["init"]["hash"] == trained.contents.hash


INTERRUPTED = """\
import os, signal, sys, charlm
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
def stop(entry): os.kill(os.getpid(), signal.SIGINT)
try:
    charlm.train(sys.argv[1], sys.argv[2], steps=10**6, width=8, batch=2, seed=1, progress=stop)
except KeyboardInterrupt:
    print("interrupted", os.path.exists(f"{sys.argv[2]}/last.safetensors"))
"""


@pytest.mark.slow
def test_an_interrupt_is_raised_again_after_the_save(corpus, tmp_path):
    done = python(INTERRUPTED, corpus, tmp_path / "run")
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr


@pytest.mark.parametrize(
    ("names", "knobs", "beside"),
    [
        (options.PrepOptions, [config.PrepConfig], set()),
        (options.TrainOptions, [config.NetworkConfig, config.TrainingConfig], set()),
        (
            options.SampleOptions,
            [config.SamplingConfig],
            {"state", "unknown", *("stops", "max_lines", "until_record", "ban", "allow", "match")},
        ),
    ],
)
def test_every_knob_can_be_given_by_name(names, knobs, beside):
    """In the knob's own type; how many samples there are is told by the method."""
    wanted = {f.name: get_type_hints(group)[f.name] for group in knobs for f in fields(group)}
    wanted.pop("samples", None)
    found = get_type_hints(names)
    assert {name: kind for name, kind in found.items() if name not in beside} == wanted
    assert beside <= found.keys()


def test_writing_needs_no_torch_and_importing_nothing(model):
    light = "import charlm, sys; print(*{'torch', 'numpy', 'click'} & sys.modules.keys())"
    assert python(light).stdout == "\n"
    code = (
        "import sys; from charlm import Model; model = Model.load(sys.argv[1])\n"
        "model.sample('the', length=5, seed=1), model.score('the'), model.next('the')\n"
        "print('torch' in sys.modules)"
    )
    done = python(code, model)
    assert done.stdout == "False\n", done.stderr


def test_what_it_exports_is_there():
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


SECTION = README.split("## As a library")[1].split("\n## ")[0]


def test_the_readmes_command_works(model, tmp_path):
    (tmp_path / "run").symlink_to(model)
    (command,) = re.findall(r'^\$ (python -c ".*")$', SECTION, re.MULTILINE)
    command = command.replace("python", f"{sys.executable}", 1)
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 50


@pytest.mark.slow
def test_the_readmes_examples_run_and_type_check(mypy, model, tmp_path):
    """As one program, in a folder that has what they read; `mypy --strict` finds nothing wrong."""
    blocks = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r'python -c "(.*)"$', SECTION, re.MULTILINE)
    (tmp_path / "program.py").write_text("\n".join([*blocks, command.replace("; ", "\n")]))
    (tmp_path / "run").symlink_to(model)
    (tmp_path / "book.txt").write_text(BOOK)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    code, lines = mypy(tmp_path / "program.py")
    assert code == 0, lines


WRONG = """\
from charlm import Model, train
model: str = Model.load("run")
Model.load("run").sample("a", temprature=1.0)
train("data", "run", steps="many")
reveal_type(Model.load("run").score("a").bits_per_char)
"""


@pytest.mark.slow
def test_a_wrong_call_does_not_type_check(mypy, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    code, lines = mypy(tmp_path / "wrong.py")
    assert code == 1
    told = {int(line.split(":")[1]): line for line in lines if ": error:" in line}
    assert set(told) == {2, 3, 4}
    assert "temprature" in told[3]
    assert any('Revealed type is "float"' in line for line in lines)


@pytest.mark.parametrize("name", ["model", "making"])
def test_the_docstrings_examples_are_so(name, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(model)
    (tmp_path / "book.txt").write_text(BOOK)
    found = doctest.testmod(importlib.import_module(f"charlm.library.{name}"))
    assert found.attempted > 2
    assert not found.failed
