"""`charlm sample` and `charlm info` through real processes."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from support.commands import forked


def sample(charlm, model, *args, stdin=""):
    done = charlm("sample", model, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8")


def test_stdout_is_the_text_and_nothing_else(charlm, model):
    done = charlm("sample", model, "--length", 50, "--seed", 3)
    text = done.stdout.decode()
    assert len(text.rstrip("\n")) <= 50 <= len(text)
    assert done.stderr == b""


def test_a_seed_it_chose_is_told_and_gives_the_same_text(charlm, model):
    first = charlm("sample", model, "--length", 80)
    seed = first.stderr.decode().split()[1]
    assert sample(charlm, model, "--length", 80, "--seed", seed) == first.stdout.decode()


@pytest.mark.parametrize(
    "knob",
    [
        ["--temperature", "0.5"],
        ["--top-k", "2"],
        ["--top-p", "0.5"],
        ["--min-p", "0.5"],
        ["--greedy"],
        ["--repetition-penalty", "3"],
    ],
)
def test_every_knob_of_the_distribution_changes_something(charlm, model, knob):
    common = ["--length", 200, "--seed", 1]
    assert sample(charlm, model, *common, *knob) != sample(charlm, model, *common)


def test_greedy_needs_no_seed(charlm, model):
    texts = {sample(charlm, model, "--greedy", "--length", 60, "--seed", s) for s in (1, 2)}
    assert len(texts) == 1
    assert texts == {sample(charlm, model, "--temperature", 0, "--length", 60)}


def test_the_prompt_comes_first_unless_told_otherwise(charlm, model):
    common = ["--prompt", "the king", "--length", 20, "--seed", 1]
    whole = sample(charlm, model, *common)
    assert whole.startswith("the king")
    assert sample(charlm, model, *common, "--no-echo") == whole.removeprefix("the king")


@pytest.mark.parametrize("temperature", ["1e-50", "1e-320", "1e300"])
def test_extreme_temperatures_are_quiet(charlm, model, temperature):
    done = charlm("sample", model, "--temperature", temperature, "--length", 40, "--seed", 1)
    assert (done.returncode, done.stderr) == (0, b"")
    if temperature != "1e300":
        assert done.stdout.decode() == sample(charlm, model, "--greedy", "--length", 40)


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_the_prompt_can_be_a_file_or_stdin(charlm, model, tmp_path, way):
    file = tmp_path / "prompt.txt"
    file.write_text("what say")
    given = ["--prompt-file", file] if way == "file" else ["--prompt-file", "-"]
    found = sample(charlm, model, *given, "--length", 20, "--seed", 1, stdin="what say")
    assert found == sample(charlm, model, "--prompt", "what say", "--length", 20, "--seed", 1)


def test_length_counts_characters_after_the_prompt(charlm, model):
    assert sample(charlm, model, "--prompt", "the", "--length", 0) == "the\n"
    text = sample(charlm, model, "--prompt", "the", "--length", 7, "--seed", 1, "--json")
    assert len(json.loads(text)["text"]) == 10


def test_a_stop_string_ends_the_sample_before_it(charlm, model):
    long = sample(charlm, model, "--length", 300, "--seed", 1)
    found = sample(charlm, model, "--length", 300, "--seed", 1, "--stop", "th", "--json")
    assert json.loads(found)["stopped"] == "stop"
    assert json.loads(found)["text"] == long[: long.index("th")]


def test_n_samples_are_those_of_a_smaller_n(charlm, model):
    rows = [
        json.loads(line)
        for line in sample(
            charlm, model, "-n", 70, "--length", 15, "--seed", 5, "--json"
        ).splitlines()
    ]
    assert [row["sample"] for row in rows] == list(range(70))
    assert len({row["text"] for row in rows}) > 10
    few = sample(charlm, model, "-n", 3, "--length", 15, "--seed", 5, "--json").splitlines()
    assert [json.loads(line) for line in few] == rows[:3]


def test_several_samples_are_a_blank_line_apart(charlm, model):
    text = sample(charlm, model, "-n", 3, "--length", 9, "--seed", 5, "--stop", "\n")
    assert len(text.rstrip("\n").split("\n\n")) == 3


def test_a_model_of_records_writes_records(charlm, names_model):
    text = sample(charlm, names_model, "-n", 20, "--seed", 1)
    lines = text.splitlines()
    assert len(lines) == 20
    assert all(line.isalpha() and len(line) < 20 for line in lines)
    begun = sample(charlm, names_model, "-n", 5, "--seed", 1, "--prompt", "ann")
    assert all(line.startswith("ann") for line in begun.splitlines())


def test_a_model_of_bytes_writes_bytes(charlm, tmp_path):
    raw = bytes([0, 255, 128, 65, 200, 10]) * 300
    (tmp_path / "raw").write_bytes(raw)
    assert charlm("prep", tmp_path / "raw", "-o", tmp_path / "d", "--level", "byte").returncode == 0
    done = charlm(
        "train", tmp_path / "d", "-o", tmp_path / "r", "--steps", 60, "--width", 16, "--seed", 1,
        "--batch", 4, "--lr", "0.03",
    )  # fmt: skip
    assert b"bits/byte" in done.stderr
    text = charlm("sample", tmp_path / "r", "--greedy", "--length", 60).stdout
    assert text[:60] in raw
    as_json = charlm("sample", tmp_path / "r", "--greedy", "--length", 60, "--json").stdout
    assert len(json.loads(as_json)["text"]) == 60


def test_unknown_words_are_told_echoed_and_never_written(charlm, tmp_path):
    text = "the cat sat on the mat. " * 100 + "once"
    done = charlm(
        "prep", "-", "-o", tmp_path / "d", "--level", "word", "--min-count", 2, stdin=text
    )
    assert done.returncode == 0, done.stderr.decode()
    charlm("train", tmp_path / "d", "-o", tmp_path / "r", "--steps", 3, "--width", 8, "--seed", 1)
    done = charlm("sample", tmp_path / "r", "--prompt", "the zebra", "--length", 400, "--seed", 1)
    assert done.stdout.startswith(b"the zebra")
    assert b"<unk>" not in done.stdout
    assert b"1 word of the prompt not in the vocabulary" in done.stderr


def test_an_unknown_character_first_is_replaced_by_itself_alone(charlm, tmp_path):
    """A word's missing space is looked for; a character has none to miss."""
    text = "the cat sat on the mat. " * 100 + "Z"
    charlm("prep", "-", "-o", tmp_path / "d", "--min-count", 2, stdin=text)
    charlm("train", tmp_path / "d", "-o", tmp_path / "r", "--steps", 3, "--width", 8, "--seed", 1)
    done = charlm(
        "sample", tmp_path / "r", "--prompt", "Zcat", "--unknown", "replace", "--length", 0
    )
    assert done.stdout == b"<unk>cat\n"


