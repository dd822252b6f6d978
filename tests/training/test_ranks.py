"""Several processes that train one network: the laws of ranks, and torchrun through real processes.

Each process loads torch, which is what takes most of the time here, so few of them are begun.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from support.paths import ROOT
from support.runs import log, weights, without_times
from support.trainers import trainer

from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError, TrainingError
from charlm.training import begin, checkpoint
from charlm.training.ranks import Ranks, meet
from charlm.training.recovery import MemoryLackError
from charlm.training.standing import Listener

# Saves come with validations, so that there is always one that is not long ago.
OPTIONS = [
    "--steps", 240, "--eval-every", 12, "--dropout", 0.1, "--weight-drop", 0.1, "--average", "ema",
    "--width", 16, "--batch", 6, "--context", 16, "--seed", 1, "--device", "cpu",
    "--precision", "float32",
]  # fmt: skip
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its processes in /proc")


def ranks(rank, count):
    one = Ranks()
    one.rank, one.count = rank, count
    return one


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("total", [1, 3, 8, 64])
def test_each_row_is_of_one_rank_and_none_has_many_more(count, total):
    shares = [list(range(total))[ranks(rank, count).rows(total)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_processes_than_rows_are_refused(tmp_path):
    (tmp_path / "text").write_text("the cat sat on the mat.\n" * 100)
    data = prepare([tmp_path / "text"], tmp_path / "data", PrepConfig())
    knobs = NetworkConfig(width=8), TrainingConfig(steps=2, batch=4, device="cpu", seed=1)
    with pytest.raises(ConfigError, match="--batch 5"):
        begin.begin(data, tmp_path / "run", *knobs, Listener(), 0.0, None, ranks(0, 5))
    assert not (tmp_path / "run").exists()
    begin.begin(data, tmp_path / "one", *knobs, Listener(), 0.0).save()
    with pytest.raises(ConfigError, match="--batch 5"):
        begin.resume(tmp_path / "one", None, {}, Listener(), 0.0, ranks(0, 5))


@pytest.mark.parametrize("late", [[0], [1, 2], []])
def test_the_ranks_of_each_start_meet_whoever_was_there_before(late):
    store, names = dist.HashStore(), []
    store.set("ask/1", "one that is no more")

    def met(rank):
        time.sleep(0.3 * (rank in late))
        return meet(store, rank, 3, timedelta(seconds=60))

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            names.append(set(pool.map(met, range(3))))
    assert [len(name) for name in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_do_not_wait_for_ever_for_those_that_were_there_before(rank):
    store = dist.HashStore()
    store.set("ask/1", "one that is no more")
    with pytest.raises(RuntimeError):
        meet(store, rank, 2, timedelta(seconds=0.3))


def test_a_rank_that_sees_an_old_file_waits_for_the_new_one(tmp_path, monkeypatch):
    path, other = tmp_path / "last", ranks(1, 2)
    path.write_bytes(b"new")
    other.from_first = lambda mine: (zlib.crc32(b"new"),)
    checkpoint.seen(path, other)
    path.write_bytes(b"old")
    thread = threading.Timer(0.3, path.write_bytes, [b"new"])
    thread.start()
    checkpoint.seen(path, other)
    assert path.read_bytes() == b"new"
    path.unlink()
    monkeypatch.setattr(checkpoint, "SEEN_WITHIN_S", 0.0)
    with pytest.raises(DataError, match="must see the same"):
        checkpoint.seen(path, other)


def test_a_lack_of_memory_that_others_do_not_have_ends_a_rank():
    """Alone it makes the update in parts; among others, which may have made theirs, it cannot."""

    def lacking(number):
        raise MemoryError

    for count, error in ((1, MemoryError), (2, TrainingError)):
        one = trainer()
        one.ranks = ranks(0, count)
        one.optimizers[0].step = lacking
        with pytest.raises(error) as caught:
            one.step(0.0)
        assert not isinstance(caught.value, MemoryLackError)


# Several ranks against one, in the updates that they make and in the states that they save.
LAWS = """
import sys

import torch
from support.trainers import run, trainer

from charlm.training import ranks

CASES = {
    "lstm": {"layers": 2, "dropout": 0.2},
    "records": {"records": True, "batch": 4},
    "fewer rows than ranks": {"records": True, "batch": 2, "dropout": 0.2},
    "fewer in bfloat16": {"records": True, "batch": 2, "precision": "bfloat16"},
    "both sides": {"cell": "gru", "options": {"bidirectional": True}, "dropout": 0.2},
    "attention": {"cell": "gru", "options": {"attention": True, "memory": 5}},
    "members": {"options": {"members": 2}, "dropout": 0.2, "clip": 0.05},
    "everything": {
        "vary_context": True, "micro_batch": 1, "batch": 7, "optimizer": "muon", "dropout": 0.1,
        "dropout_kind": "variational", "dropout_input": 0.1, "dropout_embedding": 0.1,
        "dropout_output": 0.2, "weight_drop": 0.2, "activation_penalty": 1.0, "average": "ema",
    },
}

