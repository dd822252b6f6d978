"""What a model makes of a text as a file, beside bzip2 and xz, and beside what `eval` says."""

import bz2
import json
import lzma
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import figure, tiny_shakespeare

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S, HELD_OUT = 120, 111_540


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", Path(folder) / "run"
        text, small, again = (Path(folder) / name for name in ("text", "small", "again"))
        text.write_bytes(tiny_shakespeare().read_bytes()[-HELD_OUT:])
        prep = [CHARLM, "prep", str(tiny_shakespeare()), "-o", str(data), "--val", "0.1"]
        subprocess.run([*prep, "--test", "0"], check=True, capture_output=True)
        train = [CHARLM, "train", str(data), "-o", str(run), "--width", "384"]
        train += ["--budget", f"{BUDGET_S}s"]
        subprocess.run([*train, "--seed", "1"], check=True, capture_output=True)
        began = time.perf_counter()
        compress = [CHARLM, "compress", str(run), str(text), "-o", str(small)]
        subprocess.run(compress, check=True, capture_output=True)
        took = time.perf_counter() - began
        decompress = [CHARLM, "decompress", str(run), str(small), "-o", str(again)]
        subprocess.run(decompress, check=True, capture_output=True)
        if again.read_bytes() != text.read_bytes():
            raise SystemExit("what was decompressed is not what was compressed")
        size = small.stat().st_size
        done = subprocess.run(
            [CHARLM, "eval", str(run), str(text), "--json"], check=True, capture_output=True
        )
        summary = json.loads(done.stdout)
        told = summary["nats_per_char"] * summary["chars"] / math.log(2) / 8
        how = (
            f"lstm 1x384 after {BUDGET_S} s, {HELD_OUT:,} characters: {size:,} bytes, {took:.0f} s"
        )
        above = 100 * (size / told - 1)
        figure("compressed size above what eval says", above, "%", target="≤ 0.5", how=how)
        for name, other, target in (
            ("bzip2 -9", bz2.compress(text.read_bytes(), 9), 15),
            ("xz -9e", lzma.compress(text.read_bytes(), preset=9 | lzma.PRESET_EXTREME), 25),
        ):
            smaller = 100 * (1 - size / len(other))
            how = f"{size:,} against {len(other):,} bytes, the model apart"
            figure(f"smaller than {name}", smaller, "%", target=f"≥ {target}", how=how)


if __name__ == "__main__":
    main()
