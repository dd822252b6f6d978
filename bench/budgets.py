"""What a longer `charlm train --budget` brings, from 10 s to 30 min and from 10 kB to 10 MB.

Nats per character over the whole validation split, a tenth of each text: the beginning of tiny
Shakespeare at two sizes, and of Python's standard library at the third. What all of tiny
Shakespeare brings from 20 s to 20 min is in `quality` and `twenty_minutes`.
"""

import itertools
import subprocess
import tempfile
from pathlib import Path

from bench.measure import figure, tiny_shakespeare
from bench.quality import CHARLM, train
from charlm import corpora

SIZES = {"10 kB": 10_000, "100 kB": 100_000, "10 MB": 10_000_000}
FROM_SHAKESPEARE = 100_000  # no longer than this
BUDGETS_S = (10, 60, 300, 1800)
SEEDS = (1,)


def main() -> None:
    """Prints the figures."""
    shakespeare = tiny_shakespeare().read_bytes()
    library = b"".join(corpora.open_text(corpora.describe("python-source")))
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            source = shakespeare if size <= FROM_SHAKESPEARE else library
            measure(name, source[:size], Path(folder) / str(size))


def measure(name: str, text: bytes, data: Path) -> None:
    """Prints the figures of one text."""
    command = [CHARLM, "prep", "-", "-o", str(data), "--val", "0.1", "--test", "0"]
    subprocess.run(command, input=text, check=True, capture_output=True)
    found = []
    for budget_s in BUDGETS_S:
        nats, wall_s = train(data, budget_s, SEEDS)
        how = f"charlm train --budget {budget_s}s, seed {SEEDS[0]}; it took {wall_s:.0f} s"
        figure(f"{name}, {budget_s} s", nats, "nats/char", how=how)
        found.append(nats)
    worst = max(longer - shorter for shorter, longer in itertools.pairwise(found))
    figure(f"{name}, most lost by a longer budget", worst, "nats/char", target="≤ 0")


if __name__ == "__main__":
    main()
