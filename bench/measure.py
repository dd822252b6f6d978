"""How the benchmarks measure: medians of runs taken in turn, printed as JSON lines."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def figure(name: str, value: float | None, unit: str, *, target: str = "", how: str = "") -> None:
    """Prints one figure as a JSON line; None is one that is not available."""
    row = {"figure": name, "value": value, "unit": unit, "target": target, "how": how}
    print(json.dumps(row, ensure_ascii=False), flush=True)


def in_turn(runs: int, **ways: Callable[[], float]) -> dict[str, float]:
    """The median of what each way returns, called in turn `runs` times: A B A B ..."""
    found = rounds(runs, **ways)
    return {name: statistics.median(each[name] for each in found) for name in ways}


def rounds(runs: int, **ways: Callable[[], float]) -> list[dict[str, float]]:
    """What each way returns, called in turn, for each of the `runs`."""
    return [{name: way() for name, way in ways.items()} for _ in range(runs)]


def wall_s(command: list[str]) -> float:
    """The wall-clock time of a whole process, start to end; it must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def tiny_shakespeare() -> Path:
    """The text the quality figures are about."""
    path = SHARED / "tinyshakespeare.txt"
    if not path.exists():
        raise SystemExit(f"{path} is not here; `charlm corpus cat tiny-shakespeare` fetches it.")
    return path


def war_and_peace() -> Path:
    """The novel as Karpathy, Johnson and Fei-Fei measured it (2015, arXiv:1506.02078)."""
    path = SHARED / "war_and_peace.txt"
    if not path.exists():
        raise SystemExit(f"{path} is not here; it is warpeace_input.txt of that paper's authors.")
    return path