torch.set_num_threads(1)
together = ranks.join()
for name in sys.argv[1:] or CASES:
    settings = CASES[name]
    alike = {"rtol": 2e-4, "atol": 2e-4}
    if "precision" in settings:
        alike = {"rtol": 5e-2, "atol": 5e-2}
    alone, shared, one, more = (trainer(**settings) for _ in range(4))
    shared.ranks = more.ranks = together
    expected, found = run(alone, 12), run(shared, 12)
    for saved, other in ((shared, one), (alone, more)):
        tensors, about = saved.state_dict()
        other.load_state_dict({key: tensor.clone() for key, tensor in tensors.items()}, about)
    expected += run(alone, 12)
    found += run(shared, 12)
    for trained in (one, more):
        losses = run(trained, 12)
        torch.testing.assert_close(losses, expected[12:], **alike)
    torch.testing.assert_close(found, expected, **alike)
    assert shared.tokens == alone.tokens
    if together.is_first:
        print(name, flush=True)
try:
    with together.together():
        if together.rank == 1:
            raise MemoryError("here")
except MemoryError as error:
    assert (str(error) == "here") == (together.rank == 1)
else:
    sys.exit("a lack of memory was not heard of")
assert together.from_first(float(together.rank), 1e-300) == (0.0, 1e-300)
assert together.highest(float(together.rank)) == (together.count - 1.0,)
together.parting = True
ranks.leave(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("count", "cases"), [(3, []), (4, ["records", "fewer rows than ranks"])])
def test_ranks_make_the_updates_of_one_and_each_goes_on_with_what_the_other_saved(
    torchrun, tmp_path, count, cases
):
    (tmp_path / "laws.py").write_text(LAWS)
    done = finish(torchrun(count, tmp_path / "laws.py", *cases, path=ROOT / "tests"))
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.decode().splitlines()) == (len(cases) or 8)


@pytest.fixture(scope="module")
def torchrun():
    """Begins `torchrun ARGS` with so many processes on this machine, and leaves none behind."""
    begun = []

    def begin_some(count, *args, options=(), path=""):
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count]
        roots = [str(ROOT), str(path), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [sys.executable, *map(str, [*command, *options, *args])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(roots)},
        )
        begun.append(process)
        return process

    yield begin_some
    for process in begun:
        with process:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def two(torchrun, corpus, tmp_path_factory):
    """A run of two processes, and how it was."""
    run = tmp_path_factory.mktemp("two") / "run"
    done = finish(torchrun(2, "-m", "charlm", "train", corpus, "-o", run, *OPTIONS))
    assert done.returncode == 0, done.stderr.decode()
    return run, done


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(charlm, corpus, two, tmp_path):
    run, done = two
    one = tmp_path / "one"
    assert charlm("train", corpus, "-o", one, *OPTIONS).returncode == 0
    for ours, theirs in zip(log(run)[1:], log(one)[1:], strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"elapsed_s", "best"}:
            numbers = isinstance(ours[key], float)
            expected = pytest.approx(theirs[key], rel=1e-4) if numbers else theirs[key]
            assert ours[key] == expected, key
    assert log(run)[0]["processes"] == 2
    # One of them speaks, and writes.
    said = done.stderr.decode()
    assert done.stdout == b""
    assert said.count("240 updates in") == said.count("step 240: validation") == 1
    assert {path.name for path in run.iterdir()} == {path.name for path in one.iterdir()}


@pytest.mark.slow
def test_what_two_have_saved_goes_on_with_one(charlm, two, tmp_path):
    run, _ = two
    copied = tmp_path / "run"
    subprocess.run(["cp", "-r", run, copied], check=True)
    done = charlm("train", "--resume", copied, "--steps", 250)
    assert done.returncode == 0, done.stderr.decode()
    assert b"2 processes, and this is" in done.stderr
    assert log(copied)[-1]["steps"] == 250
    assert log(copied)[-1]["network_val_nats_per_char"] < log(copied)[1]["loss_nats"]


