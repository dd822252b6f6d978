"""What a report is made from: a run's model, its log, and its corpus."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm import model_file
from charlm.corpus import Corpus
from charlm.curves import reading
from charlm.directories import LAST_NAME
from charlm.errors import DataError
from charlm.model_file import Model
from charlm.sampling.session import check_has_network
from charlm.training import run_corpus

SPLITS = ("val", "test", "train")  # the first that has text is read from


@dataclass(frozen=True)
class Source:
    """A run: its best model, the entries of the log that the model comes from, and its corpus.

    `logs` are those of all its seeds, and `split` is the split whose `ids` (T,) are read.
    """

    run: Path
    model: Model
    logs: list[Path]
    entries: list[dict[str, Any]]
    corpus: Corpus
    split: str
    ids: np.ndarray


def open_run(run: Path, corpus: Path | None) -> Source:
    """What the run has; `corpus` says where its corpus lies, if it has moved.

    Raises DataError where something is missing, or the corpus is not the one it was trained on.
    """
    logs = reading.logs(run)
    model = model_file.load(run)
    check_has_network(model, str(run))
    seed = model.training.get("seed")
    log = next((log for log in logs if log.parent.name == f"seed-{seed}"), logs[0])
    found = Corpus(_corpus_path(log.parent) if corpus is None else corpus)
    if found.hash != model.corpus_hash:
        raise DataError(
            f"{found.path} is not the corpus that {run} was trained on, or has changed since; name"
            " the right one with --corpus."
        )
    split = next((split for split in SPLITS if found.size(split).tokens), None)
    if split is None:
        raise DataError(f"{found.path} holds no text.")
    return Source(run, model, logs, reading.entries(log), found, split, found.ids(split))


def _corpus_path(home: Path) -> Path:
    """Where the corpus of the run in `home` lies, by what the run says."""
    last = home / LAST_NAME
    about, _ = model_file.read_tensors(last, "charlm_run", tensors=False)
    path, hash = about.get("corpus_path"), str(about.get("corpus_hash"))
    found = run_corpus.corpus_of(home, Path(path), hash) if isinstance(path, str) else None
    if found is None:
        raise DataError(
            f"the corpus of {home} is not where it was, {json.dumps(path)}; say where it is:"
            " --corpus DATA."
        )
    return found
