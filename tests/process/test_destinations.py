"""What stands at the PATH of -o: a link, a device, a FIFO, a file with a mode, an input."""

import os
import stat
from functools import cache
from pathlib import Path

import pytest
from support import commands
from support.params import quick

WRITERS = {
    "compress": ["compress", "MODEL", "TEXT"],
    "decompress": ["decompress", "MODEL", "CLM"],
    "plot": ["plot", "MODEL"],
    "report": ["report", "MODEL"],
    "export": ["export", "MODEL", "--to", "onnx"],
}
QUICK = quick(["compress", "export"], WRITERS)
NAME = "out.svg"  # a plot knows its kind by it


@pytest.fixture(scope="module")
def files(charlm, model, tmp_path_factory):
    """A text and what compress makes of it."""
    folder = tmp_path_factory.mktemp("destinations")
    (folder / "text").write_text("the king shall have his own again.\n" * 30)
    done = charlm("compress", model, folder / "text", "-o", folder / "clm")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def words(model, files):
    """The command line of each writer, without its -o."""
    names = {"MODEL": model, "TEXT": files / "text", "CLM": files / "clm"}
    return {name: [str(names.get(word, word)) for word in args] for name, args in WRITERS.items()}


@pytest.fixture(scope="module")
def results(charlm, words, tmp_path_factory):
    """What a writer, by its name, writes to a file that was not there before."""

    @cache
    def found(name):
        path = tmp_path_factory.mktemp(name) / NAME
        done = charlm(*words[name], "-o", path)
        assert done.returncode == 0, done.stderr
        return path.read_bytes()

    return found


def node(path, minor):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    except (AttributeError, PermissionError):
        pytest.skip("no device node can be made here")


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("there", [False, True], ids=["dangling", "to a file"])
def test_a_link_is_followed_and_a_mode_kept(charlm, words, results, tmp_path, name, there):
    link, target = tmp_path / NAME, tmp_path / "elsewhere" / "file"
    target.parent.mkdir()
    link.symlink_to(Path("elsewhere", "file"))
    if there:
        target.write_bytes(b"before")
        target.chmod(0o600)
        assert charlm(*words[name], "-o", link).returncode == 1
        assert target.read_bytes() == b"before"
    done = charlm(*words[name], "-o", link, *(["--force"] if there else []))
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert target.read_bytes() == results(name)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == (0o600 if there else 0o666 & ~umask)
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["elsewhere", "file", NAME])


@pytest.mark.parametrize("name", QUICK)
def test_a_fifo_gets_the_bytes(words, results, tmp_path, name):
    path = tmp_path / NAME
    os.mkfifo(path)
    process = commands.start(*words[name], "-o", path)
    assert path.read_bytes() == results(name)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert path.is_fifo()


def test_a_fifo_whose_reader_leaves_is_told(words, tmp_path):
    path = tmp_path / NAME
    os.mkfifo(path)
    process = commands.start(*words["report"], "-o", path)
    os.close(os.open(path, os.O_RDONLY))
    said = process.communicate()[1].decode()
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith(f"charlm: {path}")
    assert "Traceback" not in said


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("device", ["null", "full"])
def test_a_device_stays_one(charlm, words, tmp_path, name, device):
    path = tmp_path / NAME
    node(path, {"null": 3, "full": 7}[device])
    done = charlm(*words[name], "-o", path, "--force")
    assert path.is_char_device()
    assert list(tmp_path.iterdir()) == [path]
    assert done.returncode == (device == "full"), done.stderr
    if device == "full":
        said = done.stderr.decode().splitlines()[-1]
        assert said == f"charlm: {path}: No space left on device"


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "plot"])
def test_dev_stdout_is_stdout(charlm, words, results, tmp_path, name):
    before = os.stat("/dev/stdout", follow_symlinks=False)
    assert charlm(*words[name], "-o", "/dev/stdout").stdout == results(name)
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before")
        file.flush()
        process = commands.start(*words[name], "-o", "/dev/stdout", "--force", stdout=file)
        process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"before" + results(name)
    assert os.path.samestat(os.stat("/dev/stdout", follow_symlinks=False), before)


