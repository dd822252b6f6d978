"""Runs the benchmarks (or those named), and writes bench/RESULTS.md from what they print.

python -m bench [NAME]...
"""

import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "startup", "prep", "big_prep", "training", "sampling", "quality", "twenty_minutes",
    "cells", "learning", "attention", "gaps", "zoo", "scoring", "completing", "compression",
    "adapting", "peers", "budgets", "scaling", "serving", "soak", "fuzzing", "inputs",
)  # fmt: skip
ON_REQUEST = ("big_prep", "twenty_minutes", "budgets", "inputs")  # 45 GB of disk; an hour each
PACKAGES = ("charlm", "torch", "numpy", "tokenizers", "safetensors", "click")


def main(names: list[str]) -> int:
    """Runs the named benchmarks; figures of the others stay as they were in results.jsonl."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    store = HERE / "results.jsonl"
    rows = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    for name in names or [name for name in BENCHMARKS if name not in ON_REQUEST]:
        print(f"# {name}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}"], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            return done.returncode
        print(done.stdout, end="")
        rows = [row for row in rows if row["benchmark"] != name]
        rows += [{"benchmark": name, **json.loads(line)} for line in done.stdout.splitlines()]
    rows.sort(key=lambda row: BENCHMARKS.index(row["benchmark"]))
    store.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / "RESULTS.md").write_text(page(rows))
    return 0


def page(rows: list[dict]) -> str:
    """The results as a page of tables."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    lines = [
        "# Results",
        "",
        f"Written by `make bench` on {time.strftime('%Y-%m-%d')}. {machine()}.",
        f"Python {platform.python_version()}; {versions}.",
        "",
        "The cores are shared and noisy: compare ratios, which come from one run, rather than"
        " absolute figures.",
    ]
    for name in BENCHMARKS:
        mine = [row for row in rows if row["benchmark"] == name]
        if not mine:
            continue
        lines += ["", f"## {name}", "", f"`python -m bench {name}`", ""]
        lines += ["| figure | value | asked for | how |", "|---|---|---|---|"]
        for row in mine:
            value = f"{row['value']:,.4g}" if row["value"] < 1000 else f"{row['value']:,.0f}"
            lines.append(
                f"| {row['figure']} | {value} {row['unit']} | {row.get('target', '')}"
                f" | {row.get('how', '')} |"
            )
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor and its cores, as the system names them."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model, cores = names[0].split(":")[1].strip(), len(names)
        return f"{model}, {cores} cores"
    return model


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
