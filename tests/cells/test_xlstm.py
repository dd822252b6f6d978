"""sLSTM and mLSTM against their equations in float64 and against the authors' packages."""

import numpy as np
import pytest
import torch
from support.params import quick
from torch.nn import functional

from charlm.cells import CELLS
from charlm.cells.cell import Place
from charlm.cells.heads import heads
from charlm.cells.mlstm_chunks import CHUNK
from charlm.cells.slstm_function import slstm_function
from charlm.training.initialise import draw

B, T, E, D = 2, 4 * CHUNK, 5, 16
H = heads(D)
NAMES = ["slstm", "mlstm"]
# float32 over hundreds of steps, in two orders of summation; float64 shows that it is no more.
TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float64: {"rtol": 1e-9, "atol": 1e-10},
}
every_cell = pytest.mark.parametrize("name", NAMES)
both_types = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])


def stepped(cell, xp, w, x, state):
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


def scanned(cell, torch, w, x, state):
    return cell.scan(torch, w, x, state)


both_ways = pytest.mark.parametrize("way", [stepped, scanned])


def make(name, dtype=torch.float32, steps=T, rows=B):
    """A cell, weights of which none is 0 or the same throughout, text, the initial state."""
    cell, place = CELLS[name], Place(E, D, 0, 2)
    generator = torch.Generator().manual_seed(0)
    begin = cell.initialisers(place)
    w = {}
    for key, shape in cell.shapes(place).items():
        noise = 0.3 * torch.randn(shape, generator=generator)
        w[key] = (draw(begin[key], shape, generator) + noise).to(dtype)
    x = torch.randn(rows, steps, E, generator=generator).to(dtype)
    return cell, w, x, cell.initial_state(torch, place, rows, x)


def to_numpy(values):
    if isinstance(values, dict):
        return {key: value.numpy() for key, value in values.items()}
    return tuple(value.numpy() for value in values)


# The papers' equations without stabiliser, for one row, in float64


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def normed(h, scale):
    """Each head (a row of h) normalised, all joined and scaled."""
    h = h - h.mean(1)[:, None]
    return (h / np.sqrt(h.var(1) + 1e-5)[:, None]).ravel() * scale


def naive_slstm(w, x):
    N = D // H
    R = w["weight_h"].reshape(H, 4, N, N)
    h = c = n = np.zeros((H, N))
    outputs = []
    for row in x:
        u = (w["weight_x"] @ row + w["bias"]).reshape(4, H, N)
        i, f, z, o = (
            np.array([u[gate, j] + R[j, gate] @ h[j] for j in range(H)]) for gate in range(4)
        )
        c = sigmoid(f) * c + np.exp(i) * np.tanh(z)
        n = sigmoid(f) * n + np.exp(i)
        h = sigmoid(o) * c / n
        outputs.append(normed(h, w["scale"]))
    return np.array(outputs)


def naive_mlstm(w, x):
    V, K = D // H, D // H // 2
    C, n, m = np.zeros((H, K, V)), np.zeros((H, K)), np.zeros(H)
    outputs = []
    for row in x:
        q, k, v, o, i, f = np.split(w["weight_x"] @ row, np.cumsum([H * K, H * K, H * V, H * V, H]))
        i, f = i + w["bias"][:H], f + w["bias"][H:]
        q, k, v = q.reshape(H, K), k.reshape(H, K) / np.sqrt(K), v.reshape(H, V)
        h = np.zeros((H, V))
        for j in range(H):
            C[j] = sigmoid(f[j]) * C[j] + np.exp(i[j]) * np.outer(k[j], v[j])
            n[j] = sigmoid(f[j]) * n[j] + np.exp(i[j]) * k[j]
            # The stabiliser has no part in h but for the small number beside the denominator.
            m[j] = max(m[j] - np.log1p(np.exp(-f[j])), i[j])
            h[j] = C[j].T @ q[j] / (max(abs(n[j] @ q[j]), 1) + 1e-6 * np.exp(m[j]))
        outputs.append(w["weight_out"] @ (sigmoid(o) * normed(h, w["scale"])))
    return np.array(outputs)


NAIVE = {"slstm": naive_slstm, "mlstm": naive_mlstm}


def naive(name, w, x):
    return NAIVE[name](to_numpy({key: value.double() for key, value in w.items()}), x.numpy())


