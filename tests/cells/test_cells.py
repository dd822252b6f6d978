"""The laws every cell keeps, over the registry, and each cell against an independent oracle."""

import numpy as np
import pytest
import torch

from charlm.cells import CELLS, cells_named
from charlm.cells.attention import Attention
from charlm.cells.cell import Place
from charlm.cells.feed_forward import FeedForward
from charlm.errors import ConfigError
from charlm.training.initialise import draw

B, T, E, D = 3, 47, 5, 8
# float32 sums of different order: a few units in the last place over T steps.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

# What a network has beside recurrent cells keeps the same laws.
PARTS = {**CELLS, "attention": Attention(9), "feed-forward": FeedForward()}
PARTS |= {f"{n}'s feed-forward": c.feed_forward for n, c in CELLS.items() if c.feed_forward}
every_cell = pytest.mark.parametrize("name", PARTS)
every_layer = pytest.mark.parametrize("layer", [0, 1])
every_cut = pytest.mark.parametrize("piece", [1, 2, 7, 33, T])


def place_of(cell, layer):
    """The first of two layers, under which lies a narrow embedding, or the second."""
    if isinstance(cell, Attention):
        return Place(D, D, layer, 2)
    lent = cell.lend is not None
    return Place(E, D, 0, 2) if layer == 0 else Place(D + D * lent, D, 1, 2, lent)


def make(name, layer=0, dtype=torch.float32):
    """A cell with weights that hide nothing, some text, and a state that reading leads to."""
    cell = PARTS[name]
    place = place_of(cell, layer)
    generator = torch.Generator().manual_seed(0)
    begin = cell.initialisers(place)
    w = {
        key: draw(begin[key], shape, generator).to(dtype)
        for key, shape in cell.shapes(place).items()
    }
    for key, value in w.items():
        # Biases that all begin equal would hide a swapped pair of gates, and zeros everything.
        if value.ndim == 1 or not value.any(dim=-1).all():
            w[key] = value + 0.3 * torch.randn(value.shape, generator=generator, dtype=dtype)
    x = torch.randn(B, T + 5, place.inputs, generator=generator, dtype=dtype)
    state = cell.initial_state(torch, place, B, x)
    _, state = stepped(cell, torch, w, x[:, T:], state)
    return cell, w, x[:, :T], state


def stepped(cell, xp, w, x, state):
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


def scanned(cell, torch, w, x, state, piece):
    outputs = []
    for begin in range(0, x.shape[1], piece):
        y, state = cell.scan(torch, w, x[:, begin : begin + piece], state)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def to_numpy(values):
    if isinstance(values, dict):
        return {key: value.numpy() for key, value in values.items()}
    return tuple(value.numpy() for value in values)


@every_cell
@every_layer
@every_cut
def test_scan_in_pieces_equals_steps(name, layer, piece):
    cell, w, x, state = make(name, layer)
    expected, expected_last = stepped(cell, torch, w, x, state)
    y, last = scanned(cell, torch, w, x, state, piece)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    for found, wanted in zip(last, expected_last, strict=True):
        torch.testing.assert_close(found, wanted, **TOLERANCE)


@every_cell
def test_scan_from_the_beginning_equals_steps(name):
    """The initial state is a corner of its own: empty memories, nothing to divide by."""
    cell, w, x, _ = make(name)
    state = cell.initial_state(torch, place_of(cell, 0), B, x)
    expected, expected_last = stepped(cell, torch, w, x, state)
    y, last = scanned(cell, torch, w, x, state, T)
    torch.testing.assert_close(y, expected, **TOLERANCE)
    for found, wanted in zip(last, expected_last, strict=True):
        torch.testing.assert_close(found, wanted, **TOLERANCE)


@every_cell
@every_layer
def test_numpy_steps_equal_torch_steps(name, layer):
    cell, w, x, state = make(name, layer)
    expected, last = stepped(cell, torch, w, x, state)
    y, found = stepped(cell, np, to_numpy(w), x.numpy(), to_numpy(state))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    for a, b in zip(found, last, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, **TOLERANCE)


