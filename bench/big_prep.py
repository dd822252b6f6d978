"""Whether `charlm prep` copes with a text many times larger than its memory, and being killed.

The text is generated: some 25 MB of lines, words of a Zipf-like choice, in ever other orders.
Seconds and use of the cores are of the whole command, memory is the most that all its processes
had at a time (their proportional shares, PSS, so that what they share counts once). The text, the
corpus and the work on it take four times the text's size on disk; all is removed at the end.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.measure import figure
from charlm.corpus import Corpus

SIZE_GB = 10.0
WORDS, CHOSEN = 50_000, 1 << 22  # different words, and words that are written again and again
LINES = 40  # that stay together
DISK = 4.5  # times the text
LOOK_EVERY_S = 0.5


def main(size_gb: float, level: str, folder: Path | None) -> None:
    """Prints the figures of a text of `size_gb` gigabytes, made in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        place = Path(made)
        free_gb = shutil.disk_usage(place).free / 1e9
        if free_gb < DISK * size_gb:
            raise SystemExit(f"{DISK * size_gb:,.0f} GB are needed in {place}, {free_gb:,.0f} free")
        write_text(place / "text", round(size_gb * 1e9))
        name = f"prep --level {level} of {size_gb:g} GB"
        elapsed_s, used_s, peak_bytes, _ = prep(place, "whole", level)
        cores = len(os.sched_getaffinity(0))
        how = f"generated text, {cores} cores; {used_s:.0f} s of the processors"
        figure(name, elapsed_s, "s", how=how)
        speed = size_gb * 1000 / elapsed_s
        figure(f"{name}, speed", speed, "MB/s", how="the same run")
        used = used_s / elapsed_s
        figure(f"{name}, cores used", used, "", how="(user + system) / elapsed; the same run")
        how = "PSS of all its processes together, looked at every half second"
        figure(f"{name}, peak memory", peak_bytes / 1e6, "MB", target="≤ 500", how=how)
        whole = Corpus(place / "whole").hash
        shutil.rmtree(place / "whole")
        *_, killed_after_s = prep(place, "cut", level, kill_at=0.5)
        second_s, *_ = prep(place, "cut", level)
        assert Corpus(place / "cut").hash == whole, "another corpus after a kill"
        how = f"SIGKILL after {killed_after_s:.0f} s, at half of the text; the same corpus"
        figure(f"{name}, second start after a kill", second_s, "s", how=how)


def write_text(path: Path, size_bytes: int) -> None:
    """Writes about so many bytes of lines of words, the same lines in ever other orders."""
    rng = np.random.default_rng(0)
    letters = np.array([*"etaoinshrdlucmfwypvbgkjqxzé"])
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(WORDS)])
    ends = np.array([" ", " ", " ", " ", " ", " ", ", ", " ", ". ", ".\n"])
    chosen = words[(rng.random(CHOSEN) ** 3 * WORDS).astype(int)].tolist()
    after = ends[rng.integers(0, len(ends), CHOSEN)].tolist()
    text = "".join(map("".join, zip(chosen, after, strict=True)))
    lines = text.encode("utf-8").splitlines(keepends=True)
    parts = [b"".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(b"".join(parts[i] for i in rng.permutation(len(parts))))


def prep(
    place: Path, out: str, level: str, kill_at: float | None = None
) -> tuple[float, float, int, float]:
    """Seconds, seconds of the processors, and peak memory of the command; it may be killed."""
    command = [sys.executable, "-m", "charlm", "prep", str(place / "text")]
    command += ["-o", str(place / out), "--level", level]
    began, peak_bytes, killed_after_s = time.monotonic(), 0, 0.0
    pieces = (place / "text").stat().st_size / (1 << 24)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak_bytes = max(peak_bytes, memory_bytes(process.pid))
        done = len(list((place / f".{out}.prep").glob("*.json")))
        if kill_at is not None and not killed_after_s and done >= kill_at * pieces:
            killed_after_s = time.monotonic() - began
            process.send_signal(signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not killed_after_s:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    used_s = usage.ru_utime + usage.ru_stime
    return time.monotonic() - began, used_s, peak_bytes, killed_after_s


def memory_bytes(process: int) -> int:
    """The proportional memory of a process and of those it has started (this needs Linux)."""
    folder = Path("/proc") / str(process)
    try:
        shares = (folder / "smaps_rollup").read_text().split("Pss:")[1]
        children = [
            c for t in (folder / "task").iterdir() for c in (t / "children").read_text().split()
        ]
    except (OSError, IndexError):
        return 0
    return int(shares.split()[0]) * 1024 + sum(memory_bytes(int(child)) for child in children)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=SIZE_GB, help="of text")
    parser.add_argument("--level", default="char", help="of the corpus")
    parser.add_argument("--folder", type=Path, help="where the text is made, for a while")
    given = parser.parse_args()
    main(given.size_gb, given.level, given.folder)
