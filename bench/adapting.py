"""What a model gains by learning from the text that it reads, and what that takes.

The texts are the validation splits of the contiguous 90/10 split of tiny Shakespeare and of
python-docs. The defaults were chosen on a part of their training splits that another model had been
kept from.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import figure, tiny_shakespeare
from charlm import corpora
from charlm.corpus import Corpus

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S = 120
WAYS = ([], ["--adapt"], ["--cache", "2000"], ["--adapt", "--cache", "2000"])


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "docs.txt"
        docs.write_bytes(b"".join(corpora.open_text(corpora.describe("python-docs"))))
        for name, text in (("tiny Shakespeare", tiny_shakespeare()), ("python-docs", docs)):
            measure(name, text, Path(folder) / text.stem)


def measure(name: str, text: Path, folder: Path) -> None:
    """Prints the figures of one text."""
    data, run, held_out = folder / "data", folder / "run", folder / "held-out"
    folder.mkdir()
    charlm("prep", text, "-o", data, "--val", "0.1", "--test", "0")
    charlm("train", data, "-o", run, "--width", "384", "--budget", f"{BUDGET_S}s", "--seed", "1")
    corpus = Corpus(data)
    held_out.write_text(corpus.tokenizer.decode(corpus.ids("val")), encoding="utf-8")
    plain, size_bytes = 0.0, held_out.stat().st_size
    for options in WAYS:
        began = time.perf_counter()
        found = json.loads(charlm("eval", run, data, "--json", *options))
        took = time.perf_counter() - began
        nats, words = found["nats_per_char"], " ".join(options) or "plain"
        plain = plain or nats
        how = f"lstm 1x384 after {BUDGET_S} s: {nats - plain:+.4f}, {took:.0f} s"
        target = "≥ 0.03 below plain" if options == ["--adapt"] and "tiny" in name else ""
        figure(f"{name}, {words}", nats, "nats/char", target=target, how=how)
        small, again = folder / "small", folder / "again"
        charlm("compress", run, held_out, "-o", small, "--force", *options)
        began = time.perf_counter()
        charlm("decompress", run, small, "-o", again, "--force")
        took = time.perf_counter() - began
        if again.read_bytes() != held_out.read_bytes():
            raise SystemExit("what was decompressed is not what was compressed")
        told, small_bytes = found["bits_per_byte"] * found["bytes"] / 8, small.stat().st_size
        above = 100 * (small_bytes / told - 1)
        how = f"of {size_bytes:,}; {above:.2f} % above what eval says; decompressed in {took:.0f} s"
        figure(f"{name}, compressed, {words}", small_bytes, "bytes", how=how)


def charlm(*args: object) -> bytes:
    """What `charlm ARGS` writes; it must succeed."""
    command = [CHARLM, *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
