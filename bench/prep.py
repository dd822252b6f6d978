"""How fast `charlm prep` is, and how much memory it takes.

Characters and bytes: megabytes of text per second of the whole command, on one core, and the
peak memory of the process. Words and byte pairs: the speed of the whole command over that of
`tokenizers`' own `encode_batch` of the same lines with the same tokenizer, both on all cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tokenizers

from bench.measure import SHARED, figure, in_turn

RUNS = 3
ENCODED_MB = 20  # text for words and byte pairs, of which `tokenizers` does a few MB/s


def main(size_mb: int) -> None:
    """Prints the figures; characters and bytes with a text of `size_mb` megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        write_text(text, size_mb)
        for level in ("char", "byte"):
            one_core(level, text, Path(folder) / "corpus")
        write_text(text, ENCODED_MB)
        for level in ("word", "bpe"):
            against_tokenizers(level, text, Path(folder) / "corpus")


def one_core(level: str, text: Path, out: Path) -> None:
    """Speed and memory of the command on the first core this process may use."""
    core = {min(os.sched_getaffinity(0))}
    runs = [prep(level, text, out, core) for _ in range(RUNS)]
    size_mb = text.stat().st_size / 1e6
    how = f"median of {RUNS} runs of charlm prep --level {level} on one core, {size_mb:,.0f} MB"
    speed = size_mb / statistics.median(elapsed_s for elapsed_s, _ in runs)
    peak_mb = statistics.median(peak_bytes for _, peak_bytes in runs) / 1e6
    figure(f"prep --level {level}", speed, "MB/s", target="≥ 50", how=how)
    figure(f"prep --level {level}, peak memory", peak_mb, "MB", target="≤ 300", how=how)


def against_tokenizers(level: str, text: Path, out: Path) -> None:
    """How many times the speed of `encode_batch` the whole command has."""
    cores = os.sched_getaffinity(0)
    prep(level, text, out, cores)
    backend = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    lines = text.read_text(encoding="utf-8").splitlines(keepends=True)

    def encode_batch() -> float:
        began = time.perf_counter()
        backend.encode_batch(lines, add_special_tokens=False)
        return time.perf_counter() - began

    found = in_turn(RUNS, ours=lambda: prep(level, text, out, cores)[0], theirs=encode_batch)
    how = (
        f"median of {RUNS} in turn, {ENCODED_MB} MB: the command {found['ours']:.1f} s,"
        f" vocabulary and all; encode_batch of its lines {found['theirs']:.1f} s"
    )
    name = f"prep --level {level} over tokenizers {tokenizers.__version__}"
    figure(name, found["theirs"] / found["ours"], "x", target="≥ 1", how=how)


def prep(level: str, text: Path, out: Path, cores: set[int]) -> tuple[float, int]:
    """The seconds and the peak bytes of memory of one run of the command."""
    command = [sys.executable, "-m", "charlm", "prep", str(text), "-o", str(out), "--level", level]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--force"],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def write_text(path: Path, size_mb: int) -> None:
    """Writes about `size_mb` megabytes of English, the same again and again."""
    source = SHARED / "tinyshakespeare.txt"
    if source.exists():
        text = source.read_bytes()
    else:
        from pydoc_data.topics import topics

        text = "\n".join(topics.values()).encode("utf-8")
    with path.open("wb") as file:
        for _ in range(max(1, round(size_mb * 1e6 / len(text)))):
            file.write(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1000, help="text for characters and bytes")
    main(parser.parse_args().size_mb)
