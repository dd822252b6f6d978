"""Every cell on the `markov` corpus, whose entropy rate is known: how far above it each ends."""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import figure
from charlm import corpora
from charlm.cells import CELLS

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S = 60


def main() -> None:
    """Prints the figures."""
    entry = corpora.describe("markov")
    limit = entry.entropy_bits_per_char()
    with tempfile.TemporaryDirectory() as folder:
        text, data = Path(folder) / "markov.txt", Path(folder) / "data"
        text.write_bytes(b"".join(corpora.open_text(entry)))
        prep = [CHARLM, "prep", str(text), "-o", str(data), "--val", "0.1", "--test", "0"]
        subprocess.run(prep, check=True, capture_output=True)
        for cell in CELLS:
            train = [CHARLM, "train", str(data), "-o", str(Path(folder) / cell), "--cell", cell]
            train += ["--width", "128", "--budget", f"{BUDGET_S}s", "--seed", "1", "--json"]
            done = subprocess.run(train, check=True, capture_output=True, text=True)
            bits = json.loads(done.stdout)["val_nats_per_char"] / math.log(2)
            how = f"--cell {cell} --width 128, {BUDGET_S} s; the rate is {limit:.4f} bits/char"
            above = 100 * (bits / limit - 1)
            figure(f"{cell}: above the entropy rate", above, "%", target="≤ 3", how=how)


if __name__ == "__main__":
    main()
