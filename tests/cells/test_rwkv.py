"""RWKV-4 and RWKV-7 against their equations, the authors' package and transformers."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from charlm import ops
from charlm.cells import CELLS
from charlm.cells.cell import Place
from charlm.cells.delta_rule import CHUNK, delta_rule
from charlm.cells.heads import heads
from charlm.training.initialise import draw

STEPS = 200
NAMES = ("rwkv4", "rwkv")


def lively(cell, place, generator):
    """Weights as they begin, except that nothing is zero or the same for all units."""
    begin = cell.initialisers(place)
    w = {}
    for name, shape in cell.shapes(place).items():
        value = draw(begin[name], shape, generator)
        noise = torch.randn(shape, generator=generator)
        if value.ndim == 1:
            value = value + 0.2 * noise
        elif not value.any(dim=1).all():
            value = value + shape[1] ** -0.5 * noise
        w[name] = value
    return w


def stepped(cell, xp, w, x, state):
    outputs = []
    for t in range(x.shape[1]):
        y, state = cell.step(xp, w, x[:, t], state)
        outputs.append(y)
    return xp.stack(outputs, 1), state


def doubled(w):
    return {name: value.double().numpy() for name, value in w.items()}


def made(cell, place, B, T, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    w = {name: value.to(dtype) for name, value in lively(cell, place, generator).items()}
    x = torch.randn(B, T, place.inputs, generator=generator, dtype=dtype)
    return w, x


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_rwkv4(w, x):
    """Sums over all that came before, as the paper writes them, for one stream x (T, E)."""
    E = x.shape[1]
    k, v, r = [], [], []
    for t in range(len(x)):
        before = x[t - 1] if t else np.zeros(E)
        for i, (letter, found) in enumerate((("k", k), ("v", v), ("r", r))):
            mu = 1 - w["mix"][i * E : (i + 1) * E]
            found.append(w[f"weight_{letter}"] @ (mu * x[t] + (1 - mu) * before))
    decay = -np.exp(w["decay"])
    outputs = []
    for t in range(len(x)):
        top = np.exp(w["bonus"] + k[t]) * v[t]
        bottom = np.exp(w["bonus"] + k[t])
        for s in range(t):
            weight = np.exp((t - 1 - s) * decay + k[s])
            top, bottom = top + weight * v[s], bottom + weight
        outputs.append(w["weight_o"] @ (sigmoid(r[t]) * top / bottom))
    return np.array(outputs)


def naive_rwkv(w, x, first):
    """RWKV-7 head by head and step by step, for one stream x (T, E), first (T, D) or None."""
    E, D = x.shape[1], len(w["k_k"])
    H = heads(D)
    N = D // H
    S, before, outputs = np.zeros((H, N, N)), np.zeros(E), []
    for t in range(len(x)):
        x_r, x_k, x_v, x_w, x_a, x_g = (
            x[t] + share * (before - x[t]) for share in w["mix"].reshape(6, E)
        )
        before = x[t]
        r, k, v = w["weight_r"] @ x_r, w["weight_k"] @ x_k, w["weight_v"] @ x_v
        if first is not None:
            v = v + (first[t] - v) * sigmoid(w["v0"] + w["v2"] @ (w["v1"] @ x_v))
        decay = np.exp(-np.exp(-0.5) * sigmoid(w["w0"] + w["w2"] @ np.tanh(w["w1"] @ x_w)))
        a = sigmoid(w["a0"] + w["a2"] @ (w["a1"] @ x_a))
        g = w["g2"] @ sigmoid(w["g1"] @ x_g)
        kappa = k * w["k_k"]
        k = k * (1 + (a - 1) * w["k_a"])
        y = np.zeros(D)
        for h in range(H):
            at = slice(h * N, (h + 1) * N)
            direction = kappa[at] / np.linalg.norm(kappa[at])
            transition = np.diag(decay[at]) - np.outer(direction, direction * a[at])
            S[h] = S[h] @ transition + np.outer(v[at], k[at])
            o = S[h] @ r[at]
            o = (o - o.mean()) / np.sqrt(o.var() + 64e-5)
            y[at] = o * w["norm_scale"][at] + w["norm_shift"][at]
            y[at] += (r[at] * k[at] * w["r_k"][at]).sum() * v[at]
        outputs.append(w["weight_o"] @ (g * y))
    return np.array(outputs)


def naive_channel_mix(w, x):
    outputs, before, E = [], np.zeros(x.shape[1]), x.shape[1]
    for now in x:
        k = w["weight_k"] @ (now + w["mix"][:E] * (before - now))
        y = w["weight_v"] @ (np.maximum(k, 0) ** 2)
        if "weight_r" in w:
            y = y * sigmoid(w["weight_r"] @ (now + w["mix"][E:] * (before - now)))
        outputs.append(y)
        before = now
    return np.array(outputs)


def begun(cell, place, like):
    return cell.initial_state(torch, place, like.shape[0], like)


@pytest.mark.parametrize("lent", [False, True], ids=["lowest", "lent"])
@pytest.mark.parametrize("width", [8, 48, 128])
def test_rwkv_equals_a_naive_float64_loop(width, lent):
    cell, place = CELLS["rwkv"], Place(7 + width * lent, width, int(lent), 3, lent)
    w, x = made(cell, place, 2, STEPS)
    one = x[0].double().numpy()
    expected = naive_rwkv(doubled(w), one[:, :7], one[:, 7:] if lent else None)
    y, _ = cell.scan(torch, w, x, begun(cell, place, x))
    np.testing.assert_allclose(y[0], expected, rtol=1e-4, atol=1e-4)
    state = tuple(part.double().numpy() for part in begun(cell, place, x[:1]))
    y, _ = stepped(cell, np, doubled(w), one[None], state)
    np.testing.assert_allclose(y[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layer", [0, 2])
def test_rwkv4_equals_the_papers_sums_in_float64(layer):
    cell, place = CELLS["rwkv4"], Place(7, 12, layer, 3)
    w, x = made(cell, place, 2, STEPS)
    expected = naive_rwkv4(doubled(w), x[0].double().numpy())
    y, _ = cell.scan(torch, w, x, begun(cell, place, x))
    np.testing.assert_allclose(y[0], expected, rtol=1e-4, atol=1e-4)
    state = tuple(part.double().numpy() for part in begun(cell, place, x[:1]))
    y, _ = stepped(cell, np, doubled(w), x[:1].double().numpy(), state)
    np.testing.assert_allclose(y[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_channel_mix_equals_a_naive_float64_loop(name):
    cell, place = CELLS[name].feed_forward, Place(12, 12, 1, 3)
    w, x = made(cell, place, 2, STEPS)
    y, _ = cell.scan(torch, w, x, begun(cell, place, x))
    expected = naive_channel_mix(doubled(w), x[0].double().numpy())
    np.testing.assert_allclose(y[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("piece", [1, 7, 40])
def test_channel_mix_in_pieces_equals_steps(name, piece):
    cell, place = CELLS[name].feed_forward, Place(12, 12, 1, 3)
    w, x = made(cell, place, 3, 40)
    expected, last = stepped(cell, torch, w, x, begun(cell, place, x))
    state, outputs = begun(cell, place, x), []
    for part in x.split(piece, 1):
        y, state = cell.scan(torch, w, part, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, last)
    weights, zero = {key: value.numpy() for key, value in w.items()}, begun(cell, place, x)
    y, _ = stepped(cell, np, weights, x.numpy(), tuple(part.numpy() for part in zero))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_channel_mix_gradients_equal_those_of_the_stepped_loop(name):
    cell, place = CELLS[name].feed_forward, Place(12, 12, 1, 3)
    w, x = made(cell, place, 2, 9, torch.float64)
    leaves = [x, x[:, -1] + 1, *w.values()]
    for leaf in leaves:
        leaf.requires_grad_()
    found = []
    for way in (cell.scan, lambda *values: stepped(cell, *values)):
        y, last = way(torch, w, x, (leaves[1],))
        found.append(torch.autograd.grad((y**3).sum() + (last[0] ** 2).sum(), leaves))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


def test_what_rwkv_lends_is_the_same_for_a_context_and_step_by_step():
    cell, place = CELLS["rwkv"], Place(7, 12, 0, 2)
    w, x = made(cell, place, 2, 9)
    state = begun(cell, place, x)
    whole = cell.lend(torch, w, x, state)
    for t in range(x.shape[1]):
        one = cell.lend(torch, w, x[:, t], state)
        torch.testing.assert_close(one, whole[:, t], rtol=1e-5, atol=1e-6)
        _, state = cell.step(torch, w, x[:, t], state)


@pytest.mark.parametrize("decay", [-1e-7, -0.6065], ids=["never forgotten", "soon forgotten"])
def test_the_delta_rule_bears_one_symbol_over_and_over(decay):
    """All keys alike and corrected fully is the worst that the triangular system gets."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(4, 1, 1, 2, 16, generator=generator).repeat(1, 1, 20 * CHUNK + 5, 1, 1)
    r, k, v, kappa = one
    kappa = kappa / kappa.norm(dim=-1, keepdim=True)
    inputs = [r, torch.full_like(r, decay), k, v, kappa, -(1 - 1e-6) * kappa]
    S = torch.randn(1, 2, 16, 16, generator=generator)
    inputs = [z.clone().requires_grad_() for z in inputs]
    y, last = delta_rule(torch, S, *inputs)
    twins = [z.detach().double().requires_grad_() for z in inputs]
    steps, memory = [], S.double()
    for now in zip(*(z.unbind(1) for z in twins), strict=True):
        r, log_w, k, v, alpha, beta = (z[..., None] for z in now)
        memory = memory * log_w.mT.exp() + (memory @ alpha) @ beta.mT + v @ k.mT
        steps.append((memory @ r)[..., 0])
    expected = torch.stack(steps, 1)
    found = (y, last, *torch.autograd.grad(y.square().mean(), inputs))
    wanted = (expected, memory, *torch.autograd.grad(expected.square().mean(), twins))
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


