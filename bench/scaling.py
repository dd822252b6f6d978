"""Characters/s of one process and of two that torchrun puts in touch, with one thread each.

Once each process has as many rows as the one alone (weak scaling), and once they share its rows
(strong scaling: the same updates, and the same curve). Each run is a whole one, and its pace that
between two reports in its log, after the first updates. What else the machine does changes within
minutes, so a ratio is that of runs made one after another, and the median of several such.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import figure, rounds, tiny_shakespeare
from charlm.config import PrepConfig
from charlm.corpus import prepare

RUNS = 7
WIDTH, BATCH, CONTEXT = 256, 64, 64
STEPS, WARM = 101, 21  # updates: all, and those that are not counted, which make what is made once
OPTIONS = [
    "--width", WIDTH, "--context", CONTEXT, "--steps", STEPS, "--dropout", 0,
    "--lr", 0.002, "--seed", 1, "--eval-every", 1000, "--device", "cpu", "--force",
]  # fmt: skip


def chars_per_s(processes: int, batch: int, data: Path, run: Path) -> float:
    """The pace of a run of so many processes, with `batch` rows in all of them."""
    shared = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    command = [sys.executable, *(shared if processes > 1 else []), "-m", "charlm", "train", data]
    subprocess.run(
        [str(word) for word in [*command, "-o", run, "--batch", batch, *OPTIONS]],
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()[1:]]
    reports = [entry for entry in entries if "chars" in entry and entry["steps"] >= WARM]
    first, last = reports[0], reports[-1]
    return (last["chars"] - first["chars"]) / (last["elapsed_s"] - first["elapsed_s"])


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", Path(folder) / "run"
        # Hardly any validation: it is not what is measured.
        prepare([tiny_shakespeare()], data, PrepConfig(val=0.001, test=0))
        found = rounds(
            RUNS,
            one=lambda: chars_per_s(1, BATCH, data, run),
            weak=lambda: chars_per_s(2, 2 * BATCH, data, run),
            strong=lambda: chars_per_s(2, BATCH, data, run),
        )
    how = (
        f"lstm 1x{WIDTH}, context {CONTEXT}, a thread each, gloo on loopback, updates {WARM + 1} to"
        f" {STEPS}; median of {RUNS} rounds"
    )
    pace = statistics.median(each["one"] for each in found)
    figure(f"one process, batch {BATCH}", pace, "chars/s", how=how)
    for way, batch in (("weak", 2 * BATCH), ("strong", BATCH)):
        name = f"two processes, batch {batch} in all"
        pace = statistics.median(each[way] for each in found)
        figure(name, pace, "chars/s", how=how)
        ratio = statistics.median(each[way] / each["one"] for each in found)
        figure(f"{name}, to one", ratio, "x", target="≥ 1.8", how=how)


if __name__ == "__main__":
    main()
