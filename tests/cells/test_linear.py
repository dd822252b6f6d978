"""minGRU, minLSTM, the scan under them, Jordan and the feed-forward part, against oracles."""

import math

import numpy as np
import pytest
import torch

from charlm.cells import CELLS
from charlm.cells.cell import Place
from charlm.cells.feed_forward import FeedForward
from charlm.cells.linear_scan import linear_scan
from charlm.cells.min_rnn_function import min_rnn_function
from charlm.training.initialise import draw

D = 12
MINIMAL = ["mingru", "minlstm"]
# float32 over 200 steps and more, in two orders of summation.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def weights(cell, place, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    begin = cell.initialisers(place)
    return {
        key: draw(begin[key], shape, generator).to(dtype)
        for key, shape in cell.shapes(place).items()
    }


def inputs(*shape, dtype=torch.float32, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def stepped(cell, xp, w, x, state):
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


def scanned(cell, xp, w, x, state):
    return cell.scan(xp, w, x, state)


both_ways = pytest.mark.parametrize("way", [stepped, scanned])


# The scan


def gates(*shape, dtype):
    """Gates in [0, 1] with many at and near both ends."""
    generator = torch.Generator().manual_seed(3)
    a = torch.rand(shape, generator=generator, dtype=dtype)
    for value in (0.0, 1.0, 1e-30, 1 - 1e-7):
        a[torch.rand(shape, generator=generator) < 0.15] = value
    return a


def naive_scan(a, b, h, reverse):
    """One step after the other, in float64."""
    a, b, h = a.double().numpy(), b.double().numpy(), h.double().numpy()
    found = np.empty_like(b)
    order = range(a.shape[1])
    for t in reversed(order) if reverse else order:
        found[:, t] = h = a[:, t] * h + b[:, t]
    return found


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 47, 64, 255, 2048])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_linear_scan_equals_a_naive_float64_loop(steps, reverse, dtype, tolerance):
    a, b, h = gates(2, steps, D, dtype=dtype), inputs(2, steps, D), inputs(2, D, seed=2)
    b, h = b.to(dtype), h.to(dtype)
    expected = naive_scan(a, b, h, reverse)
    found = linear_scan(torch, a, b, h, reverse=reverse)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert linear_scan(torch, a, b, h, out=b, reverse=reverse) is b
    assert torch.equal(b, found)


def test_linear_scan_keeps_what_gates_of_one_keep_and_forgets_what_gates_of_zero_forget():
    h = inputs(2, D)
    nothing = torch.zeros(2, 1000, D)
    assert torch.equal(linear_scan(torch, nothing + 1, nothing, h)[:, -1], h)
    after = linear_scan(torch, nothing, nothing + 5, h)
    assert torch.equal(after, nothing + 5)


@pytest.mark.parametrize("parts", [2, 3], ids=MINIMAL)
@pytest.mark.parametrize("steps", [1, 2, 5, 7])
def test_the_gradient_made_by_hand_equals_finite_differences(parts, steps):
    u, h = inputs(2, steps, parts * 3, dtype=torch.float64), inputs(2, 3, dtype=torch.float64)
    leaves = (2 * u.requires_grad_(), h.requires_grad_())
    function = min_rnn_function(torch)
    assert torch.autograd.gradcheck(function.apply, leaves)
    assert torch.autograd.gradcheck(lambda u, h: function.apply(u, h)[:, -1], leaves)


@pytest.mark.parametrize("name", MINIMAL)
@pytest.mark.parametrize("size", [30.0, 300.0])
def test_scan_gradients_are_those_of_the_loop_where_gates_are_shut_or_open(name, size):
    """With pre-activations so large, f and i both vanish in float32, and so do f + i."""
    cell, place = CELLS[name], Place(D, D)
    w = {"weight_x": torch.zeros(cell.shapes(place)["weight_x"])}
    rows = len(w["weight_x"])
    w["weight_x"][torch.arange(rows), torch.arange(rows) % D] = 1.0
    x = size * inputs(2, 60, D).sign() + inputs(2, 60, D, seed=4)
    bias = inputs(rows, seed=5)
    found = []
    for way in (stepped, scanned):
        leaves = [leaf.detach().requires_grad_() for leaf in (w["weight_x"], bias, x)]
        before = (torch.ones(2, D, requires_grad=True),)
        y, (h,) = way(cell, torch, {"weight_x": leaves[0], "bias": leaves[1]}, leaves[2], before)
        found.append((y, *torch.autograd.grad(y.sum() + h.sum(), [*leaves, *before])))
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


