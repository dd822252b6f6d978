"""Presets: names of knobs with values they can have; what is given goes before what is preset."""

from dataclasses import fields

import pytest

from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import build
from charlm.presets import LENGTHS, PRESETS, fill

every_preset = pytest.mark.parametrize("name", PRESETS)
SMALL = ["--width", 16, "--batch", 4, "--context", 16, "--steps", 3, "--seed", 1, "--device", "cpu"]


@every_preset
def test_a_preset_is_a_network_and_a_way_to_train_it(name):
    preset = PRESETS[name]
    build(NetworkConfig(**preset.network), 65)
    config = TrainingConfig(**preset.training)
    assert sum(getattr(config, length) is not None for length in LENGTHS) == 1
    assert preset.source.endswith(".")


def test_nanogpts_budget_is_its_parameters_and_its_characters():
    preset = PRESETS["nanogpt-cpu-budget"]
    network = build(NetworkConfig(**preset.network), 65)
    assert network.parameters() == pytest.approx(0.80e6, rel=0.01)
    config = TrainingConfig(**preset.training)
    assert config.steps * config.batch * config.context == 2000 * 12 * 64


@every_preset
def test_what_is_given_stays(name):
    knobs = {f.name: f.default for g in (NetworkConfig, TrainingConfig) for f in fields(g)}
    for knob in PRESETS[name].values:
        values = {**knobs, knob: "given"}
        found = fill(values, name, {knob})
        assert values[knob] == "given"
        assert knob not in found
        others = set(PRESETS[name].values) - {knob} - (set(LENGTHS) if knob in LENGTHS else set())
        assert {other: values[other] for other in others} == found


@pytest.mark.parametrize("length", LENGTHS)
@every_preset
def test_another_length_takes_the_place_of_the_presets(name, length):
    values = dict.fromkeys(LENGTHS)
    values[length] = 7
    fill(values, name, {length})
    assert [values[each] for each in LENGTHS if each != length] == [None, None]


@every_preset
def test_a_preset_trains_and_is_told(charlm, corpus, tmp_path, name):
    small = [*SMALL, "--embedding", 16 if PRESETS[name].network.get("residual") else 8]
    done = charlm("train", corpus, "-o", tmp_path / "run", "--preset", name, *small)
    message = done.stderr.decode()
    assert done.returncode == 0, message
    told = next(line for line in message.splitlines() if line.startswith(f"preset {name}: "))
    assert "--cell lstm" in told
    assert "--width" not in told
    assert "--epochs" not in told
    assert done.stdout == b""
    assert charlm("sample", tmp_path / "run", "--length", 5).returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["CORPUS", "-o", "r", "--preset", "gpt"], "char-rnn"),
        (["--resume", "r", "--preset", "char-rnn"], "--preset"),
        (["CORPUS", "-o", "r", "--init", "m", "--preset", "char-rnn"], "--preset"),
    ],
)
def test_mistakes(charlm, corpus, tmp_path, args, words):
    done = charlm("train", *[corpus if a == "CORPUS" else a for a in args], cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()