@every_cell
@both_ways
def test_equals_the_equations(name, way):
    cell, w, x, state = make(name, torch.float64, rows=1)
    y, _ = way(cell, torch, w, x, state)
    np.testing.assert_allclose(y[0], naive(name, w, x[0]), rtol=1e-9, atol=1e-11)


def with_gates(name, w, i, f):
    """The weights with gate biases moved there, or with gates that swing from one end to another.

    i and f are where the pre-activations lie; "swing" makes them some forty times as large.
    """
    w = {key: value.clone() for key, value in w.items()}
    rows = {"slstm": (slice(0, D), slice(D, 2 * D)), "mlstm": (slice(-2 * H, -H), slice(-H, None))}
    bias = {"slstm": rows["slstm"], "mlstm": (slice(0, H), slice(H, None))}
    for value, weight_rows, bias_rows in zip((i, f), rows[name], bias[name], strict=True):
        if value == "swing":
            w["weight_x"][weight_rows] *= 40
        else:
            w["bias"][bias_rows] = value
    return w


extreme_gates = pytest.mark.parametrize(
    ("i", "f"),
    quick(
        [(50.0, 20.0), ("swing", "swing")],
        [*((i, f) for i in (-100.0, 0.0, 50.0) for f in (-20.0, 20.0)), ("swing", "swing")],
    ),
)


@every_cell
@extreme_gates
def test_extreme_gates_over_2048_steps(name, i, f):
    cell, w, x, state = make(name, steps=2048, rows=1)
    w = with_gates(name, w, i, f)
    x[:, 500:1500] = x[:, 500:501]  # the same symbol over and over
    expected = naive(name, w, x[0].double())
    y, _ = cell.scan(torch, w, x, state)
    np.testing.assert_allclose(y[0], expected, rtol=1e-3, atol=1e-3)
    y, _ = stepped(cell, np, to_numpy(w), x.numpy(), to_numpy(state))
    np.testing.assert_allclose(y[0], expected, rtol=1e-3, atol=1e-3)


def gradients(way, cell, w, x, state):
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (*w.values(), x, *state)]
    y, last = way(
        cell,
        torch,
        dict(zip(w, leaves, strict=False)),
        leaves[len(w)],
        tuple(leaves[len(w) + 1 :]),
    )
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (weights * y).sum() + sum(part.square().sum() for part in last)
    return torch.autograd.grad(loss, leaves)