def test_an_input_is_not_written_to(charlm, model, corpus, files, tmp_path):
    model_file, link = model / "model.safetensors", tmp_path / "link.svg"
    (tmp_path / "model.clm").write_bytes(model_file.read_bytes())
    commands_refused = [
        ["compress", model, files / "text", "-o", model_file],
        ["compress", model, files / "text", "-o", files / "text"],
        ["compress", tmp_path / "model.clm", files / "text", "-o", tmp_path / "model.clm"],
        ["decompress", model, files / "clm", "-o", files / "clm"],
        ["decompress", model, files / "clm", "-o", model / "log.jsonl"],
        ["export", model, "--to", "onnx", "-o", model_file],
        ["report", model, "-o", model / "last.safetensors"],
        ["report", model, "-o", corpus / "val.bin"],
        ["plot", model, "-o", link],
        ["prep", corpus / "train.bin", "-o", corpus],
    ]
    link.symlink_to(model / "log.jsonl")
    folders = (model, corpus, files, tmp_path)
    before = {p: p.read_bytes() for folder in folders for p in folder.iterdir() if p.is_file()}
    for args in commands_refused:
        done = charlm(*args, "--force")
        assert done.returncode == 1, args
        said = done.stderr.decode()
        assert "choose another name" in said
        assert said.count("\n") == 1
    after = {p: p.read_bytes() for folder in folders for p in folder.iterdir() if p.is_file()}
    assert after == before


def test_the_parts_of_a_run_and_of_a_corpus_are_known(charlm, model, corpus, tmp_path):
    from charlm.cli.files import PARTS

    (tmp_path / "text").write_text("the king shall have his own again.\n" * 100)
    done = charlm("prep", "text", "-o", "data", "--index", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for folder in (model, corpus, tmp_path / "data"):
        assert {path.name for path in folder.iterdir()} <= set(PARTS)


def test_a_directory_is_made_where_a_link_points(charlm, model, tmp_path):
    (tmp_path / "text").write_text("the king shall have his own again.\n" * 100)
    makers = {
        "prep": ["prep", "text"],
        "train": ["train", "prep", "--steps", "2", "--width", "16"],
        "export": ["export", "train", "--to", "torch"],
    }
    (tmp_path / "elsewhere").mkdir()
    for name, args in makers.items():
        (tmp_path / name).symlink_to(Path("elsewhere", name))
        for again in ([], ["--force"]):
            done = charlm(*args, "-o", name, *again, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert (tmp_path / name).is_symlink()
            target = tmp_path / "elsewhere" / name
            assert target.is_dir()
            if again:
                assert stat.S_IMODE(target.stat().st_mode) == 0o750
            target.chmod(0o750)
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == set(makers)


def test_a_state_may_be_written_to_a_stream_and_replaces_nothing_but_a_state(
    charlm, model, tmp_path
):
    args = ["sample", model, "--prompt", "the", "--length", "0", "--save-state"]
    state, fifo = tmp_path / "state", tmp_path / "fifo"
    assert charlm(*args, state).returncode == 0
    os.mkfifo(fifo)
    process = commands.start(*args, fifo)
    assert fifo.read_bytes() == state.read_bytes()
    process.communicate()
    assert process.returncode == 0
    assert charlm(*args, model / "log.jsonl").returncode == 1


@pytest.mark.parametrize("mode", ["ab", "wb"], ids=["appended", "truncated"])
@pytest.mark.parametrize("stdin", [False, True], ids=["named", "stdin"])
@pytest.mark.parametrize(
    "line",
    [
        "score MODEL FILE",
        "score MODEL FILE --worst 3",
        "compress MODEL FILE",
        "decompress MODEL FILE",
        "sample MODEL --per-line",
    ],
)
def test_a_file_that_is_read_is_not_written_to_by_stdout(model, tmp_path, line, stdin, mode):
    """Else `charlm score run f >> f` would read its own output, without an end."""
    file = tmp_path / "file"
    file.write_text("the king shall have his own again.\n" * 30)
    stdin = stdin or "FILE" not in line
    names = {"MODEL": model, "FILE": "-" if stdin else file}
    args = [names.get(word, word) for word in line.split()]
    with file.open(mode) as out, file.open("rb") as text:
        before = file.read_bytes()
        process = commands.start(*args, stdout=out, stdin=text if stdin else None)
        _, said = process.communicate(timeout=commands.PATIENCE_S)
    assert process.returncode == 1
    name = "stdin" if stdin else file
    assert (
        said.decode() == f"charlm: {name} is the file that stdout goes to; write to another one.\n"
    )
    assert file.read_bytes() == before


def test_a_new_run_leaves_nothing_of_a_corpus_that_was_begun_there(charlm, corpus, tmp_path):
    """As `train text -o run` leaves it where it is stopped; `train corpus` does not go on."""
    begun = tmp_path / "run" / ".corpus.prep"
    begun.mkdir(parents=True)
    (begun / "0.json").write_text("{}")
    done = charlm("train", corpus, "-o", tmp_path / "run", "--steps", 2, "--width", 16, "--seed", 1)
    assert done.returncode == 0, done.stderr
    assert not begun.exists()
