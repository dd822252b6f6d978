"""The trainer's laws: it learns, it can be stopped and resumed, and the gradient is the text's."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.params import quick
from support.trainers import V, equal, run, trainer

from charlm.cells import CELLS
from charlm.config import AVERAGES, OPTIMIZERS, PRECISIONS, NetworkConfig, TrainingConfig
from charlm.network import build
from charlm.training import blocks, both_sides, optimizers
from charlm.training.initialise import initial_weights
from charlm.training.orthogonal import orthogonal
from charlm.training.regularising import Rows
from charlm.training.streams import RecordStreams
from charlm.training.trainer import Trainer


@pytest.mark.parametrize("cell", quick(["rnn", "lstm", "mingru", "rwkv"], CELLS))
def test_learns_a_text_that_can_be_learned(cell):
    losses = run(trainer(cell=cell), 150)
    assert losses[0] == pytest.approx(math.log(V), abs=0.8)
    # Where 1 stands, what follows depends on what came before: a bigram model stays above 0.2.
    assert np.mean(losses[-10:]) < 0.1


both_precisions = pytest.mark.parametrize("precision", quick(["float32"], ["float32", "bfloat16"]))


@both_precisions
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("records", [False, True])
def test_stopped_and_resumed_equals_uninterrupted(optimizer, records, precision):
    settings = {"optimizer": optimizer, "records": records, "dropout": 0.2, "layers": 2}
    settings["precision"] = precision
    whole = trainer(**settings)
    losses = run(whole, 60)
    first = trainer(**settings)
    run(first, 37)
    saved = first.state_dict()
    second = trainer(**settings | {"seed": 1})
    run(second, 3)  # whatever it did before must be forgotten
    second.load_state_dict(*saved)
    assert run(second, 23) == losses[37:]
    equal(whole, second)


@both_precisions
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        *[(cell, {}) for cell in CELLS],
        (",".join(CELLS), {}),
        ("gru", {"feed_forward": True, "attention": True, "memory": 5}),
        ("gru", {"bidirectional": True, "feed_forward": True}),
        ("lstm", {"members": 3}),
    ],
)
def test_every_network_stopped_and_resumed_equals_uninterrupted(cell, options, precision):
    """Parts without a state, memories and what is lent are all where they were."""
    settings = {"cell": cell, "options": options, "layers": None, "dropout": 0.2}
    settings["precision"] = precision
    whole = trainer(**settings)
    losses = run(whole, 12)
    first, second = trainer(**settings), trainer(**settings)
    run(first, 7)
    second.load_state_dict(*first.state_dict())
    assert run(second, 5) == losses[7:]
    equal(whole, second)


def test_what_a_recovery_has_changed_stays_so_when_resumed():
    uninterrupted, stopped, resumed = trainer(), trainer(), trainer()
    for one in (uninterrupted, stopped):
        run(one, 3)
        one.lr_share, one.parts = 0.5, 2
        run(one, 3)
    resumed.load_state_dict(*stopped.state_dict())
    assert (resumed.lr_share, resumed.parts) == (0.5, 2)
    assert run(resumed, 4) == run(uninterrupted, 4)
    equal(resumed, uninterrupted)


@pytest.mark.parametrize("average", AVERAGES)
def test_an_average_stopped_and_resumed_equals_uninterrupted(average):
    """Before it has begun, and after."""
    whole = trainer(average=average, average_wait=1)
    first, second = (trainer(average=average, average_wait=1) for _ in range(2))
    for nats in (2.0, 1.9, 2.1):
        for one in (whole, first):
            run(one, 4)
            one.average.validated(nats)
        run(second, 2)
        tensors, about = first.state_dict()
        second.load_state_dict({name: t.clone() for name, t in tensors.items()}, about)
        first, second = second, first
        equal(whole, first)
    run(whole, 5)
    run(first, 5)
    equal(whole, first)
    for name, weight in whole.average.weights.items():
        assert torch.equal(weight, first.average.weights[name])


def test_contexts_that_vary_are_resumed_exactly_and_scale_the_rate():
    """SGD without clipping, so that the rate shows in the weights."""
    settings = {"vary_context": True, "context": 24, "optimizer": "sgd", "clip": 0, "warmup": 0.0}
    whole, first, second = (trainer(**settings) for _ in range(3))
    losses = run(whole, 40)
    run(first, 23)
    second.load_state_dict(*first.state_dict())
    assert run(second, 17) == losses[23:]
    equal(whole, second)
    lengths = {whole.streams.next().targets.shape[1] for _ in range(10)}
    assert len(lengths) > 2
    one = trainer(**settings)
    for _ in range(5):
        before = {name: w.detach().clone() for name, w in one.weights.items()}
        steps = one.streams.batches_done
        _, norm, share = one.step(0.0)
        length = next(one.streams.batches(steps)).targets.shape[1]
        moved = sum(((w.detach() - before[n]) ** 2).sum() for n, w in one.weights.items()) ** 0.5
        assert float(moved) == pytest.approx(1e-2 * share * length / 24 * float(norm), rel=1e-3)


@pytest.mark.parametrize("average", AVERAGES)
def test_averaging_does_not_change_training(average):
    assert run(trainer(average=average), 10) == run(trainer(), 10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_learns_at_its_own_rate(optimizer):
    losses = run(trainer(optimizer=optimizer, lr=None), 200, total=200)
    assert np.mean(losses[-10:]) < 0.8 * losses[0]


TORCHS = {
    "adamw": partial(torch.optim.AdamW, betas=(0.9, 0.99)),
    "adam": partial(torch.optim.Adam, betas=(0.9, 0.99)),
    "sgd": torch.optim.SGD,
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.95),
}


@pytest.mark.parametrize("name", TORCHS)
def test_an_optimiser_is_that_of_torch(name):
    draw = torch.Generator().manual_seed(1)
    begin = [torch.randn(4, 3, generator=draw), torch.randn(4, generator=draw)]
    ours = {f"w{i}": weight.clone().requires_grad_() for i, weight in enumerate(begin)}
    matrix, vector = [weight.clone().requires_grad_() for weight in begin]
    config = TrainingConfig(optimizer=name, lr=0.01, weight_decay=0.1)
    (one,) = optimizers.build(config, ours, 4)
    groups = [{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0}]
    other = TORCHS[name](groups, lr=0.01)
    for number in range(5):
        for mine, theirs in zip(ours.values(), (matrix, vector), strict=True):
            mine.grad = torch.randn(mine.shape, generator=draw)
            theirs.grad = mine.grad.clone()
        one.step(number)
        other.step()
    assert torch.allclose(ours["w0"], matrix, rtol=0, atol=1e-6)
    assert torch.allclose(ours["w1"], vector, rtol=0, atol=1e-6)
    assert not torch.allclose(matrix, begin[0], rtol=0, atol=1e-3)


def test_the_registry_has_the_names_of_the_config():
    assert set(optimizers.OPTIMIZERS) == set(optimizers.RATES) == set(OPTIMIZERS)


def test_the_state_is_carried_from_batch_to_batch():
    """The gradient is cut at a batch's edge, the state is not."""
    carried = trainer(schedule="constant")
    run(carried, 1)
    state = carried.state
    batch = carried.streams.next()
    assert not batch.fresh.any()
    with torch.no_grad():
        loss, *_ = carried._batch_loss(
            torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets), state, None, Rows(0, 4)
        )
    again = trainer(schedule="constant")
    assert run(again, 2)[1] == pytest.approx(float(loss), abs=1e-6)


