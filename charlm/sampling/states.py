"""A place in a text as a file: what a model has made of a prompt, to go on from it later.

A `.safetensors` file with the state's arrays and the logits of what comes next. Its size does not
depend on how much was read. Going on from it is the same, to the bit, as reading the prompt again.
"""

from pathlib import Path

import numpy as np
import safetensors.numpy

from charlm import __version__, atomic
from charlm.errors import DataError
from charlm.model_file import Model, read_tensors, write_tensors
from charlm.sampling.generate import Place

FORMAT = 1
KEY = "charlm_state"


def check_output(path: Path) -> None:
    """Raises DataError where `path` is there already and no state; a state gives way to another."""
    if path.exists() and not atomic.is_stream(path):
        try:
            read_tensors(path, KEY)
        except DataError:
            raise DataError(f"{path} exists and is no state; choose another name.") from None


def save(place: Place, model: Model, path: Path) -> None:
    """Writes `place` to a file, whole or not at all."""
    arrays = {"logits": place.logits} | {
        f"{p}.{a}": array for p, part in enumerate(place.state) for a, array in enumerate(part)
    }
    about = {"format": FORMAT, "version": __version__, "model": model.hash}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_tensors(safetensors.numpy.save_file, arrays, path, KEY, about)


def load(path: Path, model: Model) -> Place:
    """The place in a file that `save` made with the same model.

    Raises DataError where the file is missing, damaged, of another kind or of another model.
    """
    about, arrays = read_tensors(path, KEY)
    if about.get("format") != FORMAT:
        raise DataError(f"{path} is of a later format than this charlm knows ({FORMAT}).")
    if about.get("model") != model.hash:
        raise DataError(
            f"{path} is the state of another model. Make it with this one:"
            " charlm sample MODEL --prompt TEXT --save-state FILE"
        )
    like = np.empty(0, dtype=np.float32)
    initial = model.network.initial_state(np, {"embedding": like}, 1)
    if model.ngram is not None:
        initial = (*initial, (model.ngram.initial_history(1),))
    named = {f"{p}.{a}": one for p, part in enumerate(initial) for a, one in enumerate(part)}
    named["logits"] = np.empty((1, model.tokenizer.vocabulary), dtype=np.float32)
    if arrays.keys() != named.keys():
        raise DataError(f"{path} is damaged: it does not hold the state of this model.")
    for name, wanted in named.items():
        found = arrays[name]
        same = found.shape == wanted.shape and found.dtype == wanted.dtype
        if not same or not np.isfinite(found).all():
            raise DataError(f"{path} is damaged: {name} is not what this model's state has there.")
    state = tuple(
        tuple(arrays[f"{p}.{a}"] for a in range(len(part))) for p, part in enumerate(initial)
    )
    return Place(arrays["logits"], state)
