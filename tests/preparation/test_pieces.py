"""Laws of a text prepared piece by piece: by how many, and how often stopped, changes nothing."""

import errno
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from charlm.config import PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import DataError
from charlm.preparation import crew, cutting, lines, sources
from charlm.preparation.cutting import Cutting
from charlm.preparation.sources import Source, Stretch
from charlm.preparation.workplace import place, workplace

LEVELS = ("char", "byte", "word", "bpe")
MIXED = (
    "\ufeffGröße, мир! don't  stop\r\n\n中文。👩‍👩‍👧 e\u0301\u0301 <boundary> <unk>\n\0\n\n\n"
    " \t x\u00a0y\u2028z_1²\n\u0301a line of some length, for the doctor\r\n\r\n"
)
TEXTS = (MIXED * 4 + "an end without a newline", "", "\n\n" + MIXED * 2, "last\n")


def files(corpus):
    return {path.name: path.read_bytes() for path in corpus.iterdir()}


@pytest.fixture
def prep(tmp_path):
    """Prepares texts or bytes, each a file; the files of the corpus, and what was said."""

    def run(*texts, name="data", tokenizer=None, jobs=1, **knobs):
        paths = []
        for i, text in enumerate(texts):
            paths.append(tmp_path / f"text{i}")
            paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        if knobs.get("level") == "bpe" and tokenizer is None:
            knobs.setdefault("vocab_size", 300)
        said, read = [], []
        settings = {"force": True, "say": said.append, "advance": read.append, "jobs": jobs}
        out, config = tmp_path / name, PrepConfig(**knobs)
        prepare(paths, out, config, tokenizer=tokenizer, **settings).verify()
        assert sum(read) == sum(path.stat().st_size for path in paths)
        assert not place(out).exists()
        return files(out), said

    return run


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("records", ["none", "line", "blank", "file"])
@pytest.mark.parametrize("normalize", ["none", "nfkc"])
def test_pieces_add_up_to_the_whole(prep, monkeypatch, level, records, normalize):
    if level == "byte" and normalize != "none":
        pytest.skip("bytes have no normal form")
    knobs = {"level": level, "records": records, "normalize": normalize, "val": 0.2}
    whole = prep(*TEXTS, **knobs)
    for piece_bytes, chunk in [(1, 1 << 19), (300, 37), (1, 1)]:
        monkeypatch.setattr(cutting, "PIECE_BYTES", piece_bytes)
        monkeypatch.setattr(sources, "CHUNK", chunk)
        assert prep(*TEXTS, **knobs) == whole


@pytest.mark.parametrize("level", LEVELS)
def test_how_many_processes_work_changes_nothing(prep, monkeypatch, level):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 1000)
    monkeypatch.setattr(sources, "CHUNK", 300)
    knobs = {"level": level, "records": "line", "normalize": "none", "val": 0.2}
    whole = prep(*TEXTS, **knobs)
    assert prep(*TEXTS, **knobs, jobs=3) == whole


def test_a_given_tokenizer_is_used_by_all_processes(prep, monkeypatch, tmp_path):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 1000)
    monkeypatch.setattr(sources, "CHUNK", 300)
    made, _ = prep(*TEXTS, level="bpe", records="line")
    tokenizer = Corpus(tmp_path / "data").tokenizer
    again, _ = prep(*TEXTS, level="bpe", records="line", tokenizer=tokenizer, jobs=2, name="again")
    assert {k: v for k, v in again.items() if k != "corpus.json"} == {
        k: v for k, v in made.items() if k != "corpus.json"
    }


