"""What is exported computes what charlm does, in programs that know nothing of charlm."""

import importlib.util
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.networks import PAIRS as ALL_PAIRS
from support.networks import SHAPES as ALL_SHAPES
from support.networks import make
from support.paths import DOCS

from charlm import model_file
from charlm.cells import CELLS
from charlm.errors import ConfigError
from charlm.exporting import graph, onnx_graph, torch_module
from charlm.sampling.engine import NumpyEngine
from charlm.tokenizer import Tokenizer, forms

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra onnx)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

PAGE = DOCS / "how-to" / "export.md"
SHAPES = [name for name, shape in ALL_SHAPES.items() if "bidirectional" not in shape]
PAIRS = [(cell, shape) for cell, shape in ALL_PAIRS if shape in SHAPES]
every_cell = pytest.mark.parametrize("cell", CELLS)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
GREEDY = 500


def model_of(cell, shape="plain"):
    """A model whose weights hide nothing, and ids (B, T) for it."""
    network, weights, ids = make(cell, shape)
    letters = "abcdefghijk"[: network.vocabulary]
    form = forms.char_form(letters, boundary=False, unknown=False, normalize="none")
    flat = {name: weight.numpy() for name, weight in weights.items()}
    return model_file.Model(network, flat, Tokenizer.from_json(form)), ids.numpy()


class Session:
    """An exported graph on onnxruntime; the state goes on from what its metadata says."""

    def __init__(self, path, batch):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.metadata = self.run.get_modelmeta().custom_metadata_map
        self.about = json.loads(self.metadata["charlm"])
        self.state = {
            one.name: np.full([batch, *one.shape[1:]], self.about["begin"][one.name], np.float32)
            for one in self.run.get_inputs()
            if one.name != "ids"
        }

    def step(self, ids):
        logits, *after = self.run.run(None, {"ids": ids, **self.state})
        self.state = dict(zip(self.state, after, strict=True))
        return logits


@pytest.mark.parametrize(("cell", "shape"), PAIRS)
def test_the_graph_steps_as_the_engine_does(cell, shape, tmp_path):
    """Logits and state, for any number of rows."""
    model, ids = model_of(cell, shape)
    onnx_graph.save(model, tmp_path / "model.onnx")
    engine = NumpyEngine(model.network, model.weights)
    for batch in (1, 3):
        session = Session(tmp_path / "model.onnx", batch)
        state = engine.initial_state(batch)
        for t in range(12):
            logits, state = engine.step(ids[:batch, t], state)
            assert np.allclose(session.step(ids[:batch, t]), logits, **CLOSE)
        for ours, theirs in zip(itertools.chain(*state), session.state.values(), strict=True):
            assert np.allclose(ours, theirs, **CLOSE)


@every_cell
def test_onnxruntime_writes_the_same_greedy_text(cell, tmp_path):
    model, _ = model_of(cell)
    onnx_graph.save(model, tmp_path / "model.onnx")
    engine, session = NumpyEngine(model.network, model.weights), Session(tmp_path / "model.onnx", 1)
    state, ids, theirs = engine.initial_state(1), np.array([engine.start]), []
    assert session.about["start"] == engine.start
    for _ in range(GREEDY):
        logits, state = engine.step(ids, state)
        found = session.step(ids)
        assert np.allclose(found, logits, **CLOSE)
        ids = logits.argmax(-1)
        theirs.append(found.argmax(-1) == ids)
    assert np.all(theirs)