def test_rwkv4_bears_keys_whose_exponentials_overflow():
    """Keys of a few hundred; the gradient is finite from the empty state on."""
    cell, place = CELLS["rwkv4"], Place(6, 6, 0, 2)
    w, x = made(cell, place, 2, 64)
    w["weight_k"] *= 300
    for leaf in w.values():
        leaf.requires_grad_()
    y, last = cell.scan(torch, w, x, begun(cell, place, x))
    expected, _ = stepped(cell, torch, w, x, begun(cell, place, x))
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    assert last[3].abs().max() > 100
    gradients = torch.autograd.grad(y.square().sum(), list(w.values()))
    wanted = torch.autograd.grad(expected.square().sum(), list(w.values()))
    for found, gradient in zip(gradients, wanted, strict=True):
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, gradient, rtol=1e-3, atol=1e-3)


def test_rwkv4_gradients_where_no_key_reaches_the_exponent_of_the_state():
    cell, place = CELLS["rwkv4"], Place(6, 6, 1, 2)
    w, x = made(cell, place, 2, 9, torch.float64)
    _, (before, a, b, p) = cell.scan(torch, w, x.flip(1), begun(cell, place, x))
    state = [before, a, b, p + 500]  # the quickest units lose 20 a step
    leaves = [*w.values(), x, *state]
    for leaf in leaves:
        leaf.requires_grad_()
    found = []
    for way in (cell.scan, lambda *values: stepped(cell, *values)):
        y, last = way(torch, w, x, tuple(state))
        loss = (y**3).sum() + sum((part**2).sum() for part in last)
        found.append(torch.autograd.grad(loss, leaves))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


