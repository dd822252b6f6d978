"""Whole runs in this process, and what a run directory holds."""

import json
import signal
import time

import numpy as np
from safetensors.numpy import load_file

from charlm.config import NetworkConfig, TrainingConfig
from charlm.training import begin, directory
from charlm.training.standing import Listener

TEXT = "the cat sat on the mat; the dog sat on the log.\n" * 40
SMALL_NETWORK = {"width": 8}

SMALL_RUN = {"steps": 6, "seed": 1, "batch": 4, "context": 8, "device": "cpu", "ngram": 0}


def run(corpus, out, *, network=None, training=None, listener=None, late_s=0.0):
    directory.check_directory(out, force=True)
    one = begin.begin(
        corpus,
        out,
        NetworkConfig(**SMALL_NETWORK | (network or {})),
        TrainingConfig(**SMALL_RUN | (training or {})),
        listener or Listener(),
        time.monotonic() - late_s,
    )
    return one, one.go()


def final_weights(one):
    return {name: w.detach().numpy().copy() for name, w in one.trainer.weights.items()}


def differ(a, b):
    return a.keys() != b.keys() or any(not np.array_equal(a[n], b[n]) for n in a)


def stop_at(steps):
    """A listener that asks a run to stop, by SIGTERM, during that update."""

    def update(progress, tokens, seen=[]):  # noqa: B006
        seen.append(tokens)
        if len(seen) == steps:
            signal.raise_signal(signal.SIGTERM)

    return Listener(update=update)


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_times(entries):
    return [{k: v for k, v in entry.items() if k != "elapsed_s"} for entry in entries]


def weights(run):
    return {name: value.tolist() for name, value in load_file(run / "last.safetensors").items()}