@every_cell
@every_layer
@pytest.mark.parametrize("begun", [False, True], ids=["from the beginning", "from a state"])
def test_scan_gradients_equal_those_of_the_stepped_loop(name, layer, begun):
    """In float64, so that a wrong gradient cannot pass as rounding."""
    cell, w, x, state = make(name, layer, dtype=torch.float64)
    if not begun:
        state = cell.initial_state(torch, place_of(cell, layer), B, x)
    leaves = [leaf.detach().requires_grad_() for leaf in (*w.values(), x, *state)]
    w, x, state = dict(zip(w, leaves, strict=False)), leaves[len(w)], tuple(leaves[len(w) + 1 :])
    gradients = []
    for way in (cell.scan, lambda xp, w, x, s: stepped(cell, xp, w, x, s)):
        y, last = way(torch, w, x, state)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        loss = (weights * y).sum() + sum((part**2).sum() for part in last)
        gradients.append(torch.autograd.grad(loss, leaves, materialize_grads=True))
    for i, (leaf, found, expected) in enumerate(zip(leaves, *gradients, strict=True)):
        assert expected.abs().max() > 0 or i >= len(w), "a weight without influence"
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10, msg=str(leaf.shape))


@every_cell
def test_rows_do_not_see_each_other(name):
    cell, w, x, state = make(name)
    y, last = stepped(cell, np, to_numpy(w), x.numpy(), to_numpy(state))
    for row in range(B):
        alone = slice(row, row + 1)
        one, one_last = stepped(
            cell, np, to_numpy(w), x.numpy()[alone], tuple(s.numpy()[alone] for s in state)
        )
        np.testing.assert_allclose(one, y[alone], **TOLERANCE)
        for a, b in zip(one_last, last, strict=True):
            np.testing.assert_allclose(a, b[alone], **TOLERANCE)


@every_cell
def test_state_is_a_value(name):
    cell, w, x, state = make(name)
    for xp, kind in ((np, to_numpy), (torch, lambda values: values)):
        weights, before = kind(w), kind(state)
        kept = [part.copy() if xp is np else part.clone() for part in before]
        one = x.numpy()[:, 0] if xp is np else x[:, 0]
        first = cell.step(xp, weights, one, before)
        second = cell.step(xp, weights, one, before)
        for part, copy in zip(before, kept, strict=True):
            np.testing.assert_array_equal(part, copy)
        np.testing.assert_array_equal(first[0], second[0])


@every_cell
@every_layer
@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_initial_state_is_batch_first_and_of_the_weights_kind(name, layer, xp):
    cell = PARTS[name]
    place = place_of(cell, layer)
    state = cell.initial_state(xp, place, B, xp.ones(1, dtype=xp.float32))
    shapes = cell.state_shapes(place)
    assert [tuple(part.shape) for part in state] == [(B, *shape) for shape in shapes.values()]
    assert all(part.dtype == xp.float32 for part in state)


