"""The curves of a run, from its log."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.errors import DataError

LOG_NAME = "log.jsonl"
# What may stand below a curve, and what may stand beside it: its label, and the quantity's name.
ACROSS = {"time": "seconds", "chars": "characters read", "steps": "updates"}
UP = {"bits": "bits/char", "loss": "loss (nats/token)"}


@dataclass(frozen=True)
class Curve:
    """One curve: `x` (N,) and `y` (N,), of the run `run`; `split` is "train" or "val"."""

    run: str
    split: str
    x: np.ndarray
    y: np.ndarray


def curves(path: Path, across: str, up: str) -> list[Curve]:
    """The curves of the run in `path`, or of each of its seeds: training, and validation if any.

    `across` is one of ACROSS and `up` one of UP. Raises DataError where there is no run, or
    nothing that it has logged yet.
    """
    logs = [path / LOG_NAME]
    if not logs[0].exists():
        logs = sorted(path.glob(f"seed-*/{LOG_NAME}"))
    if not logs:
        raise DataError(
            f"{path} holds no {LOG_NAME}; give a run made by `charlm train`, which is a directory."
        )
    return [curve for log in logs for curve in _of_log(log, across, up)]


def _of_log(log: Path, across: str, up: str) -> list[Curve]:
    entries = _entries(log)
    trained = [entry for entry in entries if "loss_nats" in entry]
    validated = [entry for entry in entries if "val_nats_per_char" in entry]
    if not trained:
        raise DataError(f"{log} has no report yet; wait until the run has made some updates.")
    steps = np.array([entry["steps"] for entry in trained], float)
    chars = np.array([entry["chars"] for entry in trained], float)
    losses = np.array([entry["loss_nats"] for entry in trained])
    bits = np.array([entry["bits_per_char"] for entry in trained])
    # A validation does not say how many characters were read by then: as many to an update.
    chars_per_step = chars[-1] / steps[-1]

    def x(entries: list[dict[str, Any]]) -> np.ndarray:
        if across == "time":
            return np.array([entry["elapsed_s"] for entry in entries])
        found = np.array([entry["steps"] for entry in entries], float)
        return found * chars_per_step if across == "chars" else found

    run = str(log.parent)
    found = [Curve(run, "train", x(trained), losses if up == "loss" else bits)]
    if validated:
        nats = np.array([entry["val_nats_per_char"] for entry in validated])
        # Bits per character of the losses are nats per token times this.
        chars_per_token = float(losses[-1] / (bits[-1] * math.log(2))) if bits[-1] else 1.0
        y = nats * chars_per_token if up == "loss" else nats / math.log(2)
        found.append(Curve(run, "val", x(validated), y))
    return found


def _entries(log: Path) -> list[dict[str, Any]]:
    """The objects of a log but its first, the config; what a killed run left unfinished is none."""
    found = []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{log}, line {number}, is not JSON; the log is damaged.") from None
        if not isinstance(entry, dict):
            raise DataError(f"{log}, line {number}, is no object; the log is damaged.")
        if "recovered_from" in entry:
            # What came after was made again.
            found = [one for one in found if one.get("steps", 0) <= entry["steps"]]
        elif number > 1:
            found.append(entry)
    return found
