"""Looking into models: planted units are found, and the curves are what they are called."""

import math
import random

import numpy as np
import pytest
import torch

from charlm.config import NetworkConfig
from charlm.errors import ConfigError, DataError
from charlm.inspection import gradient, memory, tracking
from charlm.inspection.units import Units
from charlm.inspection.walking import texts_of, walk
from charlm.library.making import prepare, train
from charlm.model_file import Model
from charlm.network import build
from charlm.sampling.engine import NumpyEngine
from charlm.score import token_nats
from charlm.training.initialise import initial_weights

TEXT = 'He said (as Ann did) "no" to Bob, and 12 went [or 7].\nThen (who knows?) Eve came.\n' * 30


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspection")
    (folder / "text.txt").write_text(TEXT)
    return prepare(folder / "text.txt", folder / "data").tokenizer


def model_of(tokenizer, **shape):
    network = build(NetworkConfig(**shape), tokenizer.vocabulary)
    weights = {name: weight.numpy() for name, weight in initial_weights(network, 1).items()}
    return Model(network, weights, tokenizer)


@pytest.fixture(scope="module")
def planted(tokenizer):
    """A network of which unit 3 is high after a capital, and unit 5 inside brackets."""
    V = tokenizer.vocabulary
    model = model_of(tokenizer, cell="rnn", width=8, embedding=V + 1)
    rng = np.random.default_rng(0)
    sees = {name: np.zeros(V + 1, np.float32) for name in ("capital", "open", "close")}
    for id, piece in enumerate(tokenizer.pieces):
        sees["capital"][id] = piece.isupper()
        sees["open"][id] = piece in (b"(", b"[")
        sees["close"][id] = piece in (b")", b"]")
    weight_x = rng.standard_normal((8, V + 1)).astype(np.float32)
    weight_h = np.zeros((8, 8), np.float32)
    weight_x[3] = 6 * sees["capital"] - 3
    weight_x[5] = 9 * sees["open"] - 9 * sees["close"]
    weight_h[5, 5] = 3
    weights = model.weights | {
        "embedding": np.eye(V + 1, dtype=np.float32),
        "blocks.0.cell.weight_x": weight_x,
        "blocks.0.cell.weight_h": weight_h,
    }
    return Model(model.network, weights, tokenizer)


def test_walking_predicts_every_symbol_once(planted):
    ids = planted.tokenizer.encode(TEXT[:100])
    nats = [cost for cost, _ in walk(planted, ids)]
    expected, _ = token_nats(NumpyEngine(planted.network, planted.weights), ids)
    assert nats == pytest.approx(expected, rel=1e-4)
    assert "".join(texts_of(planted, ids)) == TEXT[:100]


def test_planted_units_are_found(planted):
    ids = planted.tokenizer.encode(TEXT)
    units = Units(planted.network)
    values = (units.values(state) for _, state in walk(planted, ids))
    found = {one.track: one for one in tracking.best(texts_of(planted, ids), values, 1)}
    assert set(found) == set(tracking.TRACKS)
    assert units.name(found["after a capital"].unit) == "0.h.3"
    assert units.name(found["inside brackets"].unit) == "0.h.5"
    assert found["after a capital"].correlation > 0.999
    assert found["inside brackets"].correlation > 0.95


def test_a_unit_chosen_by_chance_shows_it():
    """The best of 2,000 units of noise has a high correlation only where it was chosen."""
    noise = np.random.default_rng(0).standard_normal((400, 2000))
    texts = list("Ab cd. " * 100)[:400]
    found = tracking.best(texts, iter(noise), 1)
    assert {one.track for one in found} >= {"after a capital", "after a space"}
    assert all(abs(one.correlation) < 0.25 for one in found)


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((700, 4)) + 100
    told = rng.standard_normal((700, 2)) + values[:, :2]
    found = tracking._correlations(told, iter(values))
    assert found == pytest.approx(np.corrcoef(told.T, values.T)[:2, 2:])


@pytest.mark.parametrize(
    ("track", "text", "told"),
    [
        ("inside quotes", 'a "b" c', "0011000"),
        ("inside quotes", "“a” b", "11000"),
        ("inside quotes", '"a\n\nb', "11100"),
        ("inside brackets", "(a[b])c", "1111100"),
        ("position in the line", "ab\nc", "1201"),
        ("position in the word", "ab c", "1201"),
        ("after a capital", "aBc", "010"),
        ("after a digit", "a1", "01"),
        ("after a space", "a b", "010"),
    ],
)
def test_what_is_tracked_is_told_of_the_place_after_each_character(track, text, told):
    assert tracking.TRACKS[track](text) == [float(digit) for digit in told]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "mlstm,slstm", "rwkv"])