# Oracles


def g(c):
    return c + 0.5 if c >= 0 else 1 / (1 + math.exp(-c))


def sigmoid(k):
    return 1 / (1 + math.exp(-k))


def naive_mingru(w, x, h):
    """Unit by unit, as in the paper, sec. 3.1 and app. B."""
    outputs = []
    for x_t in x:
        u = [row @ x_t + b for row, b in zip(w["weight_x"], w["bias"], strict=True)]
        for k in range(D):
            z = sigmoid(u[k])
            h[k] = (1 - z) * h[k] + z * g(u[D + k])
        outputs.append(list(h))
    return np.array(outputs)


def naive_minlstm(w, x, h):
    """Unit by unit, as in the paper, sec. 3.2 and app. B."""
    outputs = []
    for x_t in x:
        u = [row @ x_t + b for row, b in zip(w["weight_x"], w["bias"], strict=True)]
        for k in range(D):
            f, i = sigmoid(u[k]), sigmoid(u[D + k])
            h[k] = f / (f + i) * h[k] + i / (f + i) * g(u[2 * D + k])
        outputs.append(list(h))
    return np.array(outputs)


def naive_jordan(w, x, y):
    """Unit by unit; only the output before comes back."""
    outputs = []
    for x_t in x:
        h = [
            math.tanh(w["weight_x"][k] @ x_t + w["weight_y"][k] @ y + w["bias"][k])
            for k in range(D)
        ]
        y = np.array([math.tanh(w["weight_out"][k] @ h + w["bias_out"][k]) for k in range(D)])
        outputs.append(y)
    return np.array(outputs)


@pytest.mark.parametrize(
    ("name", "naive"),
    [("mingru", naive_mingru), ("minlstm", naive_minlstm), ("jordan", naive_jordan)],
)
@both_ways
def test_equals_a_naive_float64_loop(name, naive, way):
    cell, place = CELLS[name], Place(5, D)
    w = weights(cell, place, torch.float64)
    for key in w:
        w[key] += 0.1 * inputs(*w[key].shape, dtype=torch.float64, seed=6)
    x, h = 2 * inputs(1, 200, 5, dtype=torch.float64), inputs(1, D, dtype=torch.float64).abs()
    expected = naive(
        {key: value.numpy() for key, value in w.items()}, x[0].numpy(), h[0].numpy().copy()
    )
    y, _ = way(cell, torch, w, x, (h,))
    np.testing.assert_allclose(y[0], expected, rtol=1e-11, atol=1e-12)


def minimal_twin(name, dtype=torch.float32):
    """minGRU_pytorch's module with our weights, which lie the candidate last and not first."""
    their_name = {"mingru": "minGRU", "minlstm": "minLSTM"}[name]
    file = pytest.importorskip(f"minGRU_pytorch.{their_name}")
    cell, place = CELLS[name], Place(D, D)
    w = weights(cell, place, dtype)
    w["weight_x"], w["bias"] = 3 * w["weight_x"], torch.zeros_like(w["bias"])  # it has none
    module = getattr(file, their_name)(D).to(dtype)
    (theirs,) = module.parameters()
    with torch.no_grad():
        theirs.copy_(w["weight_x"].roll(D, 0))
    return cell, w, module, theirs


@pytest.mark.parametrize("name", MINIMAL)
@both_ways
def test_outputs_equal_mingru_pytorchs(name, way):
    cell, w, module, _ = minimal_twin(name)
    x = inputs(2, 230, D)
    y, _ = way(cell, torch, w, x, (torch.zeros(2, D),))
    torch.testing.assert_close(y, module(x), **TOLERANCE)


