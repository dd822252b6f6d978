"""Scoring many lines, against the loop of one symbol at a time in eager torch; eval; memory.

The model is a gru 1x384 after a minute: what it remembers makes a difference to `eval`, which reads
stretches of the text side by side.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.measure import figure, in_turn, tiny_shakespeare, wall_s
from charlm import model_file
from charlm.measuring.scorer import Scorer
from charlm.sampling.engine import TorchEngine
from charlm.score import token_nats

CHARLM = str(Path(sys.executable).parent / "charlm")
EAGER_TOKENS, RUNS = 2000, 3
MEMORY_BYTES = 100_000_000
# The last tenth of tiny Shakespeare, its validation split.
HELD_OUT = 111_540


def trained(data: Path, run: Path, *options: str) -> Path:
    """A run on `data`."""
    train = [CHARLM, "train", str(data), "-o", str(run), "--seed", "1", *options]
    subprocess.run(train, check=True, capture_output=True)
    return run


def peak_bytes(command: list[str], lines: bytes, size_bytes: int) -> tuple[float, float]:
    """The most memory that the command held while it read so much of those lines, and the time."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    for _ in range(size_bytes // len(lines)):
        process.stdin.write(lines)
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("score failed")
    return usage.ru_maxrss * 1024, time.monotonic() - began


def main() -> None:
    """Prints the figures."""
    text = tiny_shakespeare().read_text()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", str(data), "--records", "line"]
        subprocess.run([*prep, "--val", "0.1", "--test", "0"], check=True, capture_output=True)
        shape = ("--cell", "rnn", "--width", "8")
        tiny = trained(data, Path(folder) / "tiny", *shape, "--steps", "30")
        score = [CHARLM, "score", str(tiny)]
        lines = text.encode()
        peak, took = peak_bytes(score, lines, MEMORY_BYTES)
        how = f"charlm score, rnn 1x8, {MEMORY_BYTES / 1e6:g} MB of lines on stdin, {took:.0f} s"
        figure("score: memory", peak / 1e6, "MB", target="≤ 400", how=how)

        data = Path(folder) / "whole"
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", str(data)]
        subprocess.run([*prep, "--val", "0.1", "--test", "0"], check=True, capture_output=True)
        shape = ("--cell", "gru", "--width", "384")
        run = trained(data, Path(folder) / "run", *shape, "--budget", "60s")
        model = model_file.load(run)
        held_out = text[-HELD_OUT:].splitlines()
        scorer = Scorer(model)
        eager = TorchEngine(model.network, model.weights, "cpu")
        ids = model.tokenizer.encode(text[-EAGER_TOKENS:])

        def ours() -> float:
            began = time.perf_counter()
            chars = sum(one.score.chars for one in scorer.score(held_out))
            return chars / (time.perf_counter() - began)

        def loop() -> float:
            began = time.perf_counter()
            token_nats(eager, np.asarray(ids))
            return len(ids) / (time.perf_counter() - began)

        found = in_turn(RUNS, ours=ours, loop=loop)
        how = f"gru 1x384, lines: {found['ours']:,.0f} against {found['loop']:,.0f} characters/s"
        ratio = found["ours"] / found["loop"]
        figure("scoring lines to the eager torch loop", ratio, "x", target="≥ 10", how=how)
        command = [CHARLM, "eval", str(run), str(data), "--split", "val"]
        took = in_turn(RUNS, eval=lambda: wall_s(command))["eval"]
        how = f"charlm eval, gru 1x384, {HELD_OUT:,} characters, whole process"
        figure("eval of a split", took, "s", target="≤ 4", how=how)


if __name__ == "__main__":
    main()
