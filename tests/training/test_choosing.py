"""What a budget is spent on: laws of the choice, and what a run does with it."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from charlm.cells import CELLS
from charlm.config import NetworkConfig, TrainingConfig
from charlm.network import build
from charlm.training import choosing, optimizers
from charlm.training.choosing import (
    LEAST_UPDATES,
    MOST_EPOCHS,
    MOST_MEMBERS,
    WIDTHS,
    Pace,
    active,
    choose,
    measure,
)

V = 65
PACE = Pace(1e-5, 6e-11)
MINUTE = 60.0


def chosen(budget_s: float, tokens: int = 1_000_000, pace: Pace = PACE, **network):
    return choose(NetworkConfig(**network), TrainingConfig(), V, tokens, pace, budget_s)


@pytest.mark.parametrize("cell", CELLS)
def test_more_time_never_means_fewer_networks_nor_narrower_ones(cell):
    found = [chosen(1.5**i, cell=cell) for i in range(2, 24)]
    for less, more in itertools.pairwise(found):
        assert less.members <= more.members
        assert less.width <= more.width or less.members < more.members
    assert found[0].width < found[-1].width
    assert found[0].members == 1
    assert found[-1].members > 1


def test_a_faster_machine_takes_a_wider_network():
    assert chosen(MINUTE, pace=Pace(1e-6, 6e-12)).width > chosen(MINUTE).width


def test_the_more_often_a_text_is_read_the_more_is_dropped():
    found = [chosen(2 * MINUTE, tokens).dropout for tokens in (10**7, 10**6, 10**5, 10**4)]
    assert found == sorted(found)
    assert found[0] == 0.0
    assert found[-1] == 0.5


def test_a_few_updates_drop_nothing_however_often_they_read_the_text():
    few, many = (chosen(budget_s, 50_000, members=1) for budget_s in (6.0, MINUTE))
    assert few.tokens > 3.5 * 50_000
    assert (few.dropout, many.dropout) == (0.0, 0.5)


def test_a_text_that_is_read_often_is_read_by_wide_networks_whose_weights_decay():
    fast = Pace(1e-6, 6e-12)
    found, rarely = (chosen(2 * MINUTE, 10**n, fast, members=1) for n in (6, 8))
    assert found.width > rarely.width
    assert found.weight_decay > rarely.weight_decay == 0.0
    told = TrainingConfig(weight_decay=0.25)
    assert choose(NetworkConfig(), told, V, 10**6, PACE, MINUTE).weight_decay == 0.25


def test_a_longer_run_never_has_a_higher_rate():
    for name in optimizers.RATES:
        rates = [optimizers.rate(name, 2.0**i) for i in range(20)]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] == optimizers.rate(name) == optimizers.RATES[name]


def test_muon_is_for_stacks_of_cells_that_all_learn_with_it():
    assert chosen(MINUTE, cell="lstm,gru").optimizer == "muon"
    assert chosen(MINUTE, cell="lstm,mingru").optimizer == optimizers.USUAL
    found = chosen(MINUTE, cell="lstm", width=256)
    plain = TrainingConfig(optimizer="adamw")
    other = choose(NetworkConfig(cell="lstm", width=256), plain, V, 1_000_000, PACE, MINUTE)
    assert found.tokens < other.tokens


def test_a_short_text_is_not_read_for_ever():
    found = chosen(60 * MINUTE, 100_000)
    assert found.tokens == pytest.approx(MOST_EPOCHS * 100_000)
    assert found.members == MOST_MEMBERS
    assert found.seconds < 30 * MINUTE
    endless = chosen(60 * MINUTE, 10**8)
    assert (endless.seconds, endless.steps) == (60 * MINUTE, None)
    assert chosen(60 * MINUTE, 10_000).updates == pytest.approx(LEAST_UPDATES)


def test_where_the_text_ends_the_run_more_time_changes_nothing():
    one, other = chosen(60 * MINUTE, 100_000), chosen(90 * MINUTE, 100_000)
    assert one == replace(other, seconds=one.seconds)
    assert one.steps == round(one.updates)
    assert one.fill(NetworkConfig(), TrainingConfig(budget=60 * MINUTE))[1].steps == one.steps


@pytest.mark.parametrize("told", [{"steps": 50}, {"epochs": 0.1}])
def test_steps_or_epochs_may_end_it_sooner(told):
    config = TrainingConfig(budget=MINUTE, batch=32, **told)
    found = choose(NetworkConfig(), config, V, 1_000_000, PACE, MINUTE)
    assert found.seconds < MINUTE / 4
    assert found.members == 1
    filled = found.fill(NetworkConfig(), config)[1]
    assert (filled.steps, filled.epochs) == (config.steps, config.epochs)


def test_what_is_told_gets_its_time():
    for told in ({"width": 128}, {"cell": "mingru"}):
        assert chosen(60 * MINUTE, 10**5, **told).tokens > 2 * MOST_EPOCHS * 10**5


def test_a_short_text_is_not_read_by_a_wide_network():
    found = [chosen(60 * MINUTE, tokens).width for tokens in (10**4, 10**5, 10**6)]
    assert found[0] < found[1] < found[2]


def test_several_networks_share_the_time():
    one, several = chosen(4 * MINUTE, width=256), chosen(4 * MINUTE, width=256, members=4)
    assert one.members == 1
    assert several.tokens == pytest.approx(one.tokens / 4)


def test_one_network_where_that_is_told_or_follows():
    assert chosen(60 * MINUTE).members > 1
    for told in ({"members": 1}, {"width": 512}, {"bidirectional": True}):
        assert chosen(60 * MINUTE, **told).members == 1
    assert chosen(60 * MINUTE, tokens=10**9).members == 1


def test_even_no_time_makes_a_network():
    assert chosen(1e-3).width == WIDTHS[0]


def test_what_is_looked_up_takes_no_time():
    small, large = (build(NetworkConfig(width=64, embedding=64), v) for v in (10, 1000))
    assert active(large) - active(small) == 990 * 65  # the head and its bias


def test_the_pace_is_that_of_one_member(monkeypatch):
    built = []
    monkeypatch.setattr(
        choosing, "build", lambda config, V: built.append(config) or build(config, V)
    )
    config = TrainingConfig(batch=2, context=4, seed=1)
    measure(NetworkConfig(members=3), config, V, torch.device("cpu"))
    assert [one.members for one in built] == [1, 1]


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_the_pace_that_is_measured_is_positive(cell):
    config = TrainingConfig(batch=2, context=4, seed=1)
    pace = measure(NetworkConfig(cell=cell), config, V, torch.device("cpu"))
    assert pace.token_s >= 0
    assert pace.parameter_s > 0


def log_of(run) -> dict:
    return json.loads((run / "log.jsonl").read_text().splitlines()[0])


def test_a_budget_decides_and_says_so(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    done = charlm("train", corpus, "-o", run, "--budget", "6s", "--seed", 1, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "it makes about" in done.stderr.decode()
    first = log_of(run)
    assert f"width {first['network']['width']}" in done.stderr.decode()
    assert first["network"]["width"] in WIDTHS
    assert first["training"]["dropout"] is not None


TOLD = [
    "--budget", "4s", "--width", "24", "--optimizer", "adamw", "--lr", "0.01", "--dropout", "0",
    "--weight-decay", "0",
]  # fmt: skip


@pytest.mark.parametrize(("options", "width"), [(TOLD, 24), (["--steps", 1], 384)])
def test_what_is_told_is_not_chosen(charlm, corpus, tmp_path, options, width):
    run = tmp_path / "run"
    done = charlm("train", corpus, "-o", run, *options, "--seed", 1, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "it makes about" not in done.stderr.decode()
    assert log_of(run)["network"]["width"] == width


@pytest.mark.parametrize(
    ("option", "part", "value"),
    [
        ("width", "network", 40),
        ("dropout", "training", 0.25),
        ("weight_decay", "training", 0.05),
        ("optimizer", "training", "sgd"),
        ("lr", "training", 0.0125),
    ],
)
def test_the_rest_is_chosen_around_what_is_told(charlm, corpus, tmp_path, option, part, value):
    run = tmp_path / "run"
    told = "--" + option.replace("_", "-")
    options = ["--budget", "4s", told, value, "--seed", 1, "--device", "cpu"]
    done = charlm("train", corpus, "-o", run, *options)
    assert done.returncode == 0, done.stderr
    assert "it makes about" in done.stderr.decode()
    assert log_of(run)[part][option] == value