def test_every_unit_has_a_name_of_its_own(tokenizer, cell):
    model = model_of(tokenizer, cell=cell, width=16, attention=True)
    units = Units(model.network)
    state = NumpyEngine(model.network, model.weights).initial_state(1)
    names = [units.name(number) for number in range(len(units.values(state)))]
    assert len(set(names)) == len(names)
    assert [units.number(name) for name in names] == list(range(len(names)))
    for wrong in ("0.z.1", "9.h.0", "0.h", "", f"{names[0]}x", "0.h.-1"):
        with pytest.raises(ConfigError, match="has no unit"):
            units.number(wrong)


def test_memory_is_of_what_may_be_seen(table_engine):
    """A bigram table needs one symbol, and no more of them change what it predicts."""
    rng = np.random.default_rng(0)
    ids = [0]
    for _ in range(3000):
        p = np.exp(table_engine.logits[ids[-1]] * 3)
        ids.append(int(rng.choice(7, p=p / p.sum())))
    curve = memory.by_context(table_engine, np.array(ids), 40)
    assert [seen.symbols for seen in curve] == [0, 1, 2, 4, 8, 16, 32, 40]
    assert curve[0].nats > curve[1].nats
    assert {seen.nats for seen in curve[1:]} == {curve[1].nats}
    assert memory.effective(curve) == 1
    with pytest.raises(DataError, match="lower --back"):
        memory.by_context(table_engine, np.array(ids), 2000)


def test_the_gradient_is_that_of_finite_differences(tokenizer):
    """For one place t, by moving the state k steps before it along each of its axes."""
    model = model_of(tokenizer, cell="lstm", width=6)
    back = 4
    ids = tokenizer.encode(TEXT)[: gradient.WARMUP + back + 1]
    found = gradient.norms(model.network, model.weights, ids, back)
    w = model.network.arrange({n: torch.tensor(v).double() for n, v in model.weights.items()})

    def loss(state, begin):
        for id in ids[begin:-1].tolist():
            logits, state = model.network.step(torch, w, torch.tensor([id]), state)
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor([ids[-1]])))

    states = [model.network.initial_state(torch, w, 1)]
    for id in ids[:-1].tolist():
        states.append(model.network.step(torch, w, torch.tensor([id]), states[-1])[1])
    for k in range(1, back + 1):
        begin = len(ids) - 1 - k
        slopes = []
        for part in range(2):
            for unit in range(6):
                moved = [[array.clone() for array in layer] for layer in states[begin]]
                moved[0][part][0, unit] += 1e-5
                up = loss(moved, begin)
                moved[0][part][0, unit] -= 2e-5
                slopes.append((up - loss(moved, begin)) / 2e-5)
        assert found[k - 1] == pytest.approx(math.hypot(*slopes), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True])
def test_the_gradient_vanishes_in_an_elman_network_and_not_in_an_lstm(tmp_path_factory, trained):
    """What is left of it fifty steps back, of what it is one step back.

    The text asks for memory: a letter, dots, and the letter again. Seen: rnn 4e-7 untrained and
    4e-9 trained; lstm as it is 6e-3 and 1e-3, with gates that begin open 0.45 and 0.07.
    """
    folder = tmp_path_factory.mktemp("gradient")
    draw = random.Random(1)
    lines = (f"{draw.choice('abcdefgh')}{'.' * draw.randint(20, 50)}" for _ in range(3000))
    text = "".join(f"{line}{line[0]}\n" for line in lines)
    (folder / "text.txt").write_text(text, encoding="utf-8")
    left = {}
    for cell, span in (("rnn", None), ("lstm", None), ("lstm", 100)):
        model = train(
            folder / "text.txt", folder / f"{cell}-{span}", cell=cell, width=64, span=span, seed=1,
            steps=300 if trained else 1, lr=0.008 if trained else 1e-9, dropout=0.0, device="cpu",
        ).contents  # fmt: skip
        ids = model.tokenizer.encode(text[:5000])
        norms = gradient.norms(model.network, model.weights, ids, 50)
        left[cell, span] = norms[-1] / norms[0]
    assert left["rnn", None] < 1e-5
    assert left["lstm", None] > 1e-4
    assert left["lstm", 100] > 0.02


def test_a_text_too_short_is_told(tokenizer):
    model = model_of(tokenizer, cell="rnn", width=8)
    with pytest.raises(DataError, match="lower --back"):
        gradient.norms(model.network, model.weights, tokenizer.encode(TEXT[:60]), 50)


@pytest.mark.parametrize("texts", [["a"], ["", "", "", "", ""]])
def test_too_little_to_follow_is_told(texts):
    with pytest.raises(DataError, match="too few"):
        tracking.best(texts, iter(np.ones((len(texts), 2))), 1)