@pytest.mark.parametrize("name", MINIMAL)
@both_ways
def test_gradients_equal_mingru_pytorchs(name, way):
    """In float64: in float32 its sums of logarithms leave only three digits of them."""
    cell, w, module, theirs = minimal_twin(name, torch.float64)
    x = inputs(2, 230, D, dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(module(x).square().sum(), [theirs, x])
    w["weight_x"].requires_grad_()
    y, _ = way(cell, torch, w, x, (torch.zeros(2, D, dtype=torch.float64),))
    by_weight, by_x = torch.autograd.grad(y.square().sum(), [w["weight_x"], x])
    for found, wanted in zip((by_weight.roll(D, 0), by_x), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", MINIMAL)
def test_a_state_carried_on_equals_mingru_pytorchs_single_steps(name):
    """Its longer pieces are no oracle for the minLSTM: they take h for a pre-activation."""
    cell, w, module, _ = minimal_twin(name)
    x, h = inputs(2, 210, D), inputs(2, D, seed=2).abs()
    y, (last,) = cell.scan(torch, w, x, (h,))
    hidden, outputs = h[:, None], []
    with torch.no_grad():
        for t in range(x.shape[1]):
            out, hidden = module(x[:, t : t + 1], hidden, return_next_prev_hidden=True)
            outputs.append(out)
    torch.testing.assert_close(y, torch.cat(outputs, 1), **TOLERANCE)
    torch.testing.assert_close(last, hidden[:, 0], **TOLERANCE)


@pytest.mark.parametrize("f", [-45.0, -39.5, -20.5, -5.0, 25.0])
def test_nearly_shut_gates_are_exact_in_float64(f):
    """torch's softplus is by default a straight line from 20 on, which is only for float32."""
    i = f + 1.0
    u = torch.tensor([[[f, i, 2.0]]], dtype=torch.float64)
    y = min_rnn_function(torch).apply(u, torch.zeros(1, 1, dtype=torch.float64))
    expected = 2.5 * (1 + math.exp(-f)) / (2 + math.exp(-f) + math.exp(-i))
    assert y.item() == pytest.approx(expected, rel=1e-14)


# How they begin


@pytest.mark.parametrize("name", MINIMAL)
def test_memories_begin_at_1_to_8_steps(name):
    cell, place = CELLS[name], Place(D, D)
    w = {**weights(cell, place), "weight_x": torch.zeros(cell.shapes(place)["weight_x"])}
    kept = cell.project(torch, w, torch.zeros(1, D))[0, :D]
    memories = 1 / (1 - kept)
    assert 1.3 < memories[0] < 1.4
    assert 8 < memories[-1] < 9
    assert (memories.diff() > 0).all()


# The feed-forward part


@pytest.mark.parametrize(("inputs_size", "width"), [(16, 16), (10, 24), (256, 256), (384, 384)])
def test_feed_forward_begins_small_and_has_about_four_times_the_widths_square(inputs_size, width):
    cell, place = FeedForward(), Place(inputs_size, width)
    w = weights(cell, place)
    assert len(w["weight_x"]) % 16 == 0
    assert w["weight_out"].shape == (width, len(w["weight_x"]) // 2)
    if inputs_size == width >= 256:
        assert 3.9 < sum(value.numel() for value in w.values()) / width**2 < 4.2
    x = inputs(1000, inputs_size)
    y, state = cell.step(torch, w, x, ())
    assert state == ()
    assert 0 < y.square().mean().sqrt() < 0.2


def test_feed_forward_steps_equal_scan_on_numpy_and_torch():
    cell, place = FeedForward(), Place(10, 24)
    w, x = weights(cell, place), inputs(3, 40, 10)
    assert cell.initial_state(torch, place, 3, x) == ()
    expected, _ = stepped(cell, torch, w, x, ())
    y, state = cell.scan(torch, w, x, ())
    assert state == ()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    as_numpy = {key: value.numpy() for key, value in w.items()}
    found, _ = stepped(cell, np, as_numpy, x.numpy(), ())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_feed_forward_equals_its_equation_and_gradients_reach_everything():
    cell, place = FeedForward(), Place(10, 24)
    w, x = weights(cell, place, torch.float64), inputs(3, 7, 10, dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (*w.values(), x)]
    y, _ = cell.scan(torch, w, x, ())
    gate, value = w["weight_x"].chunk(2)
    hidden = torch.nn.functional.silu(x @ gate.T) * (x @ value.T)
    torch.testing.assert_close(y, hidden @ w["weight_out"].T, rtol=1e-12, atol=1e-12)
    for gradient in torch.autograd.grad(y.square().sum(), leaves):
        assert (gradient != 0).all()
