"""What comes out the same: greedy text on both engines and with any number of threads; runs."""

import os
import time

import numpy as np
import pytest
import threadpoolctl
import torch
from support.runs import differ, final_weights, run, stop_at
from support.trainers import run as train
from support.trainers import trainer

from charlm.cells import CELLS
from charlm.config import NetworkConfig
from charlm.network import build
from charlm.sampling.engine import NumpyEngine, TorchEngine
from charlm.training import begin
from charlm.training.initialise import initial_weights
from charlm.training.standing import Listener

V = 60


@pytest.fixture
def threads():
    """Sets how many threads numpy's BLAS and torch use."""

    def use(count):
        torch.set_num_threads(count)
        threadpoolctl.threadpool_limits(count, user_api="blas")

    yield use
    use(1)


def greedy(engine, length, prompt=None):
    """The likeliest id each time, after the ids so far, or after each of `prompt`."""
    ids, state = [], engine.initial_state(1)
    at = engine.start
    for place in range(length):
        logits, state = engine.step(np.array([at]), state)
        ids.append(int(logits[0].argmax()))
        at = ids[-1] if prompt is None else prompt[place]
    return ids


@pytest.mark.parametrize("cell", CELLS)
def test_both_engines_write_the_same_greedy_text(cell):
    one = trainer(cell=cell)
    train(one, 40)
    weights = {name: weight.detach().numpy() for name, weight in one.weights.items()}
    text = greedy(NumpyEngine(one.network, weights), 300)
    assert greedy(TorchEngine(one.network, weights, "cpu"), 300) == text
    assert len(set(text)) > 1


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_greedy_text_does_not_depend_on_the_number_of_threads(threads, engine):
    """Of a network so wide that several threads share a product."""
    network = build(NetworkConfig(width=640), V)
    weights = {name: weight.numpy() for name, weight in initial_weights(network, 1).items()}
    prompt = np.random.default_rng(1).integers(0, V, 150)
    made = NumpyEngine(network, weights) if engine == "numpy" else None
    found = []
    for count in (1, 2):
        threads(count)
        found.append(greedy(made or TorchEngine(network, weights, "cpu"), 150, prompt))
    assert found[0] == found[1]
    assert len(set(found[0])) > 5


@pytest.fixture
def set_back():
    """Torch as it was, after a run that is deterministic."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(1)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_deterministic_run_goes_on_with_the_threads_it_had(data, tmp_path, set_back):
    training = {"deterministic": True, "dropout": 0.2, "steps": 8}
    torch.set_num_threads(2)
    whole, _ = run(data, tmp_path / "whole", training=training)
    assert torch.are_deterministic_algorithms_enabled()
    run(data, tmp_path / "cut", training=training, listener=stop_at(3))
    torch.set_num_threads(1)
    said = []
    resumed = begin.resume(tmp_path / "cut", None, {}, Listener(say=said.append), time.monotonic())
    resumed.go()
    assert (torch.get_num_threads(), said) == (2, [])
    assert not differ(final_weights(resumed), final_weights(whole))


def test_a_run_is_deterministic_only_where_it_is_asked_for(data, tmp_path, set_back):
    run(data, tmp_path / "a")
    assert not torch.are_deterministic_algorithms_enabled()
