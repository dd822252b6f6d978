"""A long-range copy: a random key of 20 letters comes back 300 characters later.

Both networks see the same lines for the same time; only one may look back. Measured on lines of the
validation split: how surprising the key is where it comes back, and how much of it the likeliest
symbols get right.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.measure import figure
from charlm import model_file
from charlm.process import tune_process
from charlm.sampling.engine import NumpyEngine
from charlm.score import log_softmax

CHARLM = str(Path(sys.executable).parent / "charlm")
KEY, GAP, LINES, TESTED = 20, 300, 4000, 40
BUDGET_S, LR = 300, 0.006
# The plain network is a little wider, so that it has at least as many parameters.
WAYS = {
    "with --attention": ["--width", "128", "--attention", "--memory", "400"],
    "without": ["--width", "144"],
}


def lines(count: int, seed: int) -> list[str]:
    """Lines of a key, filler made of a few words, and the same key again."""
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(20)]
    found = []
    for _ in range(count):
        key = "".join(rng.choice(letters, KEY))
        filler = " ".join(rng.choice(words, GAP // 2))[: GAP - KEY - 2]
        found.append(f"<{key}>{filler}<{key}")
    return found


def key_figures(path: Path, tested: list[str]) -> tuple[float, float]:
    """Nats per character of the keys that come back, and the share that is predicted right."""
    model = model_file.load(path)
    engine = NumpyEngine(model.network, model.weights)
    ids = np.array([model.tokenizer.encode(line) for line in tested])
    state, last = engine.initial_state(len(ids)), np.full(len(ids), engine.start)
    nats, right = [], []
    for t in range(ids.shape[1]):
        logits, state = engine.step(last, state)
        last = ids[:, t]
        if t >= ids.shape[1] - KEY:
            nats.append(-log_softmax(logits)[np.arange(len(ids)), last].mean())
            right.append((logits.argmax(-1) == last).mean())
    return float(np.mean(nats)), float(np.mean(right))


def main() -> None:
    """Prints the figures."""
    found = lines(LINES, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        text, data = Path(folder) / "keys.txt", Path(folder) / "data"
        text.write_text("\n".join(found) + "\n")
        prep = [CHARLM, "prep", str(text), "-o", str(data), "--records", "line", "--test", "0"]
        subprocess.run(prep, check=True, capture_output=True)
        for way, options in WAYS.items():
            run = Path(folder) / way
            train = [CHARLM, "train", str(data), "-o", str(run), *options, "--lr", str(LR)]
            train += ["--context", "400", "--budget", f"{BUDGET_S}s", "--seed", "1"]
            train += ["--dropout", "0"]
            subprocess.run(train, check=True, capture_output=True)
            nats, right = key_figures(run, found[-TESTED:])
            how = f"lstm, {' '.join(options)}, {BUDGET_S} s; guessing is {np.log(26):.2f}"
            figure(f"{way}: the key {GAP} characters later", nats, "nats/char", how=how)
            figure(f"{way}: right characters of it", 100 * right, "%", how=how)


if __name__ == "__main__":
    tune_process()
    main()
