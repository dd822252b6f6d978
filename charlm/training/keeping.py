"""The files of a run, as it goes: its log, its best model, and what going on with it needs.

Of several ranks the first alone writes them; the others have a keeper that does nothing.
"""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm import atomic, model_file
from charlm.corpus import Corpus
from charlm.directories import LAST_NAME, LOG_NAME
from charlm.model_file import Model
from charlm.score import Score
from charlm.training import checkpoint
from charlm.training.mixing import Mixed
from charlm.training.standing import Listener, Standing
from charlm.training.trainer import Trainer


class Keeper:
    """Writes what `trainer` has come to into the directory `out`."""

    def __init__(self, out: Path, corpus: Corpus, trainer: Trainer, listener: Listener) -> None:
        self.out = out
        self.corpus = corpus
        self.trainer = trainer
        self.listener = listener

    def log(self, entry: dict[str, Any], standing: Standing) -> None:
        """Adds an object to the log, which then has so many bytes as `standing` says."""
        if not self.trainer.ranks.is_first:
            return
        path = self.out / LOG_NAME
        with atomic.room_for(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
            standing.log_bytes = log.tell()
        self.listener.report(entry)

    def save(self, standing: Standing) -> None:
        """Writes `last.safetensors`; on every rank at once, as the rows of all are in it."""
        tensors, about = self.trainer.state_dict()
        if not self.trainer.ranks.is_first:
            return
        checkpoint.save(
            checkpoint.Checkpoint(
                network=self.trainer.network.config,
                training=self.trainer.config,
                corpus_path=self.corpus.path.resolve(),
                corpus_hash=self.corpus.hash,
                tensors=tensors,
                trainer=about,
                run=asdict(standing),
            ),
            self.out / LAST_NAME,
        )

    def save_model(self, standing: Standing, elapsed_s: float, score: Score | None) -> None:
        """Writes `model.safetensors`, with `score`, where it was validated, in its history."""
        trainer = self.trainer
        if not trainer.ranks.is_first:
            return
        history = {
            "steps": trainer.steps,
            "epochs": trainer.tokens / max(1, self.corpus.size("train").tokens),
            "elapsed_s": elapsed_s,
            "val_nats_per_char": score.nats_per_char if score else None,
            "val_bits_per_char": score.bits_per_char if score else None,
            "val_chars": score.chars if score else 0,
        }
        if standing.init:
            history["init"] = standing.init
        model = Model(
            network=trainer.network,
            weights=self.weights(),
            tokenizer=self.corpus.tokenizer,
            records=self.corpus.records,
            corpus_hash=self.corpus.hash,
            training=trainer.config.to_dict(),
            history=history,
        )
        model_file.save(model, self.out / model_file.MODEL_NAME)

    def save_mixed(self, mixed: Mixed, standing: Standing, elapsed_s: float) -> None:
        """Writes the best model again, with counts and what it reached with them."""
        history = {**mixed.model.history, **mixed.history(), "elapsed_s": elapsed_s}
        model = replace(mixed.model, history=history)
        model_file.save(model, self.out / model_file.MODEL_NAME)
        if math.isfinite(mixed.nats_per_char):
            entry = {"steps": self.trainer.steps, **mixed.report(), "elapsed_s": elapsed_s}
            self.log(entry, standing)

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that are kept, or their average, as numpy arrays."""
        weights = self.trainer.average.weights
        return {n: w.detach().float().cpu().numpy() for n, w in weights.items()}
