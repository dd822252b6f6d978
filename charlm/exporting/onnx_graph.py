"""The step of a model as an ONNX graph: ids and the state go in, logits and the state come out.

`ids` is (B,) int64, `logits` is (B, V), and for each array of the state there is an input `state.X`
and an output `next.X`, X being its place and its name in the network. The metadata has three
entries: `charlm`, a JSON object that says what to begin with; `tokenizer`, the JSON of a
`tokenizers` file; and `network`, the config.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from charlm import atomic
from charlm.errors import ConfigError
from charlm.model_file import Model
from charlm.packages import missing_packages_named

OPERATORS = 18  # the operator set, and with it the least IR version that has it
IR_VERSION = 8
LARGEST = 2**31 - 1  # bytes: what a protocol buffer can be
REST = 2**27  # of them, for all that is no weight: the steps, the tokenizer


def save(model: Model, path: Path) -> None:
    """Writes the graph of the model's step to `path`, whole or not at all.

    Law: a runtime gets logits and states that are those of the numpy engine, but for rounding.
    Raises ConfigError where onnx is not installed, and for a model that is no graph of one file.
    """
    with missing_packages_named():
        import onnx
    # Before the graph is made, as a protocol buffer that large can't even be checked.
    if sum(weight.nbytes for weight in model.weights.values()) > LARGEST - REST:
        raise ConfigError("the model has over 2 GB of weights, more than one ONNX file holds.")
    proto = _graph(model, onnx)
    with atomic.whole_file(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def state_names(model: Model) -> list[str]:
    """The names of the arrays of the state, in order, such as blocks.0.cell.h."""
    return [
        f"{part.name}{name}"
        for part in model.network.parts
        for name in part.cell.state_shapes(part.place)
    ]


def _graph(model: Model, onnx: Any) -> Any:
    from charlm.exporting.graph import Graph, Traced

    network, names = model.network, state_names(model)
    graph = Graph()
    w = network.arrange({name: graph.weight(name, x) for name, x in model.weights.items()})
    flat = network.arrange(model.weights)
    # Arrays of no rows: see graph.py.
    ids = Traced(graph, "ids", np.empty(0, np.int64))
    named = iter(names)
    state = tuple(
        tuple(Traced(graph, f"state.{next(named)}", array) for array in part)
        for part in network.initial_state(np, flat, 0)
    )
    inputs = [ids, *itertools.chain(*state)]
    logits, after = network.step(np, w, ids, state)
    results = [logits, *itertools.chain(*after)]
    outputs = [
        graph.add("Identity", [result], result.value, name=name)
        for result, name in zip(results, ["logits", *(f"next.{n}" for n in names)], strict=True)
    ]
    helper = onnx.helper

    def described(array: Traced) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(array.name, kind, [n or "B" for n in array.shape])

    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "charlm",
            list(map(described, inputs)),
            list(map(described, outputs)),
            initializer=graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPERATORS)],
        ir_version=IR_VERSION,
        producer_name="charlm",
        producer_version=model.version,
    )
    helper.set_model_props(proto, _metadata(model, names))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _metadata(model: Model, names: list[str]) -> dict[str, str]:
    network, tokenizer = model.network, model.tokenizer
    begin = network.initial_state(np, network.arrange(model.weights), 1)
    about = {
        "format": 1,
        # What is read before the first id, from a state filled with these numbers.
        "start": network.start,
        "begin": {
            f"state.{name}": float(array.flat[0])
            for name, array in zip(names, itertools.chain(*begin), strict=True)
        },
        "vocabulary": tokenizer.vocabulary,
        "level": tokenizer.level,
        "boundary": tokenizer.boundary,
        "records": model.records,
    }
    return {
        "charlm": json.dumps(about),
        "tokenizer": tokenizer.exported(),
        "network": json.dumps(network.config.to_dict()),
    }