def test_an_epoch_begins_with_a_fresh_state():
    one = trainer()
    run(one, one.streams.epoch_batches())
    assert any(part.abs().max() > 0 for layer in one.state for part in layer)
    batch = one.streams.next()
    assert batch.fresh.all()
    assert all((part == 0).all() for layer in one._state_before(batch) for part in layer)


def test_a_row_that_begins_anew_leaves_the_others_as_they_are():
    one = trainer()
    run(one, 3)
    batch = one.streams.next()
    fresh = np.array([False, True, False, True])
    state = one._state_before(replace(batch, fresh=fresh))
    for before, after in zip(one.state[0], state[0], strict=True):
        assert (after[fresh] == 0).all()
        torch.testing.assert_close(after[~fresh], before[~fresh], rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("option", ["plain", "attention", "bidirectional"])
def test_padding_changes_neither_loss_nor_gradient(cell, option):
    """A record's loss and gradient are the same alone and beside a longer one.

    So is the penalty of what leaves the stack.
    """
    options = {} if option == "plain" else {option: True}
    short, long = [0, 1, 4], [0, 1, 2, 3, 1, 2, 4]

    def gradients(ids, rows):
        config = TrainingConfig(
            seed=1, batch=rows, context=16, lr=1e-12, clip=0, activation_penalty=2.0
        )
        network = build(NetworkConfig(cell=cell, width=16, memory=5, **options), V)
        streams = RecordStreams(
            np.array(ids), boundary=4, rows=rows, context=16, start=V, shuffled=False
        )
        one = Trainer(network, config, initial_weights(network, 1), streams, torch.device("cpu"))
        batch = one.streams.next()
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        after = both_sides.after(batch, V, one.device) if option == "bidirectional" else None
        before, all_rows = one._state_before(batch), Rows(0, len(inputs))
        loss, penalty, _ = one._batch_loss(inputs, targets, before, after, all_rows)
        total = (loss + penalty) * batch.tokens
        return total.detach(), torch.autograd.grad(total, list(one.weights.values()))

    alone = [gradients(record, 1) for record in (short, long)]
    total, together = gradients(short + long, 2)
    assert float(total) == pytest.approx(sum(float(loss) for loss, _ in alone), rel=1e-5)
    for both, a, b in zip(together, alone[0][1], alone[1][1], strict=True):
        torch.testing.assert_close(both, a + b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [{}, {"adaptive": True}], ids=["plain", "adaptive"])
@pytest.mark.parametrize("way", ["whole", "in parts", "in blocks"])
def test_an_update_weighs_every_token_alike_whatever_pads_its_record(monkeypatch, way, head):
    """The loss and gradient of records together are the means of those alone, by their tokens."""
    if way == "in blocks":
        monkeypatch.setattr(blocks, "MOST_LOGITS", 0)
        monkeypatch.setattr(blocks, "BLOCK_LOGITS", 20)
    records = [[0, 1, 4], [2, 4], [0, 1, 2, 3, 1, 2, 4]]

    def sums(records):
        network = build(NetworkConfig(cell="gru", width=16, **head), V)
        parts = {"micro_batch": 1} if way == "in parts" else {}
        config = TrainingConfig(seed=1, batch=len(records), context=16, **parts)
        streams = RecordStreams(
            np.concatenate(records), boundary=4, rows=len(records), context=16, start=V
        )
        one = Trainer(network, config, initial_weights(network, 1), streams, torch.device("cpu"))
        batch = one.streams.next()
        assert batch.inputs.shape == (len(records), max(map(len, records)))
        assert batch.tokens == sum(map(len, records))
        loss = one._gradient(batch)
        gradient = torch.cat([weight.grad.flatten() for weight in one.weights.values()])
        return loss * batch.tokens, gradient * batch.tokens

    alone = [sums([record]) for record in records]
    for together, parts in zip(sums(records), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(together, sum(parts), rtol=1e-4, atol=1e-5)


def test_dropout_is_random_only_through_the_trainers_own_generator():
    torch.manual_seed(1)
    first = run(trainer(dropout=0.5), 5)
    torch.manual_seed(2)
    assert run(trainer(dropout=0.5), 5) == first
    assert run(trainer(dropout=0.5, seed=1), 5) != run(trainer(dropout=0.0), 5)


def test_clipping_bounds_the_update():
    free, clipped = (
        trainer(optimizer="sgd", lr=1.0, clip=0),
        trainer(optimizer="sgd", lr=1.0, clip=1e-3, warmup=0.0),
    )
    before = {name: w.detach().clone() for name, w in clipped.weights.items()}
    _, norm, _ = clipped.step(0.0)
    moved = sum(((w.detach() - before[n]) ** 2).sum() for n, w in clipped.weights.items()) ** 0.5
    assert float(norm) > 1e-3
    assert float(moved) == pytest.approx(1e-3, rel=1e-2)
    assert float(free.step(0.0)[1]) == pytest.approx(float(norm))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cell", quick(["lstm", "rwkv"], CELLS))
def test_every_precision_learns(precision, cell):
    one = trainer(precision=precision, cell=cell)
    losses = run(one, 60)
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    assert all(w.dtype == torch.float32 for w in one.weights.values())
    assert all(part.dtype == torch.float32 for layer in one.state for part in layer)


def test_muon_moves_a_matrix_now_and_then_by_as_much_as_every_update_would():
    """With one gradient all the time, so that the momentum only grows."""
    every = optimizers.Muon.EVERY
    weight = torch.zeros(4, 4, requires_grad=True)
    one = optimizers.Muon([optimizers.Group([weight], 0.0, 0.01)], 4)
    weight.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    step = every * 0.01 * 0.2 * 4**0.5 * orthogonal(weight.grad[None])[0]
    for number in range(2 * every + 1):
        one.step(number)
        torch.testing.assert_close(weight.detach(), -(number // every + 1) * step)


def test_muons_update_is_about_orthogonal():
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 16, 16), (1, 8, 20), (3, 20, 8)):
        given = torch.randn(shape, generator=generator)
        U, before, Vh = torch.linalg.svd(given, full_matrices=False)
        after = torch.diagonal(U.mT @ orthogonal(given) @ Vh.mT, dim1=1, dim2=2)
        far = before >= 0.015 * given.norm(dim=(1, 2))[:, None]
        assert far.sum() > 0.8 * far.numel()
        assert after[far].min() > 0.84
        assert 0 < after.min() <= after.max() < 1.16
