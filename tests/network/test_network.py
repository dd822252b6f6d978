"""The network's laws, over every cell and every way of joining blocks."""

import numpy as np
import pytest
import torch
from support.networks import SHAPES, B, T, V, every_pair, make, scan

from charlm.cells import CELLS
from charlm.cells.cell import Place
from charlm.config import NORMS, NetworkConfig
from charlm.errors import ConfigError
from charlm.network import Network, build
from charlm.network.stack import norm as network_norm
from charlm.sampling.engine import NumpyEngine, TorchEngine
from charlm.training.initialise import draw, initial_weights

# Logits are sums over the width in float32, after T steps of rounding.
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}

every_shape = pytest.mark.parametrize("shape", SHAPES)


@every_pair
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_steps_equal_scan_on_both_engines(cell, shape, engine):
    network, weights, ids = make(cell, shape)
    expected, last = scan(network, weights, ids)
    flat = {name: weight.numpy() for name, weight in weights.items()}
    stepper = NumpyEngine(network, flat) if engine == "numpy" else TorchEngine(network, flat, "cpu")
    state = stepper.initial_state(B)
    for t in range(T):
        logits, state = stepper.step(ids[:, t].numpy(), state)
        np.testing.assert_allclose(logits, expected[:, t], **TOLERANCE)
    for layer, expected_layer in zip(state, last, strict=True):
        for part, expected_part in zip(layer, expected_layer, strict=True):
            np.testing.assert_allclose(part, expected_part, **TOLERANCE)


@every_pair
@pytest.mark.parametrize("piece", [1, 7, 33])
def test_scan_in_pieces_equals_the_whole(cell, shape, piece):
    network, weights, ids = make(cell, shape)
    expected, _ = scan(network, weights, ids)
    found, state = [], None
    for begin in range(0, T, piece):
        logits, state = scan(network, weights, ids[:, begin : begin + piece], state)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, **TOLERANCE)


@every_pair
def test_gradients_reach_every_weight(cell, shape):
    network, weights, ids = make(cell, shape)
    for weight in weights.values():
        weight.requires_grad_()
    logits, _ = scan(network, weights, ids)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten() % V).backward()
    for name, weight in weights.items():
        if network.config.bidirectional and ("right" in name or name == "merge.gate"):
            assert weight.grad is None, name
            continue
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_the_table_over_the_vocabulary_changes_nothing():
    network, weights, ids = make("lstm", "normed")
    flat = {name: weight.numpy() for name, weight in weights.items()}
    w = network.arrange(flat)
    tabled = network.with_table(np, w)
    assert w["table"] is None
    assert tabled["table"][1].shape == (V + 1, 64)
    state = network.initial_state(np, w, B)
    plain, _ = network.step(np, w, ids[:, 0].numpy(), state)
    looked_up, _ = network.step(np, tabled, ids[:, 0].numpy(), state)
    np.testing.assert_allclose(looked_up, plain, rtol=1e-5, atol=1e-6)


def test_a_table_too_large_to_be_worth_it_is_not_made():
    network = Network(NetworkConfig(width=512), 5000)
    weights = {n: w.numpy() for n, w in initial_weights(network, 1).items()}
    assert network.with_table(np, network.arrange(weights))["table"] is None


def test_tied_weights_are_one():
    network, weights, _ = make("gru", "tied")
    assert "head.weight" not in weights
    w = network.arrange(weights)
    assert w["head"]["weight"].data_ptr() == w["embedding"].data_ptr()
    assert w["head"]["weight"].shape == (V, 16)


