"""What `charlm train --budget` learns with no other flag, and whether it ends on time.

Nats per character over the whole validation split of the contiguous 90/10 split, every character
predicted once.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import figure, tiny_shakespeare
from charlm import corpora

CHARLM = str(Path(sys.executable).parent / "charlm")
# Each text's budgets in seconds, the seeds, and what is asked for.
RUNS = {
    "tiny Shakespeare": {20: "≤ 1.70", 40: "≤ 1.57", 60: "≤ 1.60", 133: "≤ 1.47"},
    "python-docs": {60: ""},
    "markov": {60: ""},
}
SEEDS = {"tiny Shakespeare": (1, 2, 3), "python-docs": (1,), "markov": (1,)}
LN2 = 0.6931471805599453


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        texts = {"tiny Shakespeare": tiny_shakespeare()}
        for name in ("python-docs", "markov"):
            texts[name] = Path(folder) / f"{name}.txt"
            texts[name].write_bytes(b"".join(corpora.open_text(corpora.describe(name))))
        for name, text in texts.items():
            data = Path(folder) / text.stem
            prep = [CHARLM, "prep", str(text), "-o", str(data), "--val", "0.1", "--test", "0"]
            subprocess.run(prep, check=True, capture_output=True)
            for budget_s, target in RUNS[name].items():
                measure(name, data, budget_s, target)


def measure(name: str, data: Path, budget_s: int, target: str) -> None:
    """Prints the figures of one text and budget."""
    nats, wall_s = train(data, budget_s, SEEDS[name])
    how = f"charlm train --budget {budget_s}s, median of seeds {SEEDS[name]}"
    if name == "markov":
        above = 100 * (nats / corpora.describe(name).entropy_bits_per_char() / LN2 - 1)
        figure(f"{name}, above its entropy rate", above, "%", how=how)
    else:
        figure(f"{name}, {budget_s} s", nats, "nats/char", target=target, how=how)
    over = 100 * (wall_s / budget_s - 1)
    figure(f"{name}, {budget_s} s, wall clock over the budget", over, "%", target="±5", how=how)


def train(data: Path, budget_s: int, seeds: tuple[int, ...]) -> tuple[float, float]:
    """The median nats per character, and the median wall clock, over the seeds."""
    nats, walls = [], []
    for seed in seeds:
        command = [CHARLM, "train", str(data), "-o", str(data) + "-run", "--force", "--json"]
        command += ["--budget", f"{budget_s}s", "--seed", str(seed)]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        walls.append(time.perf_counter() - began)
        nats.append(json.loads(done.stdout)["val_nats_per_char"])
        print(data.name, budget_s, seed, nats[-1], walls[-1], file=sys.stderr)
    return statistics.median(nats), statistics.median(walls)


if __name__ == "__main__":
    main()
