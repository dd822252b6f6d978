"""Every command against whatever it may be given: one clear line, and never a traceback."""

import json
import os
import resource
import subprocess

import pytest
from support.commands import COLD, PATIENCE_S, forked

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig
from charlm.corpus import prepare
from charlm.model_file import Model
from charlm.network import build
from charlm.training.initialise import initial_weights


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that the table names; its models have learned nothing."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text").write_text("the king shall have his own again.\n" * 30)
    corpus = prepare([folder / "text"], folder / "CORPUS", PrepConfig())
    for name in ("MODEL", "BOTH", "RUN"):
        config = NetworkConfig(width=8, cell="gru", bidirectional=name == "BOTH")
        network = build(config, corpus.tokenizer.vocabulary)
        weights = {key: weight.numpy() for key, weight in initial_weights(network, 1).items()}
        (folder / name).mkdir()
        made = Model(network, weights, corpus.tokenizer, corpus_hash=corpus.hash)
        model_file.save(made, folder / name / model_file.MODEL_NAME)
    (folder / "RUN" / "log.jsonl").write_text(LOG)
    for name, data in TEXTS.items():
        (folder / name).write_bytes(data)
    (folder / "DIR").mkdir()
    os.mkfifo(folder / "FIFO")
    (folder / "SECRET").write_text("the king")
    (folder / "SECRET").chmod(0)
    return folder


@pytest.fixture(scope="module")
def run(place):
    """Runs `charlm ARGS` in `place`: status and stderr. A stream whose name is "" is closed."""
    counter = iter(range(10**6))

    def run(args, stdin="/dev/null", stdout="/dev/null"):
        closed = [number for number, name in enumerate((stdin, stdout)) if not name]
        with open(stdin or os.devnull, "rb") as read, open(stdout or os.devnull, "wb") as write:
            done = subprocess.run(
                [*forked(), *args.replace("NEW", f"new-{next(counter)}").split()],
                cwd=place,
                stdin=read,
                stdout=write,
                stderr=subprocess.PIPE,
                timeout=PATIENCE_S,
                preexec_fn=lambda: [os.close(number) for number in closed],
            )
        return done.returncode, done.stderr.decode()

    return run


LOG = """{}
{"steps": 1, "loss_nats": 3.1, "bits_per_char": 4.5, "chars": 64, "elapsed_s": 0.5}
"""
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
    "eval MODEL FILE", "compare MODEL MODEL FILE", "compress MODEL FILE -o NEW",
    "decompress MODEL FILE -o NEW", "fill BOTH FILE --length 1",
    "sample MODEL --prompt-file FILE --length 3", "next MODEL --prompt-file FILE",
    "prep ONE --tokenizer FILE -o NEW", "inspect MODEL FILE",
)  # fmt: skip
READ_MODEL = (
    "sample FILE", "fill FILE ONE", "score FILE ONE", "next FILE", "eval FILE ONE",
    "compare FILE MODEL ONE", "compress FILE ONE -o NEW", "decompress FILE ONE -o NEW",
    "info FILE", "train ONE --init FILE -o NEW", "train --resume FILE",
    "sample MODEL --state FILE", "inspect FILE ONE", "plot FILE", "report FILE -o NEW",
)  # fmt: skip
READ_CORPUS = (
    "zoo FILE --budget 1s --seed 1", "sample MODEL --novel 5 --index FILE --length 3",
    "report RUN --corpus FILE -o NEW",
)  # fmt: skip
WRITE = (
    "sample MODEL --length 3", "score MODEL ONE", "next MODEL", "eval MODEL CORPUS",
    "compress MODEL ONE", "info MODEL", "corpus list", "prep ONE -o NEW --json",
    "inspect MODEL ONE", "plot RUN --json", "report RUN --corpus CORPUS -o -",
)  # fmt: skip
# What is nothing bad and can be done: some texts are short or odd, and any bytes can be compressed
# and measured.
MEASURED = ("ONE", "NUL", "SURROGATE", "LATIN", "NOISE")
FINE = {
    "prep": ("ONE", "NUL"), "train": ("ONE", "NUL"), "score": ("EMPTY", *MEASURED),
    "eval": MEASURED, "compare": MEASURED, "compress": tuple(TEXTS),
    "fill": ("EMPTY", "ONE", "NUL"), "sample": ("EMPTY", "ONE"), "next": ("EMPTY", "ONE"),
    "inspect": MEASURED,
}  # fmt: skip

CASES = [
    (line, name)
    for lines, names in (
        (READ_TEXT, (*TEXTS, *STRANGE)),
        ((*READ_MODEL, *READ_CORPUS), ("EMPTY", "NOISE", "FIFO", *STRANGE)),
    )
    for line in lines
    for name in names
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


@pytest.mark.parametrize(("line", "name"), CASES)
def test_whatever_it_reads(run, line, name):
    status, stderr = run(line.replace("FILE", name))
    if line in READ_TEXT and "--tokenizer" not in line and name in FINE.get(line.split()[0], ()):
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


@pytest.mark.parametrize("line", ["prep - -o NEW", "eval MODEL -", "compare MODEL MODEL -"])
def test_a_closed_stdin_has_nothing_to_read(run, line):
    is_clear(*run(line, stdin=""))


@pytest.mark.slow
def test_a_line_that_does_not_end(charlm, place):
    """Twenty megabytes of one line, in an address space of one gigabyte."""
    (place / "ENDLESS").write_text("the king " * (20 << 20 >> 3))

    def limited(*args):
        return subprocess.run(
            [*COLD, *args],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9)),
        )

    for level in ("char", "byte", "word", "bpe"):
        done = limited("prep", "ENDLESS", "-o", "endless", "--level", level, "--force")
        assert done.returncode == 0, done.stderr
    done = limited("score", "MODEL", "ENDLESS", "--json")
    assert done.returncode == 0, done.stderr
    parts = [json.loads(line)["tokens"] for line in done.stdout.splitlines()]
    # Each part of what is too long for one record has an end of its own.
    assert sum(parts) == (place / "ENDLESS").stat().st_size + len(parts)
    assert len(parts) == 2