def test_an_unknown_character_is_named_and_can_be_got_past(charlm, model):
    prompt = ["--prompt", "the\nk☃ng", "--length", 5, "--seed", 1]
    done = charlm("sample", model, *prompt)
    message = done.stderr.decode("utf-8")
    assert done.returncode == 1
    assert done.stdout == b""
    for word in ("☃", "U+2603", "line 2", "column 2", "--unknown skip"):
        assert word in message
    assert sample(charlm, model, *prompt, "--unknown", "skip").startswith("the\nkng")
    assert sample(charlm, model, *prompt, "--unknown", "replace").startswith("the\nk ng")


def test_a_reader_that_goes_away_ends_it_quietly(model):
    command = f"set -o pipefail; {shlex.join(forked())} sample {model} --length 100000 --seed 1"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 100"], capture_output=True, timeout=60
    )
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 100, b"")


def test_a_model_file_needs_nothing_else(charlm, model, tmp_path):
    alone = tmp_path / "m.safetensors"
    alone.write_bytes((model / "model.safetensors").read_bytes())
    common = ["--length", 40, "--seed", 1]
    assert sample(charlm, alone, *common) == sample(charlm, model, *common)


def test_the_torch_engine_gives_the_same_greedy_text(model):
    from charlm import model_file
    from charlm.config import SamplingConfig
    from charlm.sampling.engine import NumpyEngine, TorchEngine
    from charlm.sampling.generate import Row
    from charlm.sampling.text import Manner, sample_texts

    loaded = model_file.load(model)
    texts = []
    for engine in (
        NumpyEngine(loaded.network, loaded.weights),
        TorchEngine(loaded.network, loaded.weights, "cpu"),
    ):
        pieces = []
        sample_texts(
            engine, loaded.tokenizer, [Row(0, loaded.tokenizer.encode("the"))],
            Manner(SamplingConfig(greedy=True), seed=1, length=100),
            emit=lambda row, text, to=pieces: to.append(text), ended=lambda row, sample: None,
        )  # fmt: skip
        texts.append("".join(pieces))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "does not exist"),
        (["EMPTY"], 1, "holds no model.safetensors"),
        (["LAST"], 1, "a run's state"),
        (["NOISE"], 1, "damaged or not a model file"),
        (["MODEL", "--prompt", "a", "--prompt-file", "-"], 2, "not both"),
        (["MODEL", "--temperature", "-1"], 2, "temperature"),
        (["MODEL", "--top-p", "0"], 2, "top-p"),
        (["MODEL", "--length", "-1"], 2, "length"),
        (["MODEL", "--stop", ""], 2, "--stop"),
        (["MODEL", "--seed", "99999999999999999999"], 2, "seed"),
        (["MODEL", "--prompt-file", "nowhere"], 1, "nowhere"),
        ([], 2, "MODEL"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, model, tmp_path, args, code, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    places = {
        "MODEL": model,
        "LAST": model / "last.safetensors",
        "EMPTY": tmp_path / "empty",
        "NOISE": tmp_path / "noise",
    }
    done = charlm("sample", *[places.get(arg, arg) for arg in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""


def test_info_tells_everything_but_the_weights(charlm, model):
    about = json.loads(charlm("info", model, "--json").stdout)
    assert about["network"]["cell"] == "gru"
    assert about["history"]["val_bits_per_char"] > 0
    assert about["tokenizer"]["vocabulary"] == len(about["tokenizer"]["symbols"])
    text = charlm("info", model).stdout.decode()
    for word in ("gru", "width", "val_bits_per_char", "corpus_hash"):
        assert word in text


def test_info_of_something_else_is_refused(charlm):
    done = charlm("info", Path(__file__))
    assert done.returncode == 1
    assert b"damaged or not a model file" in done.stderr