def test_every_piece_can_be_read_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 100)
    monkeypatch.setattr(sources, "CHUNK", 50)
    texts = [text.encode() for text in TEXTS]
    paths = [tmp_path / f"{i}.gz" if i % 2 else tmp_path / f"{i}" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(gzip.compress(text) if path.suffix else text)
    read = [Source(path, lambda size_bytes: None) for path in paths]
    found, ends, sizes = [], [], []
    for piece in Cutting(read, "none", tmp_path, "").pieces():
        stretches = [Stretch(**stretch) for stretch in piece.stretches]
        text = b"".join(chunk for stretch in stretches for chunk in stretch.chunks())
        found.append(text)
        sizes.append(len(text))
        ends += [stretch.name for stretch in stretches if stretch.last]
    assert b"".join(found) == b"".join(texts)
    assert ends == [str(path) for path in paths]
    assert all(text.endswith(b"\n") for text in found[:-1])
    assert len(sizes) > 5


@pytest.mark.slow
def test_a_text_without_a_newline_is_one_piece(prep, monkeypatch):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 10)
    monkeypatch.setattr(sources, "CHUNK", 8)
    for level in LEVELS:
        found, _ = prep("a b é " * 100, level=level, val=0, test=0)
        assert prep("a b é " * 100, level=level, val=0, test=0, jobs=2)[0] == found


@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_name_the_place_in_the_whole(prep, monkeypatch, tmp_path, jobs):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 10)
    monkeypatch.setattr(sources, "CHUNK", 16)
    good = b"one line of it\n" * 20
    with pytest.raises(DataError, match=r"text1 is not UTF-8 \(byte 0xFF at offset 304, line 21\)"):
        prep(good, good + b"1234\xff\n" + good + b"\xfe", jobs=jobs)
    prep(good, name="known")
    tokenizer = Corpus(tmp_path / "known").tokenizer
    with pytest.raises(DataError, match=r"'z' \(U\+007A\) at .*text0, line 21, column 2"):
        prep(good + b"lz\n" + good + b"y", tokenizer=tokenizer, jobs=jobs)
    assert not place(tmp_path / "data").exists()


KILLED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
from charlm.preparation import cutting, sources
cutting.PIECE_BYTES = sources.CHUNK = 1 << 16
whole = cutting.Cutting._piece
def slowly(*args):
    time.sleep(0.03)  # so that there is time to kill it
    return whole(*args)
