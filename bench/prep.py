"""How fast `charlm prep` is, and how much memory it takes: one JSON object a figure.

Characters and bytes: megabytes of text per second of the whole command, on one core, and the
peak memory of the process. Words and byte pairs: the speed of the whole command over that of
`tokenizers`' own `encode_batch` on the same lines with the same tokenizer, both on all cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
RUNS = 3
ENCODED_MB = 20  # text for words and byte pairs, of which `tokenizers` does a few MB/s


def main(size_mb: int = 1000) -> Iterator[dict[str, Any]]:
    """The figures, one after another."""
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text.txt"
        _write_text(text, size_mb)
        for level in ("char", "byte"):
            yield from _one_core(level, text, Path(directory) / "corpus")
        _write_text(text, ENCODED_MB)
        for level in ("word", "bpe"):
            yield _ratio(level, text, Path(directory) / "corpus")


def _one_core(level: str, text: Path, out: Path) -> Iterator[dict[str, Any]]:
    runs = [_prep(level, text, out, one_core=True) for _ in range(RUNS)]
    size_mb = text.stat().st_size / 1e6
    about = {"command": f"charlm prep text.txt -o corpus --level {level}", "text_mb": size_mb}
    about["median_of"] = RUNS
    speed = size_mb / statistics.median(elapsed_s for elapsed_s, _ in runs)
    peak_mb = statistics.median(peak for _, peak in runs) / 1e6
    yield {"figure": f"prep_{level}_mb_per_s", "value": round(speed, 1), "unit": "MB/s", **about}
    yield {"figure": f"prep_{level}_peak_mb", "value": round(peak_mb, 1), "unit": "MB", **about}


def _ratio(level: str, text: Path, out: Path) -> dict[str, Any]:
    import tokenizers

    ours_s, theirs_s = [], []
    for _ in range(RUNS):
        ours_s.append(_prep(level, text, out, one_core=False)[0])
        backend = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
        lines = text.read_text(encoding="utf-8").splitlines(keepends=True)
        started = time.perf_counter()
        backend.encode_batch(lines, add_special_tokens=False)
        theirs_s.append(time.perf_counter() - started)
    ours, theirs = statistics.median(ours_s), statistics.median(theirs_s)
    return {
        "figure": f"prep_{level}_over_tokenizers",
        "value": round(theirs / ours, 2),
        "unit": "times the speed",
        "command": f"charlm prep text.txt -o corpus --level {level}",
        "text_mb": text.stat().st_size / 1e6,
        "ours_s": round(ours, 2),
        "tokenizers_s": round(theirs, 2),
        "median_of": RUNS,
    }


def _prep(level: str, text: Path, out: Path, *, one_core: bool) -> tuple[float, int]:
    """The seconds and the peak bytes of memory of one run of the command."""
    command = [sys.executable, "-m", "charlm", "prep", str(text), "-o", str(out), "--level", level]
    pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if one_core else None
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--force"], stderr=subprocess.DEVNULL, preexec_fn=pin)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def _write_text(path: Path, size_mb: int) -> None:
    if SHAKESPEARE.exists():
        text = SHAKESPEARE.read_bytes()
    else:
        from pydoc_data.topics import topics

        text = "\n".join(topics.values()).encode("utf-8")
    with path.open("wb") as file:
        for _ in range(max(1, size_mb * 10**6 // len(text))):
            file.write(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1000, help="text for characters and bytes")
    for figure in main(parser.parse_args().size_mb):
        print(json.dumps(figure), flush=True)
