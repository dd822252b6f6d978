"""The curves of a run, from its log."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config import NO_CELL
from charlm.directories import LOG_NAME
from charlm.errors import DataError
from charlm.failures import named
from charlm.untrusted import fits

# What may stand below a curve, and what may stand beside it: its label, and the quantity's name.
ACROSS = {"time": "seconds", "chars": "characters read", "steps": "updates"}
UP = {"bits": "bits/char", "loss": "loss (nats/token)"}
COLUMNS = {
    "time": "elapsed_s",
    "chars": "chars",
    "steps": "steps",
    "loss": "loss_nats",
    "bits": "bits_per_char",
}


@dataclass(frozen=True)
class Curve:
    """One curve: `x` (N,) and `y` (N,), of the run `run`; `split` is "train" or "val"."""

    run: str
    split: str
    x: np.ndarray
    y: np.ndarray


def logs(path: Path) -> list[Path]:
    """The log of the run in `path`, or those of its seeds. Raises DataError where is none."""
    found = [path / LOG_NAME]
    if not found[0].exists():
        found = sorted(path.glob(f"seed-*/{LOG_NAME}"))
    if not found:
        raise DataError(
            f"{path} holds no {LOG_NAME}; give a run made by `charlm train`, which is a directory."
        )
    return found


def curves(path: Path, across: str, up: str) -> list[Curve]:
    """The curves of the run in `path`, or of each of its seeds: training, and validation if any.

    `across` is one of ACROSS and `up` one of UP. Raises DataError where there is no run, or
    nothing that it has logged yet.
    """
    return [
        Curve(str(log.parent), split, columns[across], columns[up])
        for log in logs(path)
        for split, columns in tables(log).items()
    ]


def tables(log: Path) -> dict[str, dict[str, np.ndarray]]:
    """What a log has of each split, "train" and, where it was validated, "val": columns (N,).

    Their names are those of ACROSS and UP; training has "lr" and "gradient", its norm, as well
    where all of its reports do. Raises DataError where nothing was logged, or the log is damaged.
    """
    first, *found = entries(log)
    network = first.get("network")
    if isinstance(network, dict) and network.get("cell") == NO_CELL:
        raise DataError(f"{log} is of a model of counts alone, which has no curve of learning.")
    trained = [entry for entry in found if "loss_nats" in entry]
    validated = [entry for entry in found if "val_nats_per_char" in entry]
    if not trained:
        raise DataError(f"{log} has no report yet; wait until the run has made some updates.")

    def column(entries: list[dict[str, Any]], key: str) -> np.ndarray:
        values = _numbers(entries, key)
        if values is None:
            raise DataError(f"{log} is damaged: {key} is not a number in each of its reports.")
        return values

    train = {name: column(trained, key) for name, key in COLUMNS.items()}
    for name, key in (("lr", "lr"), ("gradient", "gradient_norm")):
        if (values := _numbers(trained, key)) is not None:
            train[name] = values
    if not validated:
        return {"train": train}
    val = {name: column(validated, COLUMNS[name]) for name in ("time", "steps")}
    # A validation does not say how many characters were read by then: as many to an update.
    val["chars"] = val["steps"] * (train["chars"][-1] / max(train["steps"][-1], 1))
    nats = column(validated, "val_nats_per_char")
    # Bits per character of the losses are nats per token times this.
    loss, bits = train["loss"][-1], train["bits"][-1]
    val |= {"bits": nats / math.log(2), "loss": nats * (loss / (bits * math.log(2)) if bits else 1)}
    return {"train": train, "val": val}


def entries(log: Path) -> list[dict[str, Any]]:
    """The objects of a log, its first the config, {} where it has none.

    What a killed run left unfinished is none, nor what a run went back behind. Raises DataError
    where something else is no object.
    """
    found: list[dict[str, Any]] = []
    with named(str(log)):
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
            back = entry.get("steps")
            found = [one for one in found if not _later(one.get("steps"), back)]
        else:
            found.append(entry)
    return found or [{}]


def _numbers(entries: list[dict[str, Any]], key: str) -> np.ndarray | None:
    """What each of the entries has under `key`, None unless all are finite numbers."""
    values = [entry.get(key) for entry in entries]
    # An integer may be larger than any float.
    known = all(fits(float, value) and abs(value) < 1e300 for value in values)
    return np.array(values, float) if known else None


def _later(steps: Any, back: Any) -> bool:
    return fits(float, steps) and fits(float, back) and steps > back
