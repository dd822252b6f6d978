"""Many prompts completed side by side, against one after another in the same engine."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import figure, in_turn, tiny_shakespeare
from charlm import model_file
from charlm.config import SamplingConfig
from charlm.process import tune_process
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Row
from charlm.sampling.text import Manner, sample_texts

CHARLM = str(Path(sys.executable).parent / "charlm")
PROMPTS, PROMPT_CHARS, CHARS, ALONE, RUNS = 1000, 40, 100, 40, 3


def main() -> None:
    """Prints the figures."""
    text = tiny_shakespeare().read_text()
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", Path(folder) / "run"
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", str(data)]
        subprocess.run(prep, check=True, capture_output=True)
        train = [CHARLM, "train", str(data), "-o", str(run), "--cell", "gru", "--width", "384"]
        subprocess.run([*train, "--budget", "30s", "--seed", "1"], check=True, capture_output=True)
        model = model_file.load(run)
        engine = NumpyEngine(model.network, model.weights)
        begins = range(0, PROMPTS * PROMPT_CHARS, PROMPT_CHARS)
        prompts = [model.tokenizer.encode(text[b : b + PROMPT_CHARS]) for b in begins]
        manner = Manner(SamplingConfig(), seed=1, length=CHARS)
        drawn: dict[str, list[str]] = {}

        def complete(way: str, groups: list[list[Row]]) -> float:
            """Characters drawn per second."""
            began = time.perf_counter()
            pieces: list[str] = []
            drawn[way] = pieces
            for rows in groups:
                sample_texts(
                    engine,
                    model.tokenizer,
                    rows,
                    manner,
                    emit=lambda row, text: pieces.append(text),
                    ended=lambda row, sample: pieces.append("|"),
                )
            return len("".join(pieces)) / (time.perf_counter() - began)

        def rows(count: int) -> list[Row]:
            return [Row(k, ids) for k, ids in enumerate(prompts[:count])]

        found = in_turn(
            RUNS,
            together=lambda: complete("together", [rows(PROMPTS)]),
            alone=lambda: complete("alone", [[row] for row in rows(ALONE)]),
        )
        together, alone = ("".join(drawn[way]) for way in ("together", "alone"))
        if not together.startswith(alone):
            raise SystemExit("the completions side by side are not those one after another")
        how = f"gru 1x384, {PROMPTS:,} prompts of {PROMPT_CHARS}, {CHARS} each, the same texts:"
        how += f" {found['together']:,.0f} against {found['alone']:,.0f} characters/s"
        ratio = found["together"] / found["alone"]
        figure("prompts side by side to one by one", ratio, "x", target="≥ 4", how=how)


if __name__ == "__main__":
    tune_process()
    main()
