"""A bidirectional network and its left-to-right twin of the same size, on tiny Shakespeare.

Bits per character over the whole validation split, and how many characters each restores of a fixed
set of gaps of known length in it: the one as `charlm fill` does, the other as `charlm sample` goes
on with the text before the gap, each at the temperature it has when not told, and at the other's.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.measure import figure, tiny_shakespeare
from charlm import model_file
from charlm.cli.fill import TRIES, FillConfig
from charlm.config import NetworkConfig, SamplingConfig
from charlm.corpus import Corpus
from charlm.network import build
from charlm.process import tune_process
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.fill import Filler, Gapped
from charlm.sampling.generate import Drawing, Row, generate, read
from charlm.sampling.processors import temperature

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S, GAPS, BEFORE, AFTER = 120, 400, 200, 100
SAMPLED, FILLED = SamplingConfig().temperature, FillConfig().temperature  # as they come
LENGTHS = (1, 2, 3, 4, 5, 6)


def narrower(cell: str, vocabulary: int) -> int:
    """The width at which a bidirectional network is as large as the default one."""
    size = build(NetworkConfig(cell=cell), vocabulary).parameters()
    counts = {
        width: build(
            NetworkConfig(cell=cell, width=width, bidirectional=True), vocabulary
        ).parameters()
        for width in range(16, 400, 8)
    }
    return max(width for width, count in counts.items() if count <= size)


def gaps(ids: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Text before, in and after each gap, the same on every run."""
    rng = np.random.default_rng(1)
    begins = rng.integers(BEFORE, len(ids) - AFTER - max(LENGTHS), GAPS)
    edges = [(b, b + LENGTHS[i % len(LENGTHS)]) for i, b in enumerate(begins)]
    return [(ids[b - BEFORE : b], ids[b:e], ids[e : e + AFTER]) for b, e in edges]


def restored_by_filling(path: Path, found: list[tuple[np.ndarray, ...]], warmth: float) -> float:
    """The share of deleted characters that come back right."""
    model = model_file.load(path)
    filler = Filler(model.network, model.weights, processors=[temperature(warmth)])
    right = 0
    for i, (before, gap, after) in enumerate(found):
        text = Gapped([before, after], [[]])
        (drawn,) = next(filler.fill(text, [[len(gap)]], seed=(1, i), tries=TRIES))
        right += int((np.array(drawn.ids) == gap).sum())
    return right / sum(len(gap) for _, gap, _ in found)


def restored_by_sampling(path: Path, found: list[tuple[np.ndarray, ...]], warmth: float) -> float:
    """The same for a model that goes on from what stands before."""
    model = model_file.load(path)
    engine = NumpyEngine(model.network, model.weights)
    right = 0
    for i, (before, gap, _) in enumerate(found):
        place = read(engine, before)

        def listen(row: Row, id: int, logits: np.ndarray, length: int = len(gap)) -> bool:
            return len(row.history.ids) < length

        row = Row(i, place=place)
        generate(engine, [row], Drawing(1, [temperature(warmth)]), listen)
        right += int((np.array(row.history.ids) == gap).sum())
    return right / sum(len(gap) for _, gap, _ in found)


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", str(data)]
        subprocess.run([*prep, "--val", "0.1", "--test", "0"], check=True, capture_output=True)
        corpus = Corpus(data)
        width = narrower("lstm", corpus.tokenizer.vocabulary)
        ways = {
            "left to right": ["--width", "384"],
            "bidirectional": ["--bidirectional", "--width", str(width)],
        }
        restored = {}
        found = gaps(corpus.ids("val").astype(np.int64))
        for way, options in ways.items():
            run = Path(folder) / way
            train = [CHARLM, "train", str(data), "-o", str(run), *options, "--seed", "1"]
            train += ["--budget", f"{BUDGET_S}s"]
            subprocess.run(train, check=True, capture_output=True)
            model = model_file.load(run)
            bits = model.history["val_bits_per_char"]
            how = f"lstm 1x{model.network.config.width}, {model.network.parameters():,} parameters"
            figure(f"{way}: held-out text", bits, "bits/char", how=f"{how}, {BUDGET_S} s")
            restore = restored_by_filling if options else restored_by_sampling
            for warmth in (SAMPLED, FILLED):
                restored[way, warmth] = restore(run, found, warmth)
                how = f"{GAPS} gaps of {LENGTHS[0]} to {LENGTHS[-1]}, temperature {warmth}"
                share = 100 * restored[way, warmth]
                figure(f"{way}: characters restored", share, "%", how=how)
        for filled, sampled in ((FILLED, SAMPLED), (SAMPLED, SAMPLED), (FILLED, FILLED)):
            ratio = restored["bidirectional", filled] / restored["left to right", sampled]
            how = f"filled at temperature {filled}, sampled at {sampled}"
            figure("filling to sampling, characters restored", ratio, "x", target="≥ 2", how=how)


if __name__ == "__main__":
    tune_process()
    main()
