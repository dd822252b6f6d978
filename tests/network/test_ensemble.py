"""An ensemble: what it predicts, how its members learn, and its way through the commands."""

import json

import numpy as np
import pytest
import torch
from support.networks import make, scan

from charlm.cells import CELLS
from charlm.config import NetworkConfig, TrainingConfig
from charlm.errors import ConfigError
from charlm.network import build
from charlm.network.stack import under
from charlm.training.initialise import initial_weights
from charlm.training.streams import ContiguousStreams
from charlm.training.trainer import Trainer

V = 5
IDS = np.tile([0, 1, 2, 3, 1, 4], 300)


def trained(network, weights, steps=4, **settings):
    settings = {"clip": 0.05, "dropout": 0.0} | settings
    config = TrainingConfig(
        optimizer="sgd", lr=1.0, warmup=0, batch=4, context=8, seed=1, **settings
    )
    streams = ContiguousStreams(IDS, rows=4, context=8, start=V)
    trainer = Trainer(network, config, weights, streams, torch.device("cpu"))
    losses = [float(trainer.step(0.0)[0]) for _ in range(steps)]
    return losses, {name: weight.detach() for name, weight in trainer.weights.items()}


@pytest.mark.parametrize("cell", CELLS)
def test_it_predicts_the_mean_of_what_its_members_predict(cell):
    network, weights, ids = make(cell, "ensemble")
    logits, _ = scan(network, weights, ids)
    members = [under(weights, f"members.{k}.") for k in range(3)]
    each = [scan(network.member, own, ids)[0].double().softmax(-1) for own in members]
    assert not torch.allclose(each[0], each[1], atol=1e-2)
    mean = sum(each) / 3
    torch.testing.assert_close(logits.double().exp(), mean, rtol=1e-4, atol=1e-6)


def test_its_members_begin_differently():
    network = build(NetworkConfig(width=16, members=2), V)
    weights = initial_weights(network, 1)
    first, second = (under(weights, f"members.{k}.") for k in range(2))
    assert first.keys() == second.keys()
    assert not torch.equal(first["embedding"], second["embedding"])
    assert network.parameters() == 2 * network.member.parameters()


@pytest.mark.parametrize("adaptive", [False, True])
def test_each_member_learns_as_if_alone(adaptive):
    """A gradient that is clipped is so for its member alone; the loss is the mean."""
    network = build(NetworkConfig(width=16, members=2, adaptive=adaptive), V)
    weights = initial_weights(network, 1)
    losses, together = trained(network, weights)
    alone = [trained(network.member, under(weights, f"members.{k}.")) for k in range(2)]
    for k, (_, own) in enumerate(alone):
        for name, weight in own.items():
            found = together[f"members.{k}.{name}"]
            torch.testing.assert_close(found, weight, rtol=1e-4, atol=1e-6)
    expected = [(a + b) / 2 for a, b in zip(alone[0][0], alone[1][0], strict=True)]
    assert losses == pytest.approx(expected, rel=1e-5)


def test_an_update_in_parts_is_the_same():
    network = build(NetworkConfig(width=16, members=2), V)
    weights = initial_weights(network, 1)
    losses, whole = trained(network, weights, dropout=0.2)
    again, parts = trained(network, weights, dropout=0.2, micro_batch=1)
    assert again == pytest.approx(losses, rel=1e-5)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_it_never_costs_more_than_its_members_on_average(cell):
    network, weights, ids = make(cell, "ensemble")

    def nats(network, weights):
        logits, _ = scan(network, weights, ids)
        targets = ids.roll(-1, 1).flatten() % network.vocabulary
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets))

    each = [nats(network.member, under(weights, f"members.{k}.")) for k in range(3)]
    assert nats(network, weights) < sum(each) / 3


def test_of_both_sides_there_is_but_one():
    with pytest.raises(ConfigError, match="not for a bidirectional"):
        NetworkConfig(bidirectional=True, members=2)


def test_one_member_is_a_network_like_any_other():
    assert build(NetworkConfig(members=1), V).shapes() == build(NetworkConfig(), V).shapes()


def test_all_commands_take_it(charlm, corpus, tmp_path):
    run, text = tmp_path / "run", "what say you to that, my lord?\n" * 20
    shape = ["--members", 2, "--width", 24, "--layers", 1]
    options = ["--steps", 30, "--seed", 1, "--batch", 4, "--device", "cpu"]
    done = charlm("train", corpus, "-o", run, *shape, *options)
    assert done.returncode == 0, done.stderr
    assert b"lstm 1x24, 2 members" in done.stderr
    assert json.loads(charlm("info", run, "--json").stdout)["network"]["members"] == 2
    sample = ["sample", run, "--seed", 3, "--length", 80, "--prompt", "the"]
    assert charlm(*sample).stdout == charlm(*sample).stdout != b""
    packed = charlm("compress", run, stdin=text)
    assert packed.returncode == 0, packed.stderr
    assert charlm("decompress", run, stdin=packed.stdout).stdout.decode() == text
    plain, adapted = (
        json.loads(charlm("eval", run, "-", "--json", *more, stdin=text).stdout)["nats_per_char"]
        for more in ((), ("--adapt", "--adapt-lr", "0.01"))
    )
    assert adapted < plain
    tuned = charlm("train", corpus, "-o", tmp_path / "tuned", "--init", run, *options)
    assert tuned.returncode == 0, tuned.stderr
    assert b"2 members" in tuned.stderr
    for look in (["--units"], ["--unit", "1.0.h.3"], ["--gradient", "--json"]):
        looked = charlm("inspect", run, "-", *look, stdin=text)
        assert looked.returncode == 0, looked.stderr
    for target in ("onnx", "torch"):
        done = charlm("export", run, "--to", target, "-o", tmp_path / target)
        assert done.returncode == 0, done.stderr
