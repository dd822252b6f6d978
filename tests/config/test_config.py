"""Every knob: its range, its help, its way through plain data and to the command line."""

import math
from dataclasses import fields

import click
import pytest

from charlm.cells import CELLS
from charlm.cli.options import CellNames, Duration, knob_options, take
from charlm.config import (
    AdaptationConfig,
    NetworkConfig,
    PrepConfig,
    SamplingConfig,
    TrainingConfig,
)
from charlm.errors import ConfigError

GROUPS = [PrepConfig, NetworkConfig, TrainingConfig, SamplingConfig, AdaptationConfig]
every_group = pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
every_knob = pytest.mark.parametrize(
    ("group", "knob"),
    [(g, f) for g in GROUPS for f in fields(g)],
    ids=lambda x: getattr(x, "name", ""),
)


@every_group
def test_round_trip_through_plain_data(group):
    assert group.from_dict(group().to_dict()) == group()


@every_group
def test_a_name_that_is_no_knob_is_refused(group):
    with pytest.raises(ConfigError, match="colour"):
        group.from_dict({"colour": "red"})


@every_knob
def test_every_knob_has_help_and_refuses_what_lies_outside_its_range(group, knob):
    assert knob.metadata["help"].endswith((".", ")."))
    limits = knob.metadata["limits"]
    outside = []
    if limits["low"] is not None:
        outside += [limits["low"] - 1, math.nan]
    if limits["above"] is not None:
        outside += [limits["above"], math.nan]
    if limits["high"] is not None:
        outside.append(limits["high"] + 1)
    if limits["below"] is not None:
        outside.append(limits["below"])
    if knob.metadata["choices"]:
        outside.append("nonsense")
    for value in outside:
        with pytest.raises(ConfigError, match=knob.name):
            group(**{knob.name: value})


def test_how_long_is_said_once():
    with pytest.raises(ConfigError, match="one of them"):
        TrainingConfig(steps=10, epochs=1)


def test_splits_leave_something_to_train_on():
    with pytest.raises(ConfigError, match="nothing to train on"):
        PrepConfig(val=0.6, test=0.4)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_durations(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "ten", "-5s", "0", "nan", "inf", "1w"])
def test_what_is_no_duration_is_a_usage_error(text):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@every_group
def test_every_knob_is_an_option_with_the_same_default(group):
    found = {}

    @click.command()
    @knob_options(group, types={"cell": CellNames(list(CELLS))} if group is NetworkConfig else {})
    def command(**values):
        found.update(values)

    command.main([], standalone_mode=False)
    assert take(group, found) == group()
    assert not found
    assert len(command.params) == len(fields(group))
