"""Inputs that people really have: time and peak memory of commands as each grows.

One long line, a text without spaces, a vocabulary of up to a million words, bytes that are not
UTF-8, bytes that nothing compresses. The last column has the time beside that of the size before.
Time is that of the processor, which other processes change little.
No peak is told that is below this process's own, which has the text.

python -m bench.inputs [CASE]... [--sizes N,N,...]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.measure import figure, tiny_shakespeare

CHARLM = str(Path(sys.executable).parent / "charlm")
MEMORY_MB = 1024  # for everything
APART = 0.1  # of eval and score of one line


@dataclass(frozen=True)
class Case:
    """What `text(size)` gives, and the commands that read it as FILE beside what `setup` made."""

    text: Callable[[int], bytes]
    sizes: tuple[int, ...]
    commands: dict[str, str]
    unit: str = "bytes"


def one_line(size: int) -> bytes:
    """English with a space where a line ends."""
    text = tiny_shakespeare().read_bytes().replace(b"\n", b" ")
    return (text * (1 + size // len(text)))[:size] + b"\n"


def without_spaces(size: int) -> bytes:
    """Letters as English has them, in one unbroken line."""
    letters = [c for c in tiny_shakespeare().read_text().lower() if c.isalpha()]
    rng = np.random.default_rng(1)
    return "".join(rng.choice(letters, size)).encode() + b"\n"


def words(count: int) -> bytes:
    """So many words, each of them once, ten in a line."""
    names = [f"w{i}" for i in range(count)]
    return "".join(" ".join(names[i : i + 10]) + "\n" for i in range(0, count, 10)).encode()


def invalid(size: int) -> bytes:
    """English of which one byte in fifty is a byte that UTF-8 never has, and some lines' all."""
    rng = np.random.default_rng(1)
    data = np.frombuffer(one_line(size)[:size], np.uint8).copy()
    data[rng.random(size) < 0.02] = 0xFF
    data[rng.random(size) < 0.02] = ord("\n")
    return data.tobytes()


def incompressible(size: int) -> bytes:
    """Random bytes."""
    return np.random.default_rng(1).bytes(size)


PREP_WORDS = "prep FILE -o words --level word --vocab-size 2000000 --val 0.001 --test 0 --force"
TRAIN_WORDS = "train words -o run --steps 2 --width 8 --seed 1 --force"
CASES = {
    "one line": Case(
        one_line,
        (750_000, 1_500_000, 3_000_000),
        {
            "prep": "prep FILE -o prepared --force",
            "prep --level bpe": "prep FILE -o prepared --level bpe --force",
            "eval": "eval chars FILE --unknown skip",
            "score": "score chars FILE --unknown skip",
            "score --each": "score chars FILE --each",
        },
    ),
    "no spaces": Case(
        without_spaces,
        (525_000, 1_050_000, 2_100_000),
        {
            "prep --level bpe": "prep FILE -o prepared --level bpe --force",
            "prep --level word": "prep FILE -o prepared --level word --force",
            "eval": "eval chars FILE --unknown skip",
            "score": "score chars FILE",
        },
    ),
    "vocabulary": Case(
        words,
        (100_000, 1_000_000),
        {
            "prep": PREP_WORDS,
            "train": TRAIN_WORDS,
            "zoo": "zoo words -o zoo --cell gru --budget 1s --parameters 1 --seed 1 --force",
            "eval": "eval run words",
            "score": "score run short",
            "sample": "sample run --length 20 --samples 64 --seed 1",
        },
        "words",
    ),
    "not UTF-8": Case(
        invalid,
        (400_000, 800_000),
        {"score": "score chars FILE", "prep --level byte": "prep FILE -o b --level byte --force"},
    ),
    "incompressible": Case(
        incompressible,
        (25_000, 50_000),
        {"compress": "compress bytes FILE -o archive --force"},
    ),
}


def measured(command: str, folder: Path, file: str) -> tuple[float, float, int]:
    """Seconds of the processor, peak memory in MB, and the status of a command."""
    words = [CHARLM, *(file if word == "FILE" else word for word in command.split())]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"{command}: {said.strip()}", file=sys.stderr)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode


def models(folder: Path) -> None:
    """A model of characters and one of bytes, trained for a moment."""
    for name, level in (("chars", "char"), ("bytes", "byte")):
        prep = ["prep", str(tiny_shakespeare()), "-o", f"{name}-data", "--level", level]
        train = ["train", f"{name}-data", "-o", name, "--steps", "60", "--seed", "1"]
        for command in (prep, [*train, "--cell", "lstm", "--width", "128"]):
            subprocess.run([CHARLM, *command], cwd=folder, check=True, capture_output=True)


def rows(case: Case, sizes: tuple[int, ...], folder: Path) -> Iterator[tuple[str, int, tuple]]:
    """What each command took at each size."""
    for size in sizes:
        data = case.text(size)
        (folder / "text").write_bytes(data)
        (folder / "short").write_bytes(b"\n".join(data.splitlines()[:100]) + b"\n")
        for name, command in case.commands.items():
            yield name, size, measured(command, folder, "text")


def main(names: list[str], sizes: tuple[int, ...] | None) -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        models(folder)
        for name in names or CASES:
            case = CASES[name]
            before: dict[str, tuple[int, float]] = {}
            found: dict[str, float] = {}
            for command, size, (took_s, peak_mb, status) in rows(case, sizes or case.sizes, folder):
                how = f"{took_s:.1f} s of the processor"
                if command in before:
                    less, earlier_s = before[command]
                    how += f", {took_s / earlier_s:.1f} times that of {size / less:.3g} times less"
                if status:
                    how += f"; failed with status {status}"
                before[command], found[command] = (size, took_s), took_s
                label = f"{name}, {size:,} {case.unit}: {command}"
                figure(label, peak_mb, "MB at most", target=f"≤ {MEMORY_MB}", how=how)
            if name == "one line":
                ratio = found["score"] / found["eval"]
                figure("score to eval of one line", ratio, "x", target=f"≤ {1 + APART}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))))
    given = parser.parse_args()
    main(given.cases, given.sizes)