PLACES = [Place(3, 1), Place(4, 4), Place(5, 8, 1, 2), Place(64, 256, 3, 4)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_weights_begin_finite_wherever_a_cell_stands(name, place):
    for cell in (CELLS[name], CELLS[name].feed_forward):
        begin = cell.initialisers(place)
        for key, shape in cell.shapes(place).items():
            assert torch.isfinite(draw(begin[key], shape, torch.Generator())).all(), key


def blocks(name, D, layers):
    """The weights of a network of that many blocks around the cell, by hand."""
    generator = torch.Generator().manual_seed(3)
    cell, found = CELLS[name], []
    for layer in range(layers):
        lent = layer > 0 and cell.lend is not None
        place = Place(D + D * lent, D, layer, layers, lent)
        inner = Place(D, D, layer, layers)
        norms = 0.1 * torch.randn(4, D, generator=generator)
        norms[::2] += 1
        found.append(
            {
                "cell": lively(cell, place, generator),
                "mix": lively(cell.feed_forward, inner, generator),
                "norms": norms,
                "places": (place, inner),
            }
        )
    return found


def read(name, found, x, ways):
    """The stream x (B, T, D) after all blocks, each cell read by `ways`(cell)."""
    cell, first = CELLS[name], None
    for block in found:
        scale, shift, scale_2, shift_2 = block["norms"]
        u = ops.layer_norm(torch, x, scale, shift)
        state = begun(cell, block["places"][0], x)
        if cell.lend is not None and first is None:
            first = cell.lend(torch, block["cell"], u, state)
        elif cell.lend is not None:
            u = torch.cat((u, first), -1)
        x = x + ways(cell)(torch, block["cell"], u, state)[0]
        u = ops.layer_norm(torch, x, scale_2, shift_2)
        mix = cell.feed_forward
        x = x + ways(mix)(torch, block["mix"], u, begun(mix, block["places"][1], x))[0]
    return x


WAYS = {
    "scan": lambda cell: cell.scan,
    "step": lambda cell: lambda *values: stepped(cell, *values),
}


def authors_file(found, embedding, outer, head):
    """The weights under the names of the authors' files."""
    D = embedding.shape[1]
    flat = {"emb.weight": embedding, "head.weight": head}
    for name, (scale, shift) in {"blocks.0.ln0": outer[:2], "ln_out": outer[2:]}.items():
        flat |= {f"{name}.weight": scale, f"{name}.bias": shift}
    for layer, block in enumerate(found):
        w, mix, norms, b = block["cell"], block["mix"], block["norms"], f"blocks.{layer}."
        for i in (0, 1):
            flat |= {f"{b}ln{i + 1}.weight": norms[2 * i], f"{b}ln{i + 1}.bias": norms[2 * i + 1]}
        for letter, share in zip("rkvwag", w["mix"].view(6, 1, 1, D), strict=True):
            flat[f"{b}att.x_{letter}"] = share
        for part in ("receptance", "key", "value"):
            flat[f"{b}att.{part}.weight"] = w[f"weight_{part[0]}"]
        flat |= {f"{b}att.{n}": w[n] for n in ("w0", "a0", "v0", "k_k", "k_a") if n in w}
        low = (f"{letter}{i}" for letter in "wagv" for i in (1, 2))
        flat |= {f"{b}att.{n}": w[n].T.contiguous() for n in low if n in w}
        flat[f"{b}att.r_k"] = w["r_k"].view(heads(D), -1)
        flat[f"{b}att.output.weight"] = w["weight_o"]
        flat[f"{b}att.ln_x.weight"], flat[f"{b}att.ln_x.bias"] = w["norm_scale"], w["norm_shift"]
        flat[f"{b}ffn.x_k"] = mix["mix"].view(1, 1, D)
        flat[f"{b}ffn.key.weight"] = mix["weight_k"]
        flat[f"{b}ffn.value.weight"] = mix["weight_v"]
    return flat


READ_BY_THE_AUTHORS = """
import sys, numpy, torch
from rwkv.model import RWKV
folder, *ids = sys.argv[1:]
model = RWKV(folder + "/model", "cpu fp32")
logits, _ = model.forward([int(i) for i in ids], None, full_output=True)
numpy.save(folder + "/logits.npy", logits.numpy())
"""


@pytest.mark.slow  # the naive loop above holds it in the quick tests
def test_rwkv_equals_the_authors_package(tmp_path):
    """A whole network of two blocks, which shows that v_first comes through."""
    pytest.importorskip("rwkv")
    D, V = 128, 11
    found = blocks("rwkv", D, 2)
    generator = torch.Generator().manual_seed(4)
    embedding = torch.randn(V, D, generator=generator)
    outer = 0.1 * torch.randn(4, D, generator=generator)
    outer[::2] += 1
    head = torch.randn(V, D, generator=generator) * D**-0.5
    torch.save(authors_file(found, embedding, outer, head), tmp_path / "model.pth")
    ids = torch.randint(V, (STEPS,), generator=generator)
    # In a process of its own: the package changes torch's compiler for all of it.
    subprocess.run(
        [sys.executable, "-c", READ_BY_THE_AUTHORS, str(tmp_path), *map(str, ids.tolist())],
        env={**os.environ, "RWKV_V7_ON": "1", "RWKV_JIT_ON": "1", "RWKV_CUDA_ON": "0"},
        check=True,
        capture_output=True,
    )
    expected = torch.from_numpy(np.load(tmp_path / "logits.npy"))
    for way in WAYS.values():
        x = read("rwkv", found, ops.layer_norm(torch, embedding[ids][None], *outer[:2]), way)
        logits = ops.layer_norm(torch, x, *outer[2:])[0] @ head.T
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def twin():
    """transformers' RWKV-4 of two blocks, and its weights as ours."""
    transformers = pytest.importorskip("transformers")
    D = 24
    config = transformers.RwkvConfig(
        vocab_size=11, context_length=STEPS, hidden_size=D, num_hidden_layers=2, rescale_every=0
    )
    model = transformers.RwkvModel(config)
    found = blocks("rwkv4", D, 2)
    with torch.no_grad():
        for block, theirs in zip(found, model.blocks, strict=True):
            w, mix = block["cell"], block["mix"]
            for i, norm in enumerate((theirs.ln1, theirs.ln2)):
                norm.weight.copy_(block["norms"][2 * i])
                norm.bias.copy_(block["norms"][2 * i + 1])
            att, ffn = theirs.attention, theirs.feed_forward
            for i, part in enumerate(("key", "value", "receptance")):
                getattr(att, f"time_mix_{part}").copy_(1 - w["mix"].view(3, 1, 1, D)[i])
                getattr(att, part).weight.copy_(w[f"weight_{part[0]}"])
            att.time_decay.copy_(w["decay"])
            att.time_first.copy_(w["bonus"])
            att.output.weight.copy_(w["weight_o"])
            ffn.time_mix_key.copy_(1 - mix["mix"][:D])
            ffn.time_mix_receptance.copy_(1 - mix["mix"][D:])
            for part in ("key", "value", "receptance"):
                getattr(ffn, part).weight.copy_(mix[f"weight_{part[0]}"])
    return model, found


@pytest.mark.slow
def test_rwkv4_equals_transformers(twin):
    """Outputs, and the gradients of the keys', decays' and channel mixing's weights."""
    model, found = twin
    ids = torch.randint(11, (2, STEPS), generator=torch.Generator().manual_seed(5))
    expected = model(ids, use_cache=False).last_hidden_state
    att, ffn = model.blocks[0].attention, model.blocks[1].feed_forward
    weights = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    theirs = (att.key.weight, att.value.weight, att.time_decay, att.time_first, ffn.key.weight)
    wanted = torch.autograd.grad((weights * expected).sum(), theirs)
    ours = [found[0]["cell"][name] for name in ("weight_k", "weight_v", "decay", "bonus")]
    ours.append(found[1]["mix"]["weight_k"])
    for leaf in ours:
        leaf.requires_grad_()
    start = model.blocks[0].pre_ln(model.embeddings(ids)).detach()
    for way in WAYS.values():
        x = model.ln_out(read("rwkv4", found, start, way))
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)
        gradients = torch.autograd.grad((weights * x).sum(), ours)
        torch.testing.assert_close(gradients, wanted, rtol=1e-3, atol=1e-4)
