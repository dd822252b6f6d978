"""What `charlm train --budget 60s` learns with no other flag, and whether it ends on time.

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
BUDGET_S = 60
SEEDS = {"tiny Shakespeare": (1, 2, 3), "python-docs": (1,), "markov": (1,)}


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        texts = {"tiny Shakespeare": tiny_shakespeare()}
        for name in ("python-docs", "markov"):
            texts[name] = Path(folder) / f"{name}.txt"
            texts[name].write_bytes(b"".join(corpora.open_text(corpora.describe(name))))
        for name, text in texts.items():
            nats, wall_s = train(text, Path(folder) / name.replace(" ", "-"), SEEDS[name])
            how = f"charlm train --budget {BUDGET_S}s, median of seeds {SEEDS[name]}"
            target = "≤ 1.60" if name == "tiny Shakespeare" else ""
            if name == "markov":
                limit = corpora.describe(name).entropy_bits_per_char()
                figure(
                    f"{name}, above its entropy rate", 100 * (nats / limit / LN2 - 1), "%", how=how
                )
            else:
                figure(name, nats, "nats/char", target=target, how=how)
            share = 100 * (wall_s / BUDGET_S - 1)
            figure(f"{name}, wall clock over the budget", share, "%", target="±5", how=how)


LN2 = 0.6931471805599453


def train(text: Path, folder: Path, seeds: tuple[int, ...]) -> tuple[float, float]:
    """The median nats per character, and the median wall clock, over the seeds."""
    data = folder / "data"
    folder.mkdir()
    prep = [CHARLM, "prep", str(text), "-o", str(data), "--val", "0.1", "--test", "0"]
    subprocess.run(prep, check=True, capture_output=True)
    nats, walls = [], []
    for seed in seeds:
        command = [CHARLM, "train", str(data), "-o", str(folder / str(seed)), "--json"]
        command += ["--budget", f"{BUDGET_S}s", "--seed", str(seed)]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        walls.append(time.perf_counter() - began)
        nats.append(json.loads(done.stdout)["val_nats_per_char"])
        print(text.name, seed, nats[-1], walls[-1], file=sys.stderr)
    return statistics.median(nats), statistics.median(walls)


if __name__ == "__main__":
    main()
