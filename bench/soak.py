"""Whether a run survives being killed: SIGKILL at random moments, resumed each time.

A run is begun, killed and gone on with until it ends, again and again until there were as many
kills as asked for. After each kill every file that is there must be whole, and in the end weights,
optimiser, log and best model must be those of a run that nobody disturbed, bit for bit.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from safetensors.numpy import load_file

from bench.measure import figure
from charlm import model_file
from charlm.cli import main as charlm
from charlm.config import PrepConfig
from charlm.corpus import prepare

KILLS = 200
TEXT = "".join(f"the {i * i % 97}th cat sat on mat {i % 13}.\n" for i in range(2000))
# All that draws at random or is carried on; validations, and so saves, come often.
OPTIONS = [
    "--steps", "150", "--eval-every", "10", "--width", "24", "--batch", "4", "--context", "24",
    "--dropout", "0.1", "--weight-drop", "0.1", "--vary-context", "--average", "ema", "--seed", "1",
    "--device", "cpu",
]  # fmt: skip
LONGEST = 1.2  # that a process lives, of the processor's time that an undisturbed one takes
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main(kills: int, seed: int) -> None:
    """Prints how many kills there were; ends with an assertion where something was lost."""
    # Loaded once and forked: a process is at work after milliseconds, and so is killed at work.
    import torch

    import charlm.training.begin  # noqa: F401

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        text, data, whole = (Path(folder) / name for name in ("text", "data", "whole"))
        text.write_text(TEXT)
        prepare([text], data, PrepConfig())
        assert wait(start(["train", str(data), "-o", str(whole), *OPTIONS])) == 0
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        longest_s = LONGEST * (used.ru_utime + used.ru_stime)
        done = rounds = resumed = 0
        while done < kills:
            cut = Path(folder) / f"cut-{rounds}"
            found, went_on = survive(cut, data, rng, longest_s)
            done, resumed, rounds = done + found, resumed + went_on, rounds + 1
            compare(cut, whole)
            print(f"{done} kills, {rounds} runs", file=sys.stderr)
    how = f"{rounds} runs, each equal to the undisturbed one in weights, optimiser, model and log"
    figure("SIGKILLs survived", done, "kills", target=f"≥ {kills}", how=how)
    figure(
        "of them in the middle of a run, which went on",
        resumed,
        "kills",
        how="the others came before its first save, and it began again",
    )


def survive(cut: Path, data: Path, rng: random.Random, longest_s: float) -> tuple[int, int]:
    """Trains `cut` to its end: how often it was killed, and how often it went on."""
    kills = resumed = 0
    while True:
        if (cut / "last.safetensors").exists():
            args = ["train", "--resume", str(cut)]
            resumed += 1
        else:
            args = ["train", str(data), "-o", str(cut), "--force", *OPTIONS]
        process = start(args)
        until_s = rng.uniform(0, longest_s)
        # By its own clock, so that it is at work whatever else the machine does.
        while not ended(process) and cpu_s(process) < until_s:
            time.sleep(rng.uniform(0, TICK_S))
        os.kill(process, signal.SIGKILL)
        status = wait(process)
        if status >= 0:
            assert status == 0 or finished(cut), f"{args} ended with status {status}"
            return kills, resumed
        kills += 1
        whole_files(cut)
        if finished(cut):
            return kills, resumed


def start(args: list[str]) -> int:
    """A process of its own that runs `charlm ARGS`."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        silence = os.open(os.devnull, os.O_RDWR)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = charlm(args)
    finally:
        os._exit(code)


def cpu_s(process: int) -> float:
    """The processor's time that a process has used (this needs Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def ended(process: int) -> bool:
    """Whether a process of ours has ended, though nobody has waited for it."""
    found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def wait(process: int) -> int:
    """The exit status of a process; -9 where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finished(run: Path) -> bool:
    """Whether the run has come to its end."""
    last = run / "last.safetensors"
    if not last.exists():
        return False
    about, _ = model_file.read_tensors(last, "charlm_run")
    return about["run"]["finished"]


def whole_files(run: Path) -> None:
    """Asserts that what is in the run directory can be read."""
    if (run / "model.safetensors").exists():
        model_file.load(run)
    finished(run)


def compare(cut: Path, whole: Path) -> None:
    """Asserts that two runs have come to the same, and that nothing lies about."""
    for name in ("last.safetensors", "model.safetensors"):
        ours, theirs = load_file(cut / name), load_file(whole / name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key].tobytes() == value.tobytes(), f"{name}: {key} differs"
    assert log(cut) == log(whole), "the logs differ"
    assert {path.name for path in cut.iterdir()} == {path.name for path in whole.iterdir()}


def log(run: Path) -> list[dict]:
    """The log without the times."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k != "elapsed_s"} for entry in entries]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="at least so many")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    main(given.kills, given.seed)
