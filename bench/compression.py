"""What a model makes of a text as a file, beside other programs, and beside what `eval` says.

The text is the end of tiny Shakespeare; nothing of the model has seen it, as the validation split
is a part of the text before it. The other programs compress the text alone, and primed with all the
text before it: PPMd and xz by what the text adds to it, zstd with it as a raw dictionary.

python -m bench.compression [--text FILE] [--held-out BYTES] [--budget S] [--ngram N]
"""

import argparse
import bz2
import json
import lzma
import tempfile
import time
from pathlib import Path

import zstandard

from bench import ppmd
from bench.adapting import charlm
from bench.measure import figure, tiny_shakespeare

BUDGET_S, HELD_OUT = 120.0, 111_540
WIDTH = 384
TARGETS = {"bzip2 -9": "≥ 15", "xz -9e": "≥ 25"}  # for the model without --adapt


def main(source: Path, held_out: int, budget_s: float, ngram: int | None) -> None:
    """Prints the figures."""
    before, text = source.read_bytes()[:-held_out], source.read_bytes()[-held_out:]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, run, file = folder / "data", folder / "run", folder / "text"
        (folder / "before").write_bytes(before)
        file.write_bytes(text)
        charlm("prep", folder / "before", "-o", data, "--test", "0")
        budget = ("--budget", f"{budget_s:g}s", "--seed", 1)
        options = () if ngram is None else ("--ngram", ngram)
        charlm("train", data, "-o", run, "--width", WIDTH, *budget, *options)
        model = f"lstm 1x{WIDTH} after {budget_s:g} s, {held_out:,} bytes"
        size, took_s = compressed(run, file, folder)
        expected = json.loads(charlm("eval", run, file, "--json"))
        above = 100 * (size / (expected["bits_per_byte"] * expected["bytes"] / 8) - 1)
        how = f"{model}: {size:,} bytes, {took_s:.0f} s"
        figure("compressed size above what eval says", above, "%", target="≤ 0.5", how=how)
        adapted, adapted_s = compressed(run, file, folder, "--adapt")
    figure("charlm compress", size, "bytes", how=f"{model}; {took_s:.0f} s")
    figure("charlm compress --adapt", adapted, "bytes", how=f"the same model; {adapted_s:.0f} s")
    for name, other in {**unprimed(text), **primed(before, text)}.items():
        figure(name, other, "bytes", how=f"of {held_out:,}")
        smaller, less = 100 * (1 - size / other), 100 * (1 - adapted / other)
        how = f"{size:,} against {other:,} bytes, the model apart; {less:.1f} % with --adapt"
        figure(f"smaller than {name}", smaller, "%", target=TARGETS.get(name, ""), how=how)


def unprimed(text: bytes) -> dict[str, int]:
    """Bytes of the compressed text, by program."""
    return {"bzip2 -9": len(bz2.compress(text, 9)), "xz -9e": xz_bytes(text)}


def primed(before: bytes, text: bytes) -> dict[str, int]:
    """Bytes of the text, compressed by programs that have read the text before it."""
    # The dictionary and the text together decide how far back zstd looks.
    sizes = {"source_size": len(before) + len(text), "dict_size": len(before)}
    parameters = zstandard.ZstdCompressionParameters.from_level(19, **sizes)
    raw = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    zstd = zstandard.ZstdCompressor(compression_params=parameters, dict_data=raw)
    added, order = ppmd.best_primed(before, text)
    return {
        "zstd -19, primed": len(zstd.compress(text)),
        "xz -9e, primed": xz_bytes(before + text) - xz_bytes(before),
        f"PPMd of order {order}, primed": added,
    }


def xz_bytes(text: bytes) -> int:
    """Bytes of the text compressed by xz -9e, which looks back 64 MiB."""
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def compressed(run: Path, text: Path, folder: Path, *options: str) -> tuple[int, float]:
    """The size in bytes of a compressed text, which comes back as it was, and the seconds."""
    small, again = folder / "small", folder / "again"
    began = time.perf_counter()
    charlm("compress", run, text, "-o", small, "--force", *options)
    took_s = time.perf_counter() - began
    charlm("decompress", run, small, "-o", again, "--force")
    if again.read_bytes() != text.read_bytes():
        raise SystemExit("what was decompressed is not what was compressed")
    return small.stat().st_size, took_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, help="in place of tiny Shakespeare")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, metavar="BYTES")
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S")
    parser.add_argument("--ngram", type=int, help="as of charlm train, in place of its default")
    given = parser.parse_args()
    main(given.text or tiny_shakespeare(), given.held_out, given.budget, given.ngram)
