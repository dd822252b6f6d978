"""Every command against whatever it may be given: one clear line, and never a traceback."""

import json
import os
import subprocess
import sys

import pytest

# Runs each command line it is told of in a process of its own, forked from one in which all that
# is slow to load is loaded.
SERVER = """
import json, os, signal, sys, time
import charlm.cli, charlm.training.begin, charlm.measuring.evaluation, charlm.compression
import torch
torch.set_num_threads(1)
for line in sys.stdin:
    case = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(case["cwd"])
        for number, (path, flags) in enumerate(case["streams"]):
            if path:
                os.dup2(os.open(path, flags, 0o600), number)
        for number, (path, _) in enumerate(case["streams"]):
            if not path:
                os.close(number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False) if case["streams"][number][0] else None
            for number, mode in enumerate("rww")
        )
        sys.argv[1:] = case["args"]
        import runpy
        runpy.run_module("charlm", run_name="__main__", alter_sys=True)
    until = time.monotonic() + case["timeout_s"]
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    print(os.waitstatus_to_exitcode(found[1]), flush=True)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, corpus, model, both_sides_model):
    """A folder with all that the table names."""
    folder = tmp_path_factory.mktemp("bad")
    names = {"CORPUS": corpus, "MODEL": model, "BOTH": both_sides_model}
    for name, path in names.items():
        (folder / name).symlink_to(path)
    for name, data in TEXTS.items():
        (folder / name).write_bytes(data)
    (folder / "DIR").mkdir()
    os.mkfifo(folder / "FIFO")
    (folder / "SECRET").write_text("the king")
    (folder / "SECRET").chmod(0)
    return folder


@pytest.fixture(scope="module")
def run(place):
    """Runs `charlm ARGS` in `place`: status, stdout and stderr."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    counter = iter(range(10**6))

    def run(args, stdin="/dev/null", stdout=None):
        number = next(counter)
        out, err = place / f"{number}.stdout", place / f"{number}.stderr"
        write = os.O_WRONLY | os.O_CREAT
        streams = [
            (stdin, os.O_RDONLY),
            (str(out) if stdout is None else stdout, write),
            (str(err), write),
        ]
        args = [arg.replace("NEW", f"new-{number}") for arg in args.split()]
        case = {"cwd": str(place), "args": args, "streams": streams, "timeout_s": 120}
        server.stdin.write(json.dumps(case) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline()), err.read_text()

    yield run
    server.stdin.close()
    server.wait()
    server.stdout.close()


TEXTS = {
    "EMPTY": b"",
    "ONE": b"t",
    "NUL": b"the\0king\0",
    "SURROGATE": b"the \xed\xa0\x80 king",
    "LATIN": b"the caf\xe9 of the king",
    "NOISE": bytes((i * i * 31 + i // 7) % 256 for i in range(3000)),
}
STRANGE = ("DIR", "MISSING")
READ_TEXT = (
    "prep FILE -o NEW", "train FILE -o NEW --steps 1 --width 8", "score MODEL FILE",
    "eval MODEL FILE", "compare MODEL BOTH FILE", "compress MODEL FILE -o NEW",
    "decompress MODEL FILE -o NEW", "fill BOTH FILE --length 1",
    "sample MODEL --prompt-file FILE --length 3", "next MODEL --prompt-file FILE",
    "prep ONE --tokenizer FILE -o NEW",
)  # fmt: skip
READ_MODEL = (
    "sample FILE", "fill FILE ONE", "score FILE ONE", "next FILE", "eval FILE ONE",
    "compare FILE MODEL ONE", "compress FILE ONE -o NEW", "decompress FILE ONE -o NEW",
    "info FILE", "train ONE --init FILE -o NEW", "train --resume FILE",
    "sample MODEL --state FILE",
)  # fmt: skip
READ_CORPUS = ("zoo FILE --budget 1s --seed 1", "sample MODEL --novel 5 --index FILE --length 3")
WRITE = (
    "sample MODEL --length 3", "score MODEL ONE", "next MODEL", "eval MODEL CORPUS",
    "compress MODEL ONE", "info MODEL", "corpus list", "prep ONE -o NEW --json",
)  # fmt: skip
# What is nothing bad: it can be done.
FINE = set()

CASES = [
    *[line.replace("FILE", name) for line in READ_TEXT for name in (*TEXTS, *STRANGE)],
    *[
        line.replace("FILE", name)
        for line in (*READ_MODEL, *READ_CORPUS)
        for name in ("EMPTY", "NOISE", "FIFO", *STRANGE)
    ],
]


def is_clear(status, stderr):
    """An error is told in one line, after whatever was said on the way; wrong usage says how."""
    assert "Traceback" not in stderr
    assert status in (1, 2), stderr
    if status == 1:
        assert stderr.count("charlm: ") == 1, stderr
        assert stderr.splitlines()[-1].startswith("charlm: ")
    else:
        assert "Usage: " in stderr


def test_the_table_is_long():
    assert len(set(CASES)) >= 60


@pytest.mark.parametrize("case", CASES)
def test_whatever_it_reads(run, case):
    status, stderr = run(case)
    if case in FINE:
        assert status == 0, stderr
    else:
        is_clear(status, stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("line", [*READ_TEXT, *READ_MODEL, *READ_CORPUS])
def test_what_must_not_be_read(run, line):
    is_clear(*run(line.replace("FILE", "SECRET")))


@pytest.mark.parametrize("line", WRITE)
@pytest.mark.parametrize("stdout", ["/dev/full", ""])
def test_a_full_disk_and_a_closed_stdout_for_the_result(run, line, stdout):
    is_clear(*run(line, stdout=stdout))


@pytest.mark.parametrize("line", [line for line in READ_TEXT if "prompt" not in line])
def test_a_closed_stdin_has_nothing_to_read(run, line):
    status, stderr = run(line.replace("FILE", "-"), stdin="")
    assert "Traceback" not in stderr
    assert status in (0, 1, 2)
