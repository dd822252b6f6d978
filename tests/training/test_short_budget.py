"""A run makes an update however short its budget is, and says that it was too short."""

import time

import pytest
from support.runs import SMALL_NETWORK, SMALL_RUN, differ

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError
from charlm.training import begin
from charlm.training.plan import Plan
from charlm.training.schedules import SCHEDULES, share
from charlm.training.standing import Listener

LONG_AGO_S = 1e6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").write_text("the cat sat on the mat; the dog sat on the log.\n" * 40)
    return prepare([folder / "text"], folder / "corpus", PrepConfig(val=0.2, test=0))


def short(data, out, listener, **knobs):
    """A run whose budget was over long before it could begin."""
    training = TrainingConfig(**{**SMALL_RUN, "steps": None, "budget": 9.0, "warmup": 0.5, **knobs})
    started = time.monotonic() - LONG_AGO_S
    return begin.begin(data, out, NetworkConfig(**SMALL_NETWORK), training, listener, started)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_budget_that_is_over_makes_one_update_and_says_so(data, tmp_path, schedule):
    said = []
    run = short(data, tmp_path / "run", Listener(say=said.append), schedule=schedule)
    before = {name: weight.detach().numpy().copy() for name, weight in run.trainer.weights.items()}
    outcome = run.go()
    assert (outcome.steps, outcome.signal) == (1, None)
    assert sum("too short" in line for line in said) == 1
    assert differ(before, model_file.load(tmp_path / "run").weights)


def test_more_time_that_is_over_makes_one_more(data, tmp_path):
    short(data, tmp_path / "run", Listener()).go()
    said = []
    more = {"budget": LONG_AGO_S / 2}
    resumed = begin.resume(
        tmp_path / "run", None, more, Listener(say=said.append), time.monotonic() - LONG_AGO_S
    )
    assert resumed.go().steps == 2
    assert any("too short" in line for line in said)


def test_a_run_of_so_many_updates_makes_no_more(data, tmp_path):
    said = []
    run = short(data, tmp_path / "run", Listener(say=said.append), budget=None, steps=3)
    assert run.go().steps == 3
    assert not any("too short" in line for line in said)


def test_an_update_after_the_end_has_a_rate():
    plan = Plan(budget_s=10.0)
    assert all(share(name, plan.during(0, LONG_AGO_S), 0.02) > 0.1 for name in SCHEDULES)


def test_no_updates_at_all_are_wrong_usage(charlm, corpus, tmp_path):
    done = charlm("train", corpus, "-o", tmp_path / "run", "--steps", 0)
    assert done.returncode == 2
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_ended_makes_an_update_in_more_time_however_little(data, tmp_path):
    short(data, tmp_path / "run", Listener(), budget=None, steps=3).go()
    said = []
    listener = Listener(say=said.append)
    again = begin.resume(tmp_path / "run", None, {"budget": 0.01}, listener, time.monotonic())
    assert again.go().steps == 4
    assert "the budget was over before there was an update" in said[-1]
    both = {"budget": 0.01, "steps": 4}
    with pytest.raises(ConfigError, match="a larger total with --steps"):
        begin.resume(tmp_path / "run", None, both, Listener(), time.monotonic())