@every_cell
def test_float32_is_close_to_a_float64_loop_over_2048_steps(name):
    """Inputs three times as large as usual drive gates to within rounding of 0 and of 1."""
    cell, w, _, _ = make(name)
    x = 3 * torch.randn(
        1, 2048, place_of(cell, 0).inputs, generator=torch.Generator().manual_seed(2)
    )
    x[:, 500:700] = x[:, 500:501]  # the same symbol over and over
    state = cell.initial_state(torch, place_of(cell, 0), 1, x)
    y, last = cell.scan(torch, w, x, state)
    doubled = {key: value.double() for key, value in w.items()}
    expected, expected_last = stepped(
        cell, torch, doubled, x.double(), tuple(part.double() for part in state)
    )
    torch.testing.assert_close(y.double(), expected, rtol=1e-3, atol=1e-4)
    for found, wanted in zip(last, expected_last, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


@every_cell
@every_layer
def test_every_weight_has_a_shape_and_an_initialiser(name, layer):
    cell = PARTS[name]
    place = place_of(cell, layer)
    assert cell.shapes(place).keys() == cell.initialisers(place).keys()


def torch_twin(name, module, cell, w):
    """torch's own module with the cell's weights; its second bias is ours where there is one."""
    with torch.no_grad():
        module.weight_ih_l0.copy_(w["weight_x"])
        module.weight_hh_l0.copy_(w["weight_h"])
        module.bias_ih_l0.copy_(w.get("bias_x", w.get("bias")))
        module.bias_hh_l0.copy_(w.get("bias_h", torch.zeros_like(module.bias_hh_l0)))
    return module


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("rnn", lambda: torch.nn.RNN(E, D, batch_first=True)),
        ("rnn-relu", lambda: torch.nn.RNN(E, D, batch_first=True, nonlinearity="relu")),
        ("lstm", lambda: torch.nn.LSTM(E, D, batch_first=True)),
        ("gru", lambda: torch.nn.GRU(E, D, batch_first=True)),
    ],
)
def test_equals_torchs_own_module(name, build):
    cell, w, x, state = make(name)
    x = torch.cat([x] * 5, 1)  # 235 steps
    module = torch_twin(name, build(), cell, w)
    hidden = tuple(part[None] for part in state)
    expected, last = module(x, hidden if len(hidden) > 1 else hidden[0])
    last = last if isinstance(last, tuple) else (last,)
    for way in (stepped, lambda c, xp, w, x, s: c.scan(xp, w, x, s)):
        y, found = way(cell, torch, w, x, state)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)
        for a, b in zip(found, last, strict=True):
            torch.testing.assert_close(a, b[0], rtol=0, atol=1e-5)


def naive_lstm(w, x, h, c):
    """The LSTM's equations with Python numbers, unit by unit."""
    import math

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    outputs = []
    for t in range(x.shape[0]):
        z = [
            sum(w["weight_x"][k][j] * x[t][j] for j in range(E))
            + sum(w["weight_h"][k][j] * h[j] for j in range(D))
            + w["bias"][k]
            for k in range(4 * D)
        ]
        i, f, g, o = (z[n * D : (n + 1) * D] for n in range(4))
        c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * math.tanh(g[k]) for k in range(D)]
        h = [sigmoid(o[k]) * math.tanh(c[k]) for k in range(D)]
        outputs.append(h)
    return np.array(outputs)


def test_lstm_equals_a_naive_float64_loop():
    cell, w, x, (h, c) = make("lstm", dtype=torch.float64)
    y, _ = stepped(cell, np, to_numpy(w), x.numpy(), (h.numpy(), c.numpy()))
    expected = naive_lstm(to_numpy(w), x[0].numpy(), list(h[0].numpy()), list(c[0].numpy()))
    np.testing.assert_allclose(y[0], expected, rtol=1e-12, atol=1e-12)


def test_the_mogrifier_equals_a_naive_float64_loop():
    cell, w, x, (h, c) = make("mogrifier", dtype=torch.float64)
    y, _ = stepped(cell, np, to_numpy(w), x.numpy(), (h.numpy(), c.numpy()))
    w, h, c = to_numpy(w), h[0].numpy(), c[0].numpy()

    def twice_sigmoid(v):
        return 2 / (1 + np.exp(-v))

    for t in range(T):
        u, g = x[0, t].numpy(), h
        u = twice_sigmoid(w["gate_1"] @ g) * u
        g = twice_sigmoid(w["gate_2"] @ u) * g
        u = twice_sigmoid(w["gate_3"] @ g) * u
        g = twice_sigmoid(w["gate_4"] @ u) * g
        u = twice_sigmoid(w["gate_5"] @ g) * u
        z = w["weight_x"] @ u + w["weight_h"] @ g + w["bias"]
        i, f, n, o = z.reshape(4, D)
        c = twice_sigmoid(f) / 2 * c + twice_sigmoid(i) / 2 * np.tanh(n)
        h = twice_sigmoid(o) / 2 * np.tanh(c)
        np.testing.assert_allclose(y[0, t], h, rtol=1e-12, atol=1e-12)


def test_an_unknown_cell_is_an_error_that_names_the_cells():
    with pytest.raises(ConfigError, match="lstm"):
        cells_named("gru,lstn")
