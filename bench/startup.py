"""How long a user waits before anything happens: whole processes, start to end."""

import sys
import tempfile
from pathlib import Path

import torch

from bench.measure import figure, in_turn, wall_s
from bench.sampling import random_model
from charlm import model_file

CHARLM = str(Path(sys.executable).parent / "charlm")
RUNS = 15


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model_file.save(random_model(width=384, layers=1), path)
        sample = [CHARLM, "sample", str(path), "--length", "200", "--seed", "1"]
        found = in_turn(
            RUNS,
            help_s=lambda: wall_s([CHARLM, "--help"]),
            sample_s=lambda: wall_s(sample),
            python_s=lambda: wall_s([sys.executable, "-c", "pass"]),
            torch_s=lambda: wall_s([sys.executable, "-c", "import torch"]),
        )
    how = f"median of {RUNS} processes, start to end"
    figure("charlm --help", found["help_s"], "s", target="≤ 0.15", how=how)
    figure(
        "charlm sample, 200 characters, lstm 1x384", found["sample_s"], "s", target="≤ 0.4", how=how
    )
    figure("python -c pass", found["python_s"], "s", how=how)
    figure(f"import torch {torch.__version__}", found["torch_s"], "s", how=how)


if __name__ == "__main__":
    main()
