"""Runs the benchmarks (or those named), and writes bench/RESULTS.md from what they print.

python -m bench [NAME]... [-- OPTION...]

Options are those of the named benchmarks, such as `counts -- --budgets 5,20`; then figures replace
those of the same name alone, so that a long benchmark can be run in parts.
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
    "adapting", "peers", "counts", "budgets", "scaling", "serving", "soak", "fuzzing", "inputs",
)  # fmt: skip
# 45 GB of disk; an hour or two each.
ON_REQUEST = ("big_prep", "twenty_minutes", "counts", "budgets", "inputs")
PACKAGES = ("charlm", "torch", "numpy", "tokenizers", "safetensors", "click")


def main(arguments: list[str]) -> int:
    """Runs the named benchmarks; figures of the others stay as they were in results.jsonl."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    names, options = arguments[:end], arguments[end + 1 :]
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    if options and not names:
        print("options are of a benchmark: name it before --")
        return 2
    store = HERE / "results.jsonl"
    rows = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    for name in names or [name for name in BENCHMARKS if name not in ON_REQUEST]:
        print(f"# {name}", file=sys.stderr)
        found, status = run(name, options)
        if status:
            return status
        figures = {row["figure"] for row in found}
        rows = [
            row
            for row in rows
            if row["benchmark"] != name or (options and row["figure"] not in figures)
        ]
        rows += found
    rows.sort(key=lambda row: BENCHMARKS.index(row["benchmark"]))
    store.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / "RESULTS.md").write_text(page(rows))
    return 0


def run(name: str, options: list[str]) -> tuple[list[dict], int]:
    """The figures that a benchmark prints, which are printed here as they come, and its status."""
    rows = []
    command = [sys.executable, "-m", f"bench.{name}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            rows.append({"benchmark": name, **json.loads(line)})
    return rows, process.returncode


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
            lines.append(
                f"| {row['figure']} | {value_of(row)} | {row.get('target', '')}"
                f" | {row.get('how', '')} |"
            )
    return "\n".join(lines) + "\n"


def value_of(row: dict) -> str:
    """The value of a figure with its unit."""
    value = row["value"]
    if value is None:
        return "not available"
    return f"{value:,.4g} {row['unit']}" if value < 1000 else f"{value:,.0f} {row['unit']}"


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
