"""`last.safetensors`: everything a run needs to go on, in one file of plain data.

The tensors are the trainer's; the metadata has one entry, `charlm_run`: a JSON object with the
format number, both configs, the corpus (its path and hash), the trainer's counts and the run's.
"""

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from charlm import __version__
from charlm.config import NetworkConfig, TrainingConfig
from charlm.errors import ConfigError, DataError
from charlm.model_file import read_tensors, write_tensors
from charlm.training.directory import check_last
from charlm.training.ranks import Ranks

FORMAT = 1
SEEN_WITHIN_S = 90.0  # a shared file system shows others what is new after up to a minute


@dataclass(frozen=True)
class Checkpoint:
    """A run at one moment, as plain data and tensors."""

    network: NetworkConfig
    training: TrainingConfig
    corpus_path: Path
    corpus_hash: str
    tensors: dict[str, Tensor]
    trainer: dict[str, Any]
    run: dict[str, Any]


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint, whole or not at all: a crash leaves the one before it."""
    about = {
        "format": FORMAT,
        "version": __version__,
        "network": checkpoint.network.to_dict(),
        "training": checkpoint.training.to_dict(),
        "corpus_path": str(checkpoint.corpus_path),
        "corpus_hash": checkpoint.corpus_hash,
        "trainer": checkpoint.trainer,
        "run": checkpoint.run,
    }
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    write_tensors(safetensors.torch.save_file, tensors, path, "charlm_run", about)


def load(path: Path) -> Checkpoint:
    """The checkpoint in `path`. Raises DataError where there is none or it cannot be used."""
    check_last(path)
    about, tensors = read_tensors(path, "charlm_run", framework="pt")
    try:
        if about["format"] != FORMAT:
            raise DataError(
                f"{path} has format {about['format']}, and this charlm reads {FORMAT};"
                f" it was written by charlm {about['version']}."
            )
        if not (isinstance(about["trainer"], dict) and isinstance(about["run"], dict)):
            raise TypeError("what it tells of the run is no object")
        return Checkpoint(
            network=NetworkConfig.from_dict(about["network"]),
            training=TrainingConfig.from_dict(about["training"]),
            corpus_path=Path(about["corpus_path"]),
            corpus_hash=about["corpus_hash"],
            tensors=tensors,
            trainer=about["trainer"],
            run=about["run"],
        )
    except (KeyError, TypeError, ConfigError) as error:
        raise DataError(f"{path} is damaged or not a charlm checkpoint ({error}).") from error


def seen(path: Path, ranks: Ranks) -> None:
    """Returns when this rank finds in `path` what the first does, which comes here to tell it.

    Raises DataError where another file is there, after some time, too.
    """
    if ranks.count == 1:
        return
    mine = _sum(path)
    (first,) = ranks.from_first(mine)
    until = time.monotonic() + SEEN_WITHIN_S
    while mine != first:
        if time.monotonic() > until:
            raise DataError(
                f"{path} is not for every process the file that the first one has; every machine"
                " must see the same run directory."
            )
        time.sleep(1.0)
        mine = _sum(path)


def _sum(path: Path) -> int:
    """A checksum of the file; -1 where there is none."""
    try:
        return zlib.crc32(path.read_bytes())
    except FileNotFoundError:
        return -1