@pytest.mark.slow
def test_a_killed_process_rejoins_and_nothing_is_lost(torchrun, corpus, two, tmp_path):
    run = tmp_path / "run"
    process = torchrun(
        2, "-m", "charlm", "train", corpus, "-o", run, *OPTIONS, options=["--max-restarts", 2]
    )
    for killed, entries in ((1, 4), (0, 14)):
        wait_for(lambda n=entries: (run / "log.jsonl").exists() and len(log(run)) > n, process)
        wait_for(lambda n=killed: worker(process, n), process)
        os.kill(worker(process, killed), signal.SIGKILL)
        wait_for(lambda n=killed: worker(process, n), process)
    done = finish(process)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.count(b"the last that were saved") == 2
    equal(run, two[0])


@pytest.mark.slow
def test_sigterm_saves_and_the_run_goes_on_exactly(torchrun, corpus, two, tmp_path):
    run = tmp_path / "run"
    process = torchrun(2, "-m", "charlm", "train", corpus, "-o", run, *OPTIONS)
    wait_for(lambda: (run / "log.jsonl").exists() and len(log(run)) > 6, process)
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    assert done.returncode != 0
    assert f"charlm train --resume {run}" in done.stderr.decode()
    assert 6 < log(run)[-1]["steps"] < 240
    again = finish(torchrun(2, "-m", "charlm", "train", "--resume", run))
    assert again.returncode == 0, again.stderr.decode()
    assert b"not bit for bit" not in again.stderr
    equal(run, two[0])


# One process, as torchrun would begin it; it is killed when it is about to save for the first time.
KILLED = """
import os, sys
from charlm.training import checkpoint
checkpoint.save = lambda *parts: os._exit(137)
from charlm.cli import main
sys.exit(main(sys.argv[1:]))
"""


def as_one_of(job, *args):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}
    place |= {"MASTER_PORT": port, "TORCHELASTIC_RUN_ID": job}
    return subprocess.run(
        [sys.executable, *map(str, args)],
        env=os.environ | {name: str(value) for name, value in place.items()},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.slow
def test_what_was_killed_before_its_first_save_is_begun_again_by_its_job_alone(tmp_path):
    text, run = tmp_path / "text", tmp_path / "run"
    text.write_text("the cat sat on the mat.\n" * 100)
    args = ["train", text, "-o", run, "--steps", 3, "--width", 8, "--batch", 4, "--device", "cpu"]
    assert as_one_of("tale", "-c", KILLED, *args).returncode == 137
    assert {path.name for path in run.iterdir()} >= {"corpus", "log.jsonl"}
    other = as_one_of("other", "-m", "charlm", *args)
    assert b"exists already" in other.stderr
    done = as_one_of("tale", "-m", "charlm", *args)
    assert done.returncode == 0, done.stderr.decode()
    assert log(run)[-1]["steps"] == 3
    assert not list(run.glob(".*"))


BUG = """
import sys
from charlm import cli
from charlm.training import ranks

def bug(*args, **settings):
    ranks.join()
    raise ValueError("a bug")

cli.cli.main = bug
cli.main([])
"""


@pytest.mark.slow
def test_a_bug_shows_its_traceback(tmp_path):
    done = as_one_of("tale", "-c", BUG)
    assert done.returncode == 1
    assert done.stderr.count(b"ValueError: a bug") == 1
    assert b"Traceback" in done.stderr


ABORT = """
import time
import click
from charlm import cli
from charlm.training import ranks

def abort(*args, **settings):
    if ranks.join().rank:
        time.sleep(1000)
    raise click.Abort

cli.cli.main = abort
cli.main([])
"""


@pytest.mark.slow
def test_a_second_interrupt_waits_for_nobody(torchrun, tmp_path):
    (tmp_path / "abort.py").write_text(ABORT)
    done = finish(torchrun(2, tmp_path / "abort.py"), timeout_s=200)
    assert b"exitcode  : 130" in done.stderr


@pytest.mark.slow
def test_a_mistake_is_told_once(torchrun, corpus, tmp_path):
    """By the first of them, and torchrun tells of it in its own way after that."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    train = ["-m", "charlm", "train", corpus, "-o", tmp_path / "run", *OPTIONS]
    done = finish(torchrun(2, *train))
    assert done.returncode == 1
    assert done.stderr.decode().count("charlm did not make it") == 1


def finish(process, timeout_s=600):
    """How a process ended."""
    out, err = process.communicate(timeout=timeout_s)
    assert b"terminate called" not in err, err.decode()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def worker(process, rank):
    """The process id of that rank, or None where it is not there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if b"RANK=%d" % rank in environment:
            return int(child)
    return None


def wait_for(condition, process, timeout_s=600):
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.02)


def equal(run, other):
    """Asserts that two runs came to the same, bit for bit, and tell the same of it."""
    assert without_times(log(run)) == without_times(log(other))
    assert weights(run) == weights(other)
    assert json.loads((run / "log.jsonl").read_text().splitlines()[0])["processes"] == 2