cutting.Cutting._piece = slowly
from charlm.cli import main
sys.exit(main(sys.argv[1:]))
"""


def start(*args):
    command = [sys.executable, "-c", KILLED, "prep", *map(str, args)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.parametrize(("level", "many"), [("char", 1 << 8), ("word", 1 << 8), ("word", 1 << 16)])
def test_symbols_may_become_too_many_for_fewer_bytes(prep, monkeypatch, level, many):
    symbols = [chr(0x4E00 + i) if level == "char" else f"{i:x} " for i in range(many + 100)]
    # A piece whose own numbers are not those of the whole, and one that makes these need more.
    texts = ["".join(part) + "\n" for part in (symbols[:50], symbols[100:30:-1], symbols)]
    whole = prep(*texts, level=level)
    monkeypatch.setattr(cutting, "PIECE_BYTES", 1)
    assert prep(*texts, level=level, jobs=2) == whole


@pytest.mark.slow
@pytest.mark.parametrize(("level", "jobs"), [("char", 1), ("word", 2), ("bpe", 2)])
def test_what_was_killed_goes_on_from_what_is_done(tmp_path, level, jobs):
    rng = random.Random(7)
    words = ["".join(rng.choices("abcdefghijklmnopé", k=rng.randrange(1, 9))) for _ in range(3000)]
    text = tmp_path / "text"
    text.write_text("".join(f"{' '.join(rng.choices(words, k=9))}\n" for _ in range(60_000)))
    options = ["--level", level, "--jobs", jobs]
    whole = start(text, "-o", tmp_path / "whole", *options)
    assert whole.communicate(timeout=300)[0] == b""
    killed, work = start(text, "-o", tmp_path / "cut", *options), tmp_path / ".cut.prep"
    while len(list(work.glob("*.json"))) < 5:
        assert killed.poll() is None, "it was done before it could be killed"
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "cut").exists()
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("*.json")}
    second = start(text, "-o", tmp_path / "cut", *options)
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert b"going on from what an earlier start has done" in said
    assert b"done anew" not in said
    assert len(done) >= 5
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "text", "whole"]


def stopped(prep, monkeypatch, *texts, error=KeyboardInterrupt, **knobs):
    """Prepares up to an error in the middle: an interrupt, which is caught, or another."""
    honest, calls = crew.do, iter(range(3))

    def do(task):
        if next(calls, None) is None:
            raise error
        return honest(task)

    with monkeypatch.context() as patch:
        patch.setattr(crew, "do", do)
        with suppress(KeyboardInterrupt):
            prep(*texts, **knobs)
            pytest.fail("it was not stopped")


@pytest.mark.parametrize(
    "change", ["nothing", "an option", "the text", "the beginning", "damage", "a lie"]
)
def test_only_what_is_still_right_is_kept(prep, monkeypatch, tmp_path, change):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 100)
    monkeypatch.setattr(sources, "CHUNK", 100)
    text = "".join(f"line {i} of the text\n" for i in range(100))
    stopped(prep, monkeypatch, text)
    work = place(tmp_path / "data")
    assert len(list(work.glob("*.json"))) == 3
    knobs = {"level": "word"} if change == "an option" else {}
    if change == "the text":
        text = text[:250] + "X" + text[251:]
    elif change == "the beginning":
        text = "X" + text[1:]
    elif change == "damage":
        for path in work.glob("*.ids"):
            path.write_bytes(path.read_bytes()[:-1])
    elif change == "a lie":
        for path in work.glob("*.json"):
            path.write_text(path.read_text().replace('"counts": [', '"counts": [7'))
    found, said = prep(text, **knobs)
    kept, anew = ("going on" in " ".join(said)), ("done anew" in " ".join(said))
    assert kept == (change in ("nothing", "the text"))
    assert anew == (change != "nothing")
    assert found == prep(text, name="plain", **knobs)[0]


def test_a_process_that_ends_is_told_of_and_its_work_stays(prep, monkeypatch, tmp_path):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 100)
    monkeypatch.setattr(sources, "CHUNK", 100)
    text = "".join(f"line {i} of the text\n" for i in range(100))
    stopped(prep, monkeypatch, text)
    done = files(place(tmp_path / "data"))
    with monkeypatch.context() as patch:
        patch.setattr(crew.sys, "executable", "/bin/false")
        with pytest.raises(ChildProcessError, match="ended before its work was done"):
            prep(text, jobs=2)
    assert done.items() <= files(place(tmp_path / "data")).items()
    assert prep(text)[1][0].startswith("going on")


def test_a_full_disk_leaves_what_is_done(prep, monkeypatch, tmp_path):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 100)
    monkeypatch.setattr(sources, "CHUNK", 100)
    text = "".join(f"line {i} of the text\n" for i in range(100))
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DataError, match="No space left on device"):
        stopped(prep, monkeypatch, text, error=full)
    assert len(list(place(tmp_path / "data").glob("*.json"))) == 3
    found, said = prep(text)
    assert said[0].startswith("going on")
    assert found == prep(text, name="plain")[0]


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit here")
def test_a_disk_that_is_full_for_other_processes(prep, monkeypatch, tmp_path):
    """Their files are limited in size, as theirs alone can be without harm to this process."""
    honest = subprocess.Popen

    def limited(command, **settings):
        return honest(["prlimit", "--fsize=1000", *command], **settings)

    with monkeypatch.context() as patch:
        patch.setattr(crew.subprocess, "Popen", limited)
        with pytest.raises(DataError, match="File too large"):
            prep("a text that takes some room\n" * 1000, jobs=2)
    assert not place(tmp_path / "data").exists()


def test_a_corpus_is_not_done_until_what_comes_last_is(prep, monkeypatch, tmp_path):
    """A kill while the index is made costs the index, and not hours of numbering."""
    text = tmp_path / "text"
    text.write_text("a line of it\n" * 100)

    def killed(directory):
        assert Corpus(directory).size("train").tokens > 0
        raise KeyboardInterrupt

    settings = {"config": PrepConfig(), "out": tmp_path / "data"}
    with pytest.raises(KeyboardInterrupt):
        prepare([text], finish=killed, **settings)
    assert not (tmp_path / "data").exists()
    said = []
    prepare(
        [text], finish=lambda directory: (directory / "more").touch(), say=said.append, **settings
    )
    assert said[0].startswith("going on")
    assert (tmp_path / "data" / "more").exists()


def test_a_text_that_has_grown_is_not_read_from_zero(prep, monkeypatch):
    monkeypatch.setattr(cutting, "PIECE_BYTES", 100)
    monkeypatch.setattr(sources, "CHUNK", 100)
    text = "".join(f"line {i} of the text\n" for i in range(100))
    stopped(prep, monkeypatch, text)
    found, said = prep(text + "more\n")
    assert said[0].startswith("going on")
    assert found == prep(text + "more\n", name="plain")[0]


def test_two_cannot_make_one_corpus(tmp_path, prep):
    with (
        workplace(place(tmp_path / "data"), print),
        pytest.raises(DataError, match="another process is making this corpus"),
    ):
        prep("text")


def test_an_interrupt_says_how_to_go_on(tmp_path):
    rng = random.Random(3)
    text = tmp_path / "text"
    text.write_text("".join(f"{rng.random()}\n" for _ in range(300_000)))
    process = start(text, "-o", tmp_path / "data", "--level", "word", "--jobs", 2)
    while len(list((tmp_path / ".data.prep").glob("*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"the same command goes on" in said
    assert b"Traceback" not in said


def test_stdin_and_gzip_in_several_processes(charlm, tmp_path):
    data = (MIXED * 3000).encode()
    (tmp_path / "text.gz").write_bytes(gzip.compress(data, 1))
    assert charlm("prep", "-", "-o", tmp_path / "a", stdin=data).returncode == 0
    done = charlm("prep", "-", "-o", tmp_path / "b", "--jobs", 2, stdin=data)
    assert done.returncode == 0, done.stderr
    done = charlm("prep", tmp_path / "text.gz", "-o", tmp_path / "c", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert Corpus(tmp_path / "a").hash == Corpus(tmp_path / "c").hash


def test_jobs_are_as_many_as_the_text_needs(tmp_path, monkeypatch):
    (tmp_path / "small").write_bytes(b"x" * 100)
    monkeypatch.setattr(crew, "cores", lambda: 4)
    assert crew.jobs_for([tmp_path / "small", tmp_path / "missing"]) == 1
    monkeypatch.setattr(crew, "LARGE_BYTES", 100)
    assert crew.jobs_for([tmp_path / "small"]) == 4


def test_lines_of_parts_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(lines, "KEPT_AT_MOST", 50)
    rng = random.Random(1)
    parts = [
        "".join(f"this is the line number {rng.randrange(400)} é\n" for _ in range(90)).encode()
        for _ in range(8)
    ]
    whole, sum_of_parts = lines.Lines(), lines.Lines()
    for part in parts:
        whole.add(part)
        one = lines.Lines(sum_of_parts.bits)
        one.add(part)
        one.close()
        sum_of_parts.absorb(one.state())
    whole.close()
    assert sum_of_parts.state() == whole.state()
    assert whole.sampled


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_word_without_end_is_refused(prep, jobs):
    with pytest.raises(DataError, match="no newline and no space between words"):
        prep("a" * (5 << 20), level="word", jobs=jobs)
    for level in ("char", "bpe"):
        assert prep("a" * (5 << 20), level=level, jobs=jobs)
