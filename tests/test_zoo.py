"""The zoo in this process: sizes, laps, and the speed of sampling."""

import math

import numpy as np
import pytest
from support.clock import Clock

from charlm import zoo
from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.model_file import Model
from charlm.network import build
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form, word_form
from charlm.training.standing import Listener


@pytest.mark.parametrize("parameters", [1, 5_000, 100_000, 718_913])
@pytest.mark.parametrize("cell", CELLS)
def test_no_other_width_is_nearer(cell, parameters):
    def distance(width):
        return abs(build(NetworkConfig(cell=cell, width=width), 65).parameters() - parameters)

    found = zoo.contestant(cell, 65, parameters).config.width
    widths = range(zoo.WIDTH_STEP, 2 * found + 5 * zoo.WIDTH_STEP, zoo.WIDTH_STEP)
    assert found == min(widths, key=distance)


@pytest.mark.parametrize("cell", CELLS)
def test_all_but_the_width_is_as_the_cell_wants_it(cell):
    network = zoo.contestant(cell, 65, 100_000)
    wanted = build(NetworkConfig(cell=cell, width=network.config.width), 65)
    assert network.config == wanted.config
    assert zoo.row(network).parameters == wanted.parameters()


def test_the_usual_size_is_that_of_a_plain_training():
    assert zoo.usual_parameters(65) == build(NetworkConfig(), 65).parameters()
    assert (
        zoo.contestant("lstm", 65, zoo.usual_parameters(65)).config
        == build(NetworkConfig(), 65).config
    )


def test_a_lap_with_a_validation_in_it_is_left_out(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("charlm.zoo.time.monotonic", clock)
    heard = []
    pace = zoo.Pace(Listener(report=heard.append, update=lambda progress, tokens: None))
    listener = pace.listener()
    happens = ["update", 1, "update", 1, "loss", 0, "update", 50, "validation", 7, "update", 2,
               "update"]  # fmt: skip
    tokens = 0
    for event in happens:
        match event:
            case "update":
                tokens += 100
                listener.update(0.5, tokens)
            case "loss":
                listener.report({"loss_nats": 1.0})
            case "validation":
                listener.report({"val_nats_per_char": 1.0})
            case seconds:
                clock.now_s += seconds
    assert pace.tokens_per_s == 300 / (1 + 1 + 2)
    assert len(heard) == 2


@pytest.mark.parametrize("updates", [0, 1])
def test_there_is_no_speed_without_a_lap(updates):
    pace = zoo.Pace(Listener())
    for _ in range(updates):
        pace.listener().update(0.0, 100)
    assert pace.tokens_per_s is None


def sure_model(form, sure_of, records="none"):
    """A model that says nothing but the id `sure_of`, unless that is banned."""
    tokenizer = Tokenizer.from_json(form)
    network = build(NetworkConfig(cell="rnn", width=16), tokenizer.vocabulary)
    weights = {name: np.zeros(shape, np.float32) for name, shape in network.shapes().items()}
    weights["head.bias"][sure_of(tokenizer)] = 1000.0
    return Model(network=network, weights=weights, tokenizer=tokenizer, records=records)


def test_sampling_is_counted_in_characters(monkeypatch):
    """Of two models as fast in tokens, the one whose tokens are 5 times as long writes 5 times."""

    def speed(word):
        monkeypatch.setattr("charlm.zoo.time.monotonic", Clock(tick_s=0.001))
        form = word_form([word], boundary=False, normalize="none")
        model = sure_model(form, lambda tokenizer: tokenizer.pieces.index(word.encode()))
        return zoo.sampling_chars_per_s(model, seed=1)

    assert math.isclose(speed("abcde"), 5 * speed("a"), rel_tol=0.01)


def test_a_model_that_would_only_end_its_record_writes_all_the_same(monkeypatch):
    monkeypatch.setattr("charlm.zoo.time.monotonic", Clock(tick_s=0.001))
    form = char_form("ab", boundary=True, unknown=True, normalize="none")
    model = sure_model(form, lambda tokenizer: tokenizer.boundary, records="line")
    assert zoo.sampling_chars_per_s(model, 1) > 0


def test_a_slow_model_is_given_time_for_some_text_but_not_forever(monkeypatch):
    form = char_form("ab", boundary=False, unknown=False, normalize="none")
    model = sure_model(form, lambda tokenizer: 0)

    def elapsed_s(tick_s):
        clock = Clock(tick_s)
        monkeypatch.setattr("charlm.zoo.time.monotonic", clock)
        assert zoo.sampling_chars_per_s(model, 1) > 0
        return clock.now_s

    for_least_s = 0.01 * zoo.LEAST_CHARS
    assert for_least_s < elapsed_s(0.01) < for_least_s + 1
    assert zoo.AT_MOST_S < elapsed_s(0.1) < zoo.AT_MOST_S + 1
