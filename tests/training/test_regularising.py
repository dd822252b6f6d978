"""Every regulariser against a loop that does what its source says; resume stays exact."""

import numpy as np
import pytest
import torch
from support.params import quick
from support.trainers import V, equal, run, trainer

from charlm.cells import CELLS
from charlm.cells.cell import Place
from charlm.config import NetworkConfig, TrainingConfig
from charlm.errors import ConfigError
from charlm.network import build
from charlm.training.initialise import draw, initial_weights
from charlm.training.regularising import Regularised, Rows

B, T, D = 5, 7, 400
EVERYTHING = {
    "dropout": 0.2, "dropout_input": 0.1, "dropout_embedding": 0.1, "dropout_output": 0.3,
    "activation_penalty": 2.0, "temporal_penalty": 1.0,
}  # fmt: skip
NETWORKS = [
    *[(cell, {}) for cell in CELLS],
    ("gru,lstm,mingru", {"residual": True, "norm": "rms"}),
    ("gru", {"feed_forward": True, "attention": True, "memory": 5}),
    ("gru", {"bidirectional": True, "feed_forward": True}),
    ("lstm", {"tied": True}),
]


def hooks(counted=None, rows=None, **settings):
    counted = torch.ones(B, T, dtype=torch.bool) if counted is None else counted
    generator = torch.Generator().manual_seed(1)
    return Regularised(
        TrainingConfig(**settings), generator, counted, rows or Rows(0, B), lambda cell: cell.scan
    )


PLACES = {
    "dropout": lambda h, x: h.part(x, highest=False),
    "dropout_input": lambda h, x: h.embedded(x),
    "dropout_output": lambda h, x: h.top(x),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["plain", "variational"])
def test_dropout_drops_its_share_and_scales_what_is_left(place, kind):
    apply = PLACES[place]
    x = torch.ones(B, T, D)
    y = apply(hooks(**{place: 0.25, "dropout_kind": kind}), x)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((y == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    same_at_all_steps = bool((y == y[:, :1]).all())
    assert same_at_all_steps == (kind == "variational")
    assert not torch.equal(y[0], y[1])
    for other in PLACES:
        if other != place:
            assert torch.equal(PLACES[other](hooks(**{place: 0.25}), x), x)


def test_the_highest_part_is_dropped_once():
    x = torch.ones(B, T, D)
    assert not torch.equal(hooks(dropout=0.5).part(x, highest=True), x)
    one = hooks(dropout=0.5, dropout_output=0.1)
    assert torch.equal(one.part(x, highest=True), x)
    assert not torch.equal(one.part(x, highest=False), x)


def test_whole_symbols_are_dropped_and_the_head_keeps_them():
    network = build(NetworkConfig(cell="gru", width=16, tied=True), 300)
    flat = initial_weights(network, 1)
    w = hooks(dropout_embedding=0.25).arrange(network, flat)
    share = w["embedding"] / flat["embedding"]
    found = share[:, 0].round(decimals=4).unique()
    assert found.tolist() == pytest.approx([0.0, 1 / 0.75], abs=1e-4)
    torch.testing.assert_close(share, share[:, :1].expand_as(share))
    assert float((share == 0).float().mean()) == pytest.approx(0.25, abs=0.1)
    assert torch.equal(w["head"]["weight"], flat["embedding"][:300])


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"cell": "gru,jordan,mingru"}])
def test_weight_drop_drops_entries_of_the_recurrent_matrices_only(options):
    network = build(NetworkConfig(**{"cell": "lstm", "width": 32} | options), V)
    flat = initial_weights(network, 1)
    seen = {}
    network.arrange = lambda weights: seen.update(weights) or {}
    hooks(weight_drop=0.4).arrange(network, flat)
    names = {"weight_h", "weight_y"}
    recurrent = {name for name in flat if name.rsplit(".", 1)[-1] in names}
    assert set(network.recurrent()) == recurrent
    assert recurrent
    for name, weight in flat.items():
        if name not in recurrent:
            assert seen[name] is weight
            continue
        dropped = seen[name] == 0
        assert float(dropped.float().mean()) == pytest.approx(0.4, abs=0.05)
        torch.testing.assert_close(seen[name][~dropped], weight[~dropped] / 0.6)


@pytest.mark.parametrize("name", CELLS)
def test_recurrent_matrices_are_without_effect_until_there_is_an_output(name):
    cell, place = CELLS[name], Place(16, 16)
    generator = torch.Generator().manual_seed(0)
    begin = cell.initialisers(place)
    w = {key: draw(begin[key], shape, generator) for key, shape in cell.shapes(place).items()}
    other = {key: 0.5 * value if key in cell.recurrent else value for key, value in w.items()}
    x = torch.randn(2, 2, 16, generator=generator)
    state = cell.initial_state(torch, place, 2, x)
    y, after = cell.step(torch, w, x[:, 0], state)
    same, after_same = cell.step(torch, other, x[:, 0], state)
    torch.testing.assert_close(y, same, rtol=0, atol=0)
    y, _ = cell.step(torch, w, x[:, 1], after)
    differs, _ = cell.step(torch, other, x[:, 1], after_same)
    assert torch.equal(y, differs) == (not set(cell.recurrent) & set(w))