def test_a_tied_head_of_another_width_is_a_product_with_the_embedding():
    network, weights, _ = make("gru", "tied, narrow embedding")
    assert network.shapes()["head.projection"] == (5, 16)
    x = np.random.default_rng(0).standard_normal((B, 16)).astype(np.float32)
    flat = {name: weight.numpy() for name, weight in weights.items()}
    found = network.head.logits(np, network.arrange(flat)["head"], x)
    product = flat["embedding"][:V] @ flat["head.projection"]  # (V, D)
    np.testing.assert_allclose(found, x @ product.T + flat["head.bias"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", ["mixture", "tied mixture"])
@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_a_mixture_is_the_sum_of_its_softmaxes(shape, xp):
    network, weights, _ = make("gru", shape)
    K = network.config.mixtures
    x = torch.randn(B, 16, generator=torch.Generator().manual_seed(0))
    own, flat = x, weights
    if xp is np:
        own, flat = x.numpy(), {name: weight.numpy() for name, weight in weights.items()}
    found = np.asarray(network.head.logits(xp, network.arrange(flat)["head"], own))
    w = network.arrange(weights)["head"]
    latent = (x @ w["latent"].T + w["latent_bias"]).tanh().view(B, K, -1)
    shares = (x @ w["prior"].T).softmax(-1)
    expected = torch.zeros(B, V)
    for k in range(K):
        expected += shares[:, k, None] * (latent[:, k] @ w["weight"].T + w["bias"]).softmax(-1)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-5)


@every_shape
def test_parameters_counts_every_number(shape):
    network, weights, _ = make("lstm", shape)
    assert network.parameters() == sum(weight.numel() for weight in weights.values())


def test_the_seed_decides_the_weights():
    network = Network(NetworkConfig(width=16), V)
    first, same, other = (initial_weights(network, seed) for seed in (1, 1, 2))
    for name in first:
        torch.testing.assert_close(first[name], same[name], rtol=0, atol=0)
    assert not torch.equal(first["embedding"], other["embedding"])


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_has_its_weights(norm):
    names = Network(NetworkConfig(norm=norm, width=8), V).shapes()
    assert ("norm.scale" in names) == (norm != "none")
    assert ("norm.shift" in names) == (norm == "layer")


def test_what_is_not_said_is_as_the_cells_want_it():
    for name, cell in CELLS.items():
        config = Network(NetworkConfig(cell=name, width=16), V).config
        habits = cell.habits
        assert (config.layers, config.norm, config.residual, config.feed_forward) == (
            habits.layers, habits.norm, habits.residual, habits.feed_forward,
        )  # fmt: skip
        assert Network(config, V).config == config


def test_a_stack_mixes_cells_from_the_bottom_up():
    network = Network(NetworkConfig(cell="gru,rnn,lstm", width=16), V)
    cells = [part.cell for part in network.stack.parts]
    assert cells == [CELLS["gru"], CELLS["rnn"], CELLS["lstm"]]
    repeated = Network(NetworkConfig(cell="gru,rnn", layers=4, width=16), V)
    assert [part.cell for part in repeated.stack.parts] == [CELLS["gru"], CELLS["rnn"]] * 2


def test_layers_that_are_no_multiple_of_the_cells_are_an_error():
    with pytest.raises(ConfigError, match="multiple"):
        Network(NetworkConfig(cell="gru,rnn", layers=3), V)


def test_attention_lies_in_the_last_layer_but_one():
    for layers, where in ((1, 0), (2, 0), (4, 2)):
        network = Network(NetworkConfig(width=8, layers=layers, attention=True), V)
        names = [part.name for part in network.stack.parts if "attention" in part.name]
        assert names == [f"blocks.{where}.attention."]


@pytest.mark.parametrize("cells", ["gru,lstm,rnn", ",".join(CELLS)])
def test_mixed_stacks_keep_the_laws(cells):
    network = Network(NetworkConfig(cell=cells, width=16), V)
    weights = initial_weights(network, 1)
    ids = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(1))
    expected, last = scan(network, weights, ids)
    engine = NumpyEngine(network, {name: weight.numpy() for name, weight in weights.items()})
    state = engine.initial_state(B)
    for t in range(T):
        logits, state = engine.step(ids[:, t].numpy(), state)
        np.testing.assert_allclose(logits, expected[:, t], **TOLERANCE)
    for part, expected_part in zip(state, last, strict=True):
        for a, b in zip(part, expected_part, strict=True):
            np.testing.assert_allclose(a, b, **TOLERANCE)


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.spans])
def test_gates_that_begin_with_a_span_remember_for_so_long(name):
    """With nothing but biases, a state fades by 1 - 1/τ a step, τ being 2 to `span` over units."""
    D, span = 9, 30
    cell, place = CELLS[name], Place(D, D, span=span)
    begin = cell.initialisers(place)
    w = {
        n: np.zeros(shape) if len(shape) > 1 else draw(begin[n], shape, None).double().numpy()
        for n, shape in cell.shapes(place).items()
    }
    before = tuple(np.ones((1, *shape)) for shape in cell.state_shapes(place).values())
    _, after = cell.step(np, w, np.zeros((1, D)), before)
    written = cell.step(np, w, np.zeros((1, D)), tuple(0 * part for part in before))[1]
    kept = (after[-1] - written[-1])[0]
    assert kept == pytest.approx(1 - 1 / np.linspace(2, span, D), abs=1e-6)


def test_a_span_is_for_cells_with_gates():
    with pytest.raises(ConfigError, match="no gates that --span could open"):
        build(NetworkConfig(cell="rnn", span=50), 5)


@pytest.mark.parametrize("V", [2, 3, 7, 10, 60])
@pytest.mark.parametrize("norm", NORMS)
def test_the_adaptive_head_is_that_of_torch(V, norm):
    """Its logits are torch's logarithms, its nats are torch's, and so are the gradients."""
    D, N = 12, 200
    network = build(NetworkConfig(cell="rnn", width=D, norm=norm, adaptive=True), V)
    head, generator = network.head, torch.Generator().manual_seed(1)
    w = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in network.shapes().items()
    }
    x = torch.randn(N, D, generator=generator, dtype=torch.float64)
    targets = torch.randint(V, (N,), generator=generator)
    *cuts, _ = head.edges
    arranged = network.arrange(w)["head"]
    logits = head.logits(torch, arranged, x)
    nats = head.nats(torch, arranged, x, targets)
    assert logits.exp().sum(-1).detach().numpy() == pytest.approx(1)
    assert torch.allclose(nats, -logits.gather(1, targets[:, None])[:, 0])
    if not cuts or cuts[-1] == V:
        return  # torch's has at least one tail
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(
        D, V, cuts, 1.0, head_bias=True, dtype=torch.float64
    )
    with torch.no_grad():
        theirs.head.weight.copy_(w["head.weight"])
        theirs.head.bias.copy_(w["head.bias"])
        for i in range(len(cuts)):
            theirs.tail[i] = torch.nn.Sequential(
                *(torch.nn.Linear(*reversed(w[f"head.{name}_{i}"].shape), bias=False).double()
                  for name in ("down", "tail"))
            )  # fmt: skip
            for layer, name in zip(theirs.tail[i], ("down", "tail"), strict=True):
                layer.weight.copy_(w[f"head.{name}_{i}"])
    normed = network_norm(torch, norm, arranged["norm"], x)
    assert torch.allclose(logits, theirs.log_prob(normed))
    theirs(normed, targets).loss.backward()
    expected = theirs.head.weight.grad
    (found,) = torch.autograd.grad(nats.mean(), [w["head.weight"]])
    assert torch.allclose(found, expected)
