"""Every cell on one text for the same time at about the same size: `charlm zoo`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import figure, tiny_shakespeare

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S = 120
FREE = ("rnn", "jordan")  # of which nothing is asked


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data")
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", data, "--val", "0.1", "--test", "0"]
        subprocess.run(prep, check=True, capture_output=True)
        zoo = [CHARLM, "zoo", data, "--budget", f"{BUDGET_S}s", "--seed", "1", "--json"]
        with subprocess.Popen(zoo, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                row = json.loads(line)
                if row["error"]:
                    raise SystemExit(f"{row['cell']}: {row['error']}")
                shape = f"{row['layers']}x{row['width']}, {row['parameters']:,} parameters"
                how = f"{shape}, {row['train_chars_per_s']:,.0f} chars/s in training,"
                how += f" {row['sample_chars_per_s']:,.0f} in sampling"
                target = "" if row["cell"] in FREE else "≤ 1.90"
                nats = row["val_nats_per_char"]
                figure(f"{row['cell']} in {BUDGET_S} s", nats, "nats/char", target=target, how=how)


if __name__ == "__main__":
    main()
