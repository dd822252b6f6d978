"""A model as a folder for torch: a state dict, the module that it is of, the tokenizer's file.

The state dict, `model.safetensors`, has the names of torch's own layers, and `network.json` what
the module is made with. It is no pickle: charlm writes none. The module, `charlm_step.py`, is never
imported here; it is copied.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from charlm import atomic
from charlm.cells.feed_forward import FeedForward
from charlm.errors import ConfigError
from charlm.model_file import MODEL_NAME, Model, write_tensors
from charlm.network import Network
from charlm.network.stack import Part

MODULE = "charlm_step.py"
LAYERS = ("rnn", "rnn-relu", "lstm", "gru")  # the cells that torch has layers of

Weights = dict[str, np.ndarray]


def check(model: Model) -> None:
    """Raises ConfigError for a model that torch's own layers don't make up."""
    config = model.network.config
    other = [name for name in config.cell.split(",") if name.strip() not in LAYERS]
    other += ["attention"] * config.attention + ["mixtures"] * (config.mixtures > 1)
    other += ["an adaptive head"] * config.adaptive
    if other:
        raise ConfigError(
            f"--to torch is for {', '.join(LAYERS)} with a plain head and without attention, and"
            f" this model has {other[0]}; --to onnx exports it."
        )


def save(model: Model, path: Path, *, force: bool = False) -> None:
    """Writes the folder `path`, whole or not at all; `force` replaces one that was written so.

    Law: the module's logits are those of the numpy engine, but for rounding. Raises ConfigError
    as `check` does, DataError where something else stands there.
    """
    check(model)
    module = resources.files("charlm.exporting").joinpath(MODULE).read_bytes()
    with atomic.whole_directory(path, marker=MODULE, force=force) as folder:
        weights, about = state_dict(model), {"version": model.version}
        write_tensors(
            safetensors.numpy.save_file, weights, folder / MODEL_NAME, "charlm_export", about
        )
        (folder / "network.json").write_text(json.dumps(_arguments(model)), encoding="utf-8")
        (folder / "tokenizer.json").write_text(model.tokenizer.exported(), encoding="utf-8")
        (folder / MODULE).write_bytes(module)


def state_dict(model: Model) -> Weights:
    """The weights by the names that they have in the module."""
    learners = model.network.learners(model.weights, ())
    members = [_state_dict(network, flat) for network, flat, _ in learners]
    if len(members) == 1:
        return members[0]
    return {f"members.{k}.{name}": x for k, own in enumerate(members) for name, x in own.items()}


def _state_dict(network: Network, flat: Weights) -> Weights:
    config = network.config
    found = {
        "embedding.weight": flat["embedding"],
        "head.weight": flat["embedding"][:-1] if config.tied else flat["head.weight"],
        "head.bias": flat["head.bias"],
        **_norm(flat, "norm.", "norm"),
    }
    if "head.projection" in flat:
        found["projection.weight"] = flat["head.projection"]
    block = -1
    for part in network.parts:
        if isinstance(part.cell, FeedForward):
            found[f"blocks.{block}.inward.weight"] = flat[f"{part.name}weight_x"]
            found[f"blocks.{block}.outward.weight"] = flat[f"{part.name}weight_out"]
            found |= _norm(flat, f"{part.name}norm.", f"blocks.{block}.feed_norm")
        else:
            block += 1
            found |= _layer(flat, part, f"blocks.{block}.layer.")
            found |= _norm(flat, f"{part.name}norm.", f"blocks.{block}.norm")
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def _layer(flat: Weights, part: Part, prefix: str) -> Weights:
    """The weights of a recurrent layer; one with a single bias has it on the side of x."""
    name = part.name
    bias = flat.get(f"{name}bias")
    on_x = flat[f"{name}bias_x"] if bias is None else bias
    on_h = flat[f"{name}bias_h"] if bias is None else np.zeros_like(bias)
    return {
        f"{prefix}weight_ih_l0": flat[f"{name}weight_x"],
        f"{prefix}weight_hh_l0": flat[f"{name}weight_h"],
        f"{prefix}bias_ih_l0": on_x,
        f"{prefix}bias_hh_l0": on_h,
    }


def _norm(flat: Weights, ours: str, theirs: str) -> Weights:
    """The weights of a norm, which may have none."""
    names = {"scale": "weight", "shift": "bias"}
    return {
        f"{theirs}.{name}": flat[f"{ours}{own}"]
        for own, name in names.items()
        if f"{ours}{own}" in flat
    }


def _arguments(model: Model) -> dict[str, Any]:
    """What the module's Network is made with."""
    config = model.network.config
    _, flat, _ = model.network.learners(model.weights, ())[0]
    cells = [name.strip() for name in config.cell.split(",")]
    hidden = 0
    if config.feed_forward:
        name = "blocks.0.feed_forward.weight_out"
        hidden = flat[name].shape[1]
    blocks = [
        {
            "cell": cells[layer % len(cells)],
            "inputs": config.width if layer else config.embedding,
            "width": config.width,
            "norm": config.norm,
            "residual": config.residual,
            "hidden": hidden,
        }
        for layer in range(config.layers)
    ]
    return {
        **({"members": config.members} if config.members > 1 else {}),
        "vocabulary": model.tokenizer.vocabulary,
        "embedding": config.embedding,
        "projected": "head.projection" in flat,
        "blocks": blocks,
    }