def test_the_penalties_are_the_means_of_their_definition():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(B, T, D, generator=generator)
    counted = torch.rand(B, T, generator=generator) < 0.7
    counted[0] = False
    one = hooks(counted, activation_penalty=2.0, temporal_penalty=3.0)
    assert torch.equal(one.top(x), x)
    levels = [float((x[b, t] ** 2).mean()) for b in range(B) for t in range(T) if counted[b, t]]
    changes = [
        float(((x[b, t + 1] - x[b, t]) ** 2).mean())
        for b in range(B)
        for t in range(T - 1)
        if counted[b, t] and counted[b, t + 1]
    ]
    expected = 2 * np.mean(levels) + 3 * np.mean(changes)
    assert float(one.penalty) == pytest.approx(expected, rel=1e-5)


def test_the_penalties_of_parts_add_up_to_those_of_the_whole():
    """Rows of different lengths: their share of the places is not that of the pairs."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(B, T, D, generator=generator)
    counted = torch.arange(T) < torch.tensor([0, 1, 2, 4, T])[:, None]

    def penalty(rows):
        settings = {"activation_penalty": 2.0, "temporal_penalty": 3.0}
        one = hooks(counted[rows], Rows.of(counted.numpy(), rows), **settings)
        one.top(x[rows])
        return float(one.penalty) * float(counted[rows].sum() / counted.sum())

    parts = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, B)]
    whole = penalty(slice(0, B))
    assert sum(map(penalty, parts)) == pytest.approx(whole, rel=1e-5)
    one = hooks(counted, activation_penalty=2.0, temporal_penalty=3.0)
    one.top(x)
    assert float(one.penalty) == pytest.approx(whole, rel=1e-5)


def test_a_context_of_one_step_has_no_change():
    one = hooks(torch.ones(B, 1, dtype=torch.bool), temporal_penalty=3.0)
    one.top(torch.ones(B, 1, D))
    assert float(one.penalty) == 0


def test_the_activation_penalty_is_of_what_the_head_reads():
    x = torch.ones(B, T, D)
    one = hooks(activation_penalty=1.0, dropout_output=0.5)
    assert float(one.penalty + 0 * one.top(x).sum()) == 0
    assert float(one.penalty) == pytest.approx(2.0, rel=0.05)  # half of them are 2


@pytest.mark.parametrize("knob", ["activation_penalty", "temporal_penalty"])
def test_a_penalty_shrinks_what_it_penalises_and_is_not_in_the_loss_that_is_told(knob):
    plain, penalised = trainer(schedule="constant"), trainer(schedule="constant", **{knob: 30.0})
    assert run(plain, 1) == run(penalised, 1)
    found = []
    for one in (plain, penalised):
        run(one, 80)
        batch = one.streams.next()
        ids = torch.from_numpy(batch.inputs)
        seen = hooks(torch.ones(ids.shape, dtype=torch.bool), **{knob: 1.0})
        w = one.network.arrange(one.weights)
        one.network.scan(torch, w, ids, one.network.initial_state(torch, w, len(ids)), seen)
        found.append(float(seen.penalty.detach()))
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize(("cell", "options"), NETWORKS)
@pytest.mark.parametrize("kind", quick(["variational"], ["plain", "variational"]))
def test_every_network_with_everything_is_resumed_exactly(cell, options, kind):
    settings = {"cell": cell, "options": options, "layers": None, "dropout_kind": kind}
    settings |= EVERYTHING
    if trainer(cell=cell, options=options, layers=None).network.recurrent():
        settings["weight_drop"] = 0.3
    whole = trainer(**settings)
    losses = run(whole, 12)
    assert np.isfinite(losses).all()
    first, second = trainer(**settings), trainer(**settings)
    run(first, 7)
    second.load_state_dict(*first.state_dict())
    assert run(second, 5) == losses[7:]
    equal(whole, second)


@pytest.mark.parametrize("knob", [*EVERYTHING, "weight_drop"])
def test_each_of_them_changes_what_is_learned(knob):
    one, other = trainer(), trainer(**{knob: 0.5})
    run(one, 3)
    run(other, 3)
    assert not all(torch.equal(w, other.weights[name]) for name, w in one.weights.items())


@pytest.mark.parametrize("cell", CELLS)
def test_weight_drop_without_recurrent_matrices_is_refused(cell):
    if "weight_h" in CELLS[cell].shapes(Place(8, 8)) or cell == "jordan":
        trainer(cell=cell, weight_drop=0.5)
        return
    with pytest.raises(ConfigError, match=cell):
        trainer(cell=cell, weight_drop=0.5)
