"""The one-file model: weights, config, tokenizer and history in one `.safetensors` file.

The weights are float32 tensors by name; those of counts and mixer begin with "ngram." and
"mixer.". The file's metadata has one entry, `charlm`: a JSON object with the format number,
charlm's version, the network's and the training's config, the tokenizer, what ends a record, the
corpus hash and the history. Nothing else is needed to sample. No pickle.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from charlm import __version__, atomic
from charlm.config import RECORDS, NetworkConfig
from charlm.directories import MODEL_NAME
from charlm.errors import ConfigError, DataError
from charlm.failures import named
from charlm.mixture import Mixer
from charlm.network import Network, build
from charlm.ngram import Ngram
from charlm.tokenizer import Tokenizer
from charlm.untrusted import LONGEST, fits, read_object

FORMAT = 1
NGRAM, MIXER = "ngram.", "mixer."  # what the names of their arrays begin with
_SURROGATE = re.compile("[\ud800-\udfff]")
# What a file is by the entry in its metadata, and what makes one.
KINDS = {
    "charlm": ("a model", "`charlm train CORPUS -o RUN` makes a run, and in it a model"),
    "charlm_run": ("a run's state", "`charlm train CORPUS -o RUN` makes a run"),
    "charlm_state": ("a state", "`charlm sample MODEL --save-state FILE` makes a state"),
    "charlm_export": ("weights for torch", "`charlm export MODEL --to torch -o DIR` makes them"),
}


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to use it; `weights` are numpy arrays by name."""

    network: Network
    weights: dict[str, np.ndarray]
    tokenizer: Tokenizer
    records: str = "none"
    corpus_hash: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    ngram: Ngram | None = None
    mixer: Mixer | None = None  # of the network and the counts, where there are any

    @property
    def counts(self) -> tuple[Ngram, Mixer] | None:
        """The n-gram model and what mixes it with the network; None where there is none."""
        return None if self.ngram is None else (self.ngram, self.mixer)

    @cached_property
    def hash(self) -> str:
        """The sha256, in hex, of all that decides what the model predicts."""
        digest = hashlib.sha256()
        config = self.network.config.to_dict()
        if config["members"] == 1:
            del config["members"]  # a model from before there was such a thing keeps its hash
        shape = json.dumps(config, sort_keys=True)
        digest.update(f"{shape}\n{self.tokenizer.hash}\n{self.records}\n".encode())
        arrays = self.arrays()
        for name in sorted(arrays):
            digest.update(name.encode() + b"\n" + np.ascontiguousarray(arrays[name]).data)
        return digest.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the file by its name there: weights, and counts and mixer if any."""
        found = dict(self.weights)
        if self.ngram is not None:
            found |= {f"{NGRAM}{name}": array for name, array in self.ngram.arrays.items()}
            found |= {f"{MIXER}{name}": array for name, array in self.mixer.named().items()}
        return found


def save(model: Model, path: Path) -> None:
    """Writes the model to `path`, whole or not at all."""
    about = {
        "format": FORMAT,
        "version": model.version,
        "network": model.network.config.to_dict(),
        "training": model.training,
        "tokenizer": model.tokenizer.to_json(),
        "records": model.records,
        "corpus_hash": model.corpus_hash,
        "history": model.history,
    }
    write_tensors(safetensors.numpy.save_file, model.arrays(), path, "charlm", about)


def find(path: Path) -> Path:
    """The model file that `path` means: itself, or the best model of a run directory."""
    if not path.is_dir():
        return path
    if not (path / MODEL_NAME).exists():
        raise DataError(
            f"{path} holds no {MODEL_NAME}; give a run made by `charlm train`, or a model file."
        )
    return path / MODEL_NAME


def load(path: Path) -> Model:
    """The model in the file or run directory `path`, checked against its own config.

    Raises DataError where the file is missing, damaged, of another kind or of a later format.
    """
    path = find(path)
    about, weights = read_tensors(path, "charlm")
    if about.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {about.get('format')}, and this charlm reads {FORMAT};"
            f" it was written by charlm {about.get('version')}."
        )
    try:
        if not fits(str, about["tokenizer"]):
            raise DataError(f"{path} is damaged: its tokenizer is no text.")
        tokenizer = Tokenizer.from_json(about["tokenizer"])
        network = build(NetworkConfig.from_dict(about["network"]), tokenizer.vocabulary)
        counts, mixing = (_taken(weights, prefix) for prefix in (NGRAM, MIXER))
        check_shapes(weights, network.shapes(), path)
        ngram = Ngram.checked(tokenizer.vocabulary, counts) if counts else None
        mixer = Mixer.checked(mixing, ngram.order, tokenizer.vocabulary) if ngram else None
        for name in ("records", "corpus_hash", "training", "history", "version"):
            if not fits(Model.__annotations__[name], about[name]):
                raise DataError(f"{path} is damaged: its {name} is {str(about[name])[:40]!r}.")
        if about["records"] not in RECORDS:
            raise DataError(f"{path} has records of a kind that is not known.")
        return Model(
            network=network,
            weights=weights,
            tokenizer=tokenizer,
            records=about["records"],
            corpus_hash=about["corpus_hash"],
            training=about["training"],
            history=about["history"],
            version=about["version"],
            ngram=ngram,
            mixer=mixer,
        )
    except (KeyError, TypeError, ConfigError) as error:
        raise DataError(f"{path} is not a usable charlm model ({error}).") from error


def write_tensors(
    save_file: Callable[..., None],
    tensors: dict[str, Any],
    path: Path,
    key: str,
    about: dict[str, Any],
) -> None:
    """Writes what `read_tensors` reads, whole or not at all.

    `save_file` is that of safetensors for the kind of `tensors`.
    """
    with atomic.whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, {key: _json(about)})
        except safetensors.SafetensorError as error:
            # It tells of a full disk in words of its own.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), str(error)) from error


def read_tensors(
    path: Path, key: str, framework: str = "numpy", *, tensors: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON object under `key` in a safetensors file's metadata, and its tensors by name.

    Without `tensors` there are none of them.
    Raises DataError for a file that is not there, not safetensors, or has no such entry.
    """
    kind, maker = KINDS[key]
    if not path.exists():
        raise DataError(f"{path} does not exist; {maker}.")
    if not path.is_file():
        raise DataError(f"{path} is not a file; {maker}.")
    try:
        with named(str(path)), path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > LONGEST:
                raise ValueError("it does not begin as one does")
        with named(str(path)), safetensors.safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            if key not in metadata:
                others = [name for other, (name, _) in KINDS.items() if other in metadata]
                found = others[0] if others else "a safetensors file, but not one that charlm made"
                raise DataError(f"{path} is {found}; {maker}.")
            about = read_object(metadata[key])
            wanted = file.keys() if tensors else ()
            return about, {name: file.get_tensor(name) for name in wanted}
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged or not {kind} file ({error}).") from error


def _taken(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, by the rest of them; they leave `arrays`."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _json(about: dict[str, Any]) -> str:
    """The object as JSON, and as short: a letter that is not ASCII would take seven bytes else."""
    text = json.dumps(about, ensure_ascii=False)
    # A file's name need not be Unicode, and the header is UTF-8.
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def check_shapes(
    weights: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]], path: Path
) -> None:
    """Raises DataError unless `weights` are exactly those of `shapes`, in float32."""
    if weights.keys() != shapes.keys():
        odd = sorted(weights.keys() ^ shapes.keys())
        raise DataError(f"{path} does not hold the weights its config asks for ({odd[0]}).")
    for name, shape in shapes.items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            raise DataError(
                f"{path}: {name} is {weights[name].dtype} {weights[name].shape}"
                f" where its config asks for float32 {shape}."
            )
        if not np.isfinite(weights[name]).all():
            raise DataError(f"{path} is damaged: {name} has entries that are not numbers.")