@every_cell
@extreme_gates
def test_gradients_at_extreme_gates_are_those_of_float64(name, i, f):
    cell, w, x, state = make(name, steps=3 * CHUNK // 2)
    w = with_gates(name, w, i, f)
    found = gradients(scanned, cell, w, x, state)
    expected = gradients(
        stepped,
        cell,
        {key: value.double() for key, value in w.items()},
        x.double(),
        tuple(part.double() for part in state),
    )
    for a, b in zip(found, expected, strict=True):
        assert a.isfinite().all()
        scale = b.abs().max().item()
        torch.testing.assert_close(a.double(), b, rtol=1e-2, atol=1e-3 * scale + 1e-6)


def assert_same_gradients(cell, w, x, state):
    found, expected = (gradients(way, cell, w, x, state) for way in (scanned, stepped))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    return found


def test_a_tie_of_slstms_gates_divides_the_gradient_as_torch_does():
    """With f~ = 50 the forget gate is exactly 1, and one symbol's i~ at every step ties with m."""
    cell, w, x, state = make("slstm", torch.float64, steps=7)
    w = with_gates("slstm", w, 1.0, 50.0)
    w["weight_h"] = 0 * w["weight_h"]
    assert_same_gradients(cell, w, x[:1, :1].expand(B, 7, E), state)


@every_cell
@pytest.mark.parametrize("steps", [1, 3, CHUNK + 1])
def test_gradients_reach_a_stabiliser_that_no_input_replaced(name, steps):
    """The laws' texts are so long that the first m has always been replaced in the end."""
    cell, w, x, state = make(name, torch.float64, steps + 5)
    w = with_gates(name, w, -1.0, 20.0)
    with torch.no_grad():
        _, state = cell.scan(torch, with_gates(name, w, 3.0, 20.0), x[:, steps:], state)
    *_, by_m = assert_same_gradients(cell, w, x[:, :steps], state)
    assert (by_m != 0).all()


def test_the_slstm_function_leaves_its_arguments_as_they_were():
    """One row and one head, where a change of layout need not copy."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 9, 12), (1, 12, 3), *[(1, 3)] * 4]
    arguments = [torch.rand(shape, generator=generator) for shape in shapes]
    kept = [part.clone() for part in arguments]
    slstm_function(torch).apply(*arguments)
    for part, before in zip(arguments, kept, strict=True):
        torch.testing.assert_close(part, before, rtol=0, atol=0)


@every_cell
def test_a_scan_in_bfloat16_keeps_its_state_in_float32(name):
    cell, w, x, state = make(name)
    expected, expected_last = cell.scan(torch, w, x, state)
    leaves = [value.requires_grad_() for value in w.values()]
    with torch.autocast("cpu", torch.bfloat16):
        y, last = cell.scan(torch, w, x, state)
    assert all(part.dtype == torch.float32 for part in last)
    for found, wanted in zip((y, *last), (expected, *expected_last), strict=True):
        error = (found.float() - wanted).norm() / wanted.norm()
        assert error < 0.05
    assert all(part.isfinite().all() for part in torch.autograd.grad(y.float().sum(), leaves))


# The authors' packages


def slstm_twin(w, dtype):
    """The authors' cell with our weights: from x and a state to y and the last state."""
    file = pytest.importorskip("xlstm.blocks.slstm.cell")
    norms = pytest.importorskip("xlstm.components.ln")
    config = file.sLSTMCellConfig(hidden_size=D, num_heads=H, backend="vanilla", dtype="float32")
    theirs = file.sLSTMCell(config).to(dtype)
    norm = norms.MultiHeadLayerNorm(D, weight=True).to(dtype)
    theirs._recurrent_kernel_.data = w["weight_h"].view(H, 4 * D // H, D // H)
    theirs._bias_.data = w["bias"]
    norm.weight.data = w["scale"] - 1

    def run(x, state):
        h, last = theirs(x @ w["weight_x"].T, state)
        return norm(h).transpose(1, 2).flatten(2), last

    return run, (theirs._recurrent_kernel_, theirs._bias_)


@both_types
@both_ways
def test_slstm_equals_the_authors(dtype, way):
    cell, w, x, state = make("slstm", dtype)
    run, _ = slstm_twin(w, dtype)
    theirs = None  # theirs begins with zeros and sees by them that nothing was read
    with torch.no_grad():
        for piece in x.split(T // 2, 1):
            y, state = way(cell, torch, w, piece, state)
            expected, theirs = run(piece, theirs)
            torch.testing.assert_close(y, expected, **TOLERANCE[dtype])
            torch.testing.assert_close(torch.stack(state), theirs, **TOLERANCE[dtype])


def test_slstm_gradients_equal_the_authors():
    cell, w, x, state = make("slstm", torch.float64)
    run, (kernel, bias) = slstm_twin(w, torch.float64)
    x.requires_grad_()
    y, last = run(x, None)
    expected = torch.autograd.grad(y.square().sum() + last.square().sum(), [kernel, bias, x])
    leaves = [w["weight_h"].requires_grad_(), w["bias"].requires_grad_(), x]
    y, last = cell.scan(torch, w, x, state)
    loss = y.square().sum() + sum(part.square().sum() for part in last)
    for found, wanted in zip(torch.autograd.grad(loss, leaves), expected, strict=True):
        torch.testing.assert_close(found, wanted.reshape(found.shape), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_slstm_biases_begin_as_the_authors(layer):
    file = pytest.importorskip("xlstm.blocks.slstm.cell")
    config = file.sLSTMCellConfig(
        hidden_size=D, num_heads=H, backend="vanilla", _block_idx=layer, _num_blocks=3
    )
    place = Place(E, D, layer, 3)
    ours = draw(CELLS["slstm"].initialisers(place)["bias"], (4 * D,), torch.Generator())
    torch.testing.assert_close(ours, file.sLSTMCell(config)._bias_.detach())


def recurrent(q, k, v, i, f):
    backends = pytest.importorskip("xlstm.blocks.mlstm.backends")
    K, V = k.shape[-1], v.shape[-1]
    state = (q.new_zeros(B, H, K, V), q.new_zeros(B, H, K, 1), q.new_zeros(B, H, 1, 1))
    outputs = []
    for t in range(T):
        # Copies, for it takes a dimension from its arguments in place.
        now = [part[:, :, t : t + 1].clone() for part in (q, k, v)]
        gates = [part[:, :, t, None, None] for part in (i, f)]
        h, state = backends.recurrent_step_stabilized_simple(*state, *now, *gates)
        outputs.append(h)
    return torch.cat(outputs, 2), state


def parallel(q, k, v, i, f):
    backends = pytest.importorskip("xlstm.blocks.mlstm.backends")
    return backends.parallel_stabilized_simple(q, k, v, i[..., None], f[..., None]), None


def chunkwise(q, k, v, i, f):
    """In two halves of the values, for its keys and values are of one size."""
    backends = pytest.importorskip("xlstm.blocks.mlstm.backends")
    halves = [
        backends.chunkwise_simple(
            q, k, half.contiguous(), i, f, chunk_size=32, return_last_state=True
        )
        for half in v.chunk(2, -1)
    ]
    C, (_, n, m) = torch.cat([last[0] for _, last in halves], -1), halves[0][1]
    unscaled = q.shape[-1] ** -0.5  # it scales q and not k
    return torch.cat([h for h, _ in halves], -1), (C * unscaled, n * unscaled, m)


def kernels_chunkwise(q, k, v, i, f):
    kernels = pytest.importorskip("mlstm_kernels.torch.chunkwise.native")
    h, (C, n, m) = kernels.mlstm_chunkwise__native_autograd(
        q, k, v, i, f, chunk_size=32, return_last_states=True, autocast_kernel_dtype=q.dtype
    )
    unscaled = q.shape[-1] ** -0.5  # as above
    return h, (C * unscaled, n * unscaled, m)


def kernels_parallel(q, k, v, i, f):
    kernels = pytest.importorskip("mlstm_kernels.torch.parallel.native")
    return kernels.mlstm_parallel__native_autograd(q, k, v, i, f), None


def mlstm_twin(core, w, x):
    """y and the last state with the authors' core, and the layer around it as in xLSTM 7B."""
    K, V = D // H // 2, D // H
    q, k, v, o, i, f = (x @ w["weight_x"].T).split((H * K, H * K, D, D, H, H), -1)
    q, k, v = (part.unflatten(-1, (H, -1)).transpose(1, 2).contiguous() for part in (q, k, v))
    i = (i + w["bias"][:H]).transpose(1, 2).contiguous()
    f = (f + w["bias"][H:]).transpose(1, 2).contiguous()
    h, last = core(q, k, v, i, f)
    h = functional.layer_norm(h.transpose(1, 2), (V,)).flatten(2) * w["scale"]
    return (torch.sigmoid(o) * h) @ w["weight_out"].T, last


cores = pytest.mark.parametrize(
    "core", [recurrent, parallel, chunkwise, kernels_chunkwise, kernels_parallel]
)


def tolerance(core, dtype):
    """The parallel forms know no m from before, which tells in the 10⁻⁶ of the denominator."""
    exact = core not in (parallel, kernels_parallel)
    return TOLERANCE[dtype] if exact else {"rtol": 1e-4, "atol": 1e-4}


@cores
@both_types
@both_ways
def test_mlstm_equals_the_authors(core, dtype, way):
    cell, w, x, state = make("mlstm", dtype)
    y, last = way(cell, torch, w, x, state)
    expected, theirs = mlstm_twin(core, w, x)
    torch.testing.assert_close(y, expected, **tolerance(core, dtype))
    if theirs is not None:
        for part, other in zip(last, theirs, strict=True):
            torch.testing.assert_close(part, other.view_as(part), **tolerance(core, dtype))


@cores
def test_mlstm_gradients_equal_the_authors(core):
    cell, w, x, state = make("mlstm", torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (*w.values(), x)]
    w = dict(zip(w, leaves, strict=False))
    expected = torch.autograd.grad(mlstm_twin(core, w, x)[0].square().sum(), leaves)
    found = torch.autograd.grad(cell.scan(torch, w, x, state)[0].square().sum(), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance(core, torch.float64))
