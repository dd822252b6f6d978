"""What `charlm train --budget 20m` learns of tiny Shakespeare with no other flag.

Nats per character over the whole validation split of the contiguous 90/10 split: every character
predicted once, by nanoGPT's protocol, and while the model learns from what it has read.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.adapting import charlm
from bench.measure import figure, tiny_shakespeare

SEEDS = (1, 2, 3)
# Learning on the way takes minutes, and so only the first seed's model does.
WAYS = {
    "the whole split": ([], "nats_per_char", "≤ 1.42", SEEDS),
    "nanoGPT's protocol": (["--protocol", "nanogpt"], "nanogpt_nats_per_token", "≤ 1.4655", SEEDS),
    "--adapt": (["--adapt"], "nats_per_char", "0.03 less", SEEDS[:1]),
}


def main() -> None:
    """Prints the figures."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", Path(folder) / "run"
        charlm("prep", tiny_shakespeare(), "-o", data, "--val", "0.1", "--test", "0")
        for seed in SEEDS:
            charlm("train", data, "-o", run, "--force", "--budget", "20m", "--seed", seed)
            for name, (options, key, _, seeds) in WAYS.items():
                if seed in seeds:
                    told = json.loads(charlm("eval", run, data, "--json", *options))
                    found[name].append(told[key])
            print(seed, {name: nats[-1] for name, nats in found.items()}, file=sys.stderr)
    for name, (options, _, target, seeds) in WAYS.items():
        how = f"charlm train --budget 20m; eval {' '.join(options)}".rstrip()
        how += f", median of seeds {seeds}"
        figure(name, statistics.median(found[name]), "nats/char", target=target, how=how)


if __name__ == "__main__":
    main()
