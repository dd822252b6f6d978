"""The laws every cell keeps, over the registry, and each cell against an independent oracle."""

import numpy as np
import pytest
import torch

from charlm.cells import CELLS, cell_named
from charlm.errors import ConfigError
from charlm.training.initialise import draw

B, T, E, D = 3, 47, 5, 8
# float32 sums of different order: a few units in the last place over T steps.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

every_cell = pytest.mark.parametrize("name", CELLS)
every_cut = pytest.mark.parametrize("piece", [1, 2, 7, 33, T])


def make(name, inputs=E, dtype=torch.float32):
    cell = CELLS[name]
    generator = torch.Generator().manual_seed(0)
    begin = cell.initialisers(inputs, D)
    w = {
        key: draw(begin[key], shape, generator).to(dtype)
        for key, shape in cell.shapes(inputs, D).items()
    }
    for key, value in w.items():
        if value.ndim == 1:  # biases that all begin equal would hide a swapped pair of gates
            w[key] = value + 0.3 * torch.randn(value.shape, generator=generator, dtype=dtype)
    x = torch.randn(B, T, inputs, generator=generator, dtype=dtype)
    return cell, w, x


def random_state(cell, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return tuple(
        0.5 * torch.randn(B, *shape, generator=generator, dtype=dtype)
        for shape in cell.state_shapes(D).values()
    )


def stepped(cell, xp, w, x, state):
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


def to_numpy(values):
    if isinstance(values, dict):
        return {key: value.numpy() for key, value in values.items()}
    return tuple(value.numpy() for value in values)


@every_cell
@every_cut
def test_scan_in_pieces_equals_steps(name, piece):
    cell, w, x = make(name)
    state = random_state(cell)
    expected, last = stepped(cell, torch, w, x, state)
    outputs = []
    for begin in range(0, T, piece):
        y, state = cell.scan(torch, w, x[:, begin : begin + piece], state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, **TOLERANCE)
    for found, wanted in zip(state, last, strict=True):
        torch.testing.assert_close(found, wanted, **TOLERANCE)


@every_cell
def test_numpy_steps_equal_torch_steps(name):
    cell, w, x = make(name)
    state = random_state(cell)
    expected, last = stepped(cell, torch, w, x, state)
    y, found = stepped(cell, np, to_numpy(w), x.numpy(), to_numpy(state))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    for a, b in zip(found, last, strict=True):
        np.testing.assert_allclose(a, b, **TOLERANCE)


@every_cell
def test_scan_gradients_equal_those_of_the_stepped_loop(name):
    """In float64, so that a wrong gradient cannot pass as rounding."""
    cell, w, x = make(name, dtype=torch.float64)
    state = random_state(cell, dtype=torch.float64)
    leaves = [*w.values(), x, *state]
    for leaf in leaves:
        leaf.requires_grad_()
    gradients = []
    for way in (cell.scan, lambda xp, w, x, s: stepped(cell, xp, w, x, s)):
        y, last = way(torch, w, x, state)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        loss = (weights * y).sum() + sum((part**2).sum() for part in last)
        gradients.append(torch.autograd.grad(loss, leaves))
    for leaf, found, expected in zip(leaves, *gradients, strict=True):
        assert expected.abs().max() > 0, "a weight without influence"
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10, msg=str(leaf.shape))


@every_cell
def test_rows_do_not_see_each_other(name):
    cell, w, x = make(name)
    state = random_state(cell)
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
    cell, w, x = make(name)
    state = to_numpy(random_state(cell))
    kept = tuple(part.copy() for part in state)
    first = cell.step(np, to_numpy(w), x.numpy()[:, 0], state)
    second = cell.step(np, to_numpy(w), x.numpy()[:, 0], state)
    for part, copy in zip(state, kept, strict=True):
        np.testing.assert_array_equal(part, copy)
    np.testing.assert_array_equal(first[0], second[0])


@every_cell
@pytest.mark.parametrize("xp", [np, torch], ids=["numpy", "torch"])
def test_initial_state_is_batch_first_and_of_the_weights_kind(name, xp):
    cell = CELLS[name]
    like = xp.ones(1, dtype=xp.float32)
    state = cell.initial_state(xp, D, B, like)
    shapes = cell.state_shapes(D)
    assert [tuple(part.shape) for part in state] == [(B, *shape) for shape in shapes.values()]
    assert all(part.dtype == xp.float32 for part in state)


@every_cell
def test_stays_finite_over_2000_steps(name):
    cell, w, _ = make(name)
    generator = torch.Generator().manual_seed(2)
    x = 3 * torch.randn(1, 2000, E, generator=generator)
    state = cell.initial_state(torch, D, 1, x)
    y, last = cell.scan(torch, w, x, state)
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(part).all() for part in last)


@every_cell
def test_every_weight_has_a_shape_and_an_initialiser(name):
    cell = CELLS[name]
    assert cell.shapes(E, D).keys() == cell.initialisers(E, D).keys()
    assert cell.shapes(E, D).keys().isdisjoint(cell.state_shapes(D).keys())


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
    cell, w, x = make(name)
    module = torch_twin(name, build(), cell, w)
    state = random_state(cell)
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
    cell, w, x = make("lstm", dtype=torch.float64)
    h, c = random_state(cell, dtype=torch.float64)
    y, _ = stepped(cell, np, to_numpy(w), x.numpy(), (h.numpy(), c.numpy()))
    expected = naive_lstm(to_numpy(w), x[0].numpy(), list(h[0].numpy()), list(c[0].numpy()))
    np.testing.assert_allclose(y[0], expected, rtol=1e-12, atol=1e-12)


def test_an_unknown_cell_is_an_error_that_names_the_cells():
    with pytest.raises(ConfigError, match="lstm"):
        cell_named("lstn")