def test_the_graph_says_what_it_is(model, tmp_path):
    loaded = model_file.load(model)
    onnx_graph.save(loaded, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    assert [one.name for one in proto.graph.input] == ["ids", "state.blocks.0.cell.h"]
    assert [one.name for one in proto.graph.output] == ["logits", "next.blocks.0.cell.h"]
    named = {one.name for one in proto.graph.initializer}
    assert loaded.weights.keys() <= named
    metadata = {one.key: one.value for one in proto.metadata_props}
    assert Tokenizer.from_json(metadata["tokenizer"]).hash == loaded.tokenizer.hash
    assert json.loads(metadata["network"]) == loaded.network.config.to_dict()
    about = json.loads(metadata["charlm"])
    assert about["vocabulary"] == about["start"] == loaded.tokenizer.vocabulary
    formats = (DOCS / "formats.md").read_text(encoding="utf-8").split("## Exports")[1]
    assert set(about) <= set(re.findall(r"`(\w+)`", formats))


class Step:
    """A step over traced arrays, of what an odd cell might do."""

    def __init__(self):
        self.graph = graph.Graph()
        self.x = graph.Traced(self.graph, "x", np.empty((0, 6), np.float32))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda x: np.sin(x), "sin"),
        (lambda x: np.cumsum(x, -1), "cumsum"),
        (lambda x: np.add.accumulate(x, -1), "add"),
        (lambda x: x if x > 0 else -x, "numbers"),
        (lambda x: int(x.sum(-1)), "numbers"),
        (lambda x: x[0], "rows"),
    ],
)
def test_what_no_graph_does_is_told(step, words):
    with pytest.raises(ConfigError, match=words):
        step(Step().x)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x[:, 2:5],
        lambda x: x[..., -2:],
        lambda x: x[:, None, 1],
        lambda x: x[..., 1, None],
        lambda x: x.reshape(*x.shape[:-1], 2, -1).swapaxes(1, 2),
        lambda x: x.reshape(*x.shape[:-1], 2, 3)[:, :, ::2].sum(-1),
        lambda x: np.concatenate((x, 2.0 * x), -1),
        lambda x: np.where(x > 0, x, -1.0) + np.log1p(np.abs(x)),
        lambda x: np.where((x <= 1) & (x >= -1), np.sqrt(np.abs(x)), np.minimum(x, 0.5)),
        lambda x: np.where(x > 0, 1.0, -1.0) * np.where(np.arange(6) < 3, x, 0.0),
        lambda x: np.amax(x, -1, keepdims=True) / (1 + np.exp(-x)),
        lambda x: np.clip(x, -0.5, 0.5) - x.clip(0.1),
    ],
)
def test_an_operation_of_a_graph_is_that_of_numpy(compute):
    """Each as onnx's own reference evaluates it, which is no runtime's."""
    from onnx.reference import ReferenceEvaluator

    step = Step()
    y = compute(step.x)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    proto = helper.make_model(
        helper.make_graph(
            step.graph.nodes,
            "one",
            [helper.make_tensor_value_info("x", kind, ["B", 6])],
            [helper.make_tensor_value_info(y.name, kind, [n or "B" for n in y.shape])],
            initializer=step.graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", onnx_graph.OPERATORS)],
    )
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    (found,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert np.allclose(found, compute(x), atol=1e-6)
    assert found.shape[1:] == y.shape[1:]


def exported_module(folder):
    """The module in an exported folder, imported from there."""
    spec = importlib.util.spec_from_file_location("exported", folder / torch_module.MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_beyond_torch(shape):
    return ALL_SHAPES[shape].keys() & {"mixtures", "attention", "adaptive"}


@pytest.mark.parametrize("shape", [s for s in SHAPES if not is_beyond_torch(s)])
@pytest.mark.parametrize("cell", torch_module.LAYERS)
def test_the_module_computes_what_the_engine_does(cell, shape, tmp_path):
    """Of whole contexts in two pieces."""
    model, ids = model_of(cell, shape)
    torch_module.save(model, tmp_path / "exported")
    network, start = exported_module(tmp_path / "exported").load(tmp_path / "exported")
    engine = NumpyEngine(model.network, model.weights)
    assert start == engine.start
    state, expected = engine.initial_state(len(ids)), []
    for t in range(ids.shape[1]):
        logits, state = engine.step(ids[:, t], state)
        expected.append(logits)
    with torch.inference_mode():
        first, between = network(torch.tensor(ids[:, :7]))
        second, _ = network(torch.tensor(ids[:, 7:]), between)
    found = torch.cat((first, second), 1).numpy()
    assert np.allclose(found, np.stack(expected, 1), **CLOSE)


def test_other_models_are_refused_for_torch():
    for cell in CELLS:
        for shape in SHAPES:
            model, _ = model_of(cell, shape)
            if cell in torch_module.LAYERS and not is_beyond_torch(shape):
                torch_module.check(model)
            else:
                with pytest.raises(ConfigError, match="--to onnx exports it"):
                    torch_module.check(model)


BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
ALONE = "import sys\nsys.modules['charlm'] = None  # its import would fail\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "output", "program"),
    [("onnx", "model.onnx", BLOCKS[0]), ("torch", "exported", BLOCKS[1])],
    ids=["onnx", "torch"],
)
def test_another_program_writes_what_charlm_writes(
    charlm, model, tmp_path, target, output, program
):
    """The programs are those of the page on exporting, and import no charlm."""
    done = charlm("export", model, "--to", target, "-o", output, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1
    theirs = subprocess.run(
        [sys.executable, "-c", ALONE + program],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert theirs.returncode == 0, theirs.stderr
    ours = charlm("sample", model, "--prompt", "the ", "--greedy", "--length", GREEDY)
    assert theirs.stdout.rstrip("\n") == ours.stdout.decode().rstrip("\n")
    assert len(theirs.stdout) > GREEDY


def test_mistakes_are_told_in_a_line(charlm, model, both_sides_model, tmp_path):
    def said(*args):
        done = charlm("export", *args, cwd=tmp_path)
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()

    onto = ("--to", "onnx", "-o", "model.onnx")
    assert said(model, *onto)[0] == 0
    before = (tmp_path / "model.onnx").read_bytes()
    code, text = said(model, *onto)
    assert code == 1
    assert "exists already" in text
    assert said(model, *onto, "--force")[0] == 0
    assert (tmp_path / "model.onnx").read_bytes() == before
    code, text = said(both_sides_model, "--to", "onnx", "-o", "both.onnx")
    assert code == 1
    assert "bidirectional" in text
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    code, text = said(model, "--to", "torch", "-o", "mine", "--force")
    assert code == 1
    assert "charlm did not make it" in text
    assert said(model, "--to", "torch", "-o", "folder")[0] == 0
    assert "exists already" in said(model, "--to", "torch", "-o", "folder")[1]
    assert said(model, "--to", "torch", "-o", "folder", "--force")[0] == 0
    code, text = said("folder", *onto[:3], "other.onnx")
    assert code == 1
    assert "weights for torch" in text
    assert said("nowhere", *onto[:3], "other.onnx")[0] == 1
    assert said(model, "-o", "other.onnx")[0] == said(model, "--to", "onnx")[0] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "mine", "folder"}


def test_it_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match="pip install onnx"):
        onnx_graph.save(model_file.load(model), tmp_path / "model.onnx")


def test_what_one_file_does_not_hold_is_told_before_a_graph_is_made(model, tmp_path, monkeypatch):
    loaded = model_file.load(model)
    size = sum(weight.nbytes for weight in loaded.weights.values())
    made = []
    whole = onnx_graph._graph
    monkeypatch.setattr(onnx_graph, "_graph", lambda *args: made.append(1) or whole(*args))
    monkeypatch.setattr(onnx_graph, "LARGEST", onnx_graph.REST + size - 1)
    with pytest.raises(ConfigError, match="over 2 GB"):
        onnx_graph.save(loaded, tmp_path / "model.onnx")
    assert made == list(tmp_path.iterdir()) == []
    monkeypatch.setattr(onnx_graph, "LARGEST", onnx_graph.REST + size)
    onnx_graph.save(loaded, tmp_path / "model.onnx")
    assert made == [1]


def test_nothing_exported_is_a_pickle(model, tmp_path):
    torch_module.save(model_file.load(model), tmp_path / "exported")
    names = {path.name for path in (tmp_path / "exported").iterdir()}
    assert names == {"model.safetensors", "network.json", "tokenizer.json", torch_module.MODULE}
    assert "pickle" not in (tmp_path / "exported" / torch_module.MODULE).read_text()


def test_the_page_lists_what_is_exported():
    """The table of the page, from the registry; all cells are exported, as the laws above say."""
    no = "no: torch has no such layer"
    rows = [
        f"| `{cell}` | yes | {'yes' if cell in torch_module.LAYERS else no} |" for cell in CELLS
    ]
    assert "\n".join(["| cell | `--to onnx` | `--to torch` |", "|---|---|---|", *rows]) in (
        PAGE.read_text(encoding="utf-8")
    )
