"""The files that `charlm prep` reads: those of a directory, and those that a list names."""

import json
import os

import pytest

TEXTS = {
    "a.txt": "the first of them\n",
    "b/a.txt": "what is deeper\n",
    "b/\udce9.txt": "a name that is not UTF-8\n",
    "c d.txt": "a space in the name\n",
    "e\nf.txt": "a newline in the name\n",
    ".hidden/x.txt": "not for reading\n",
    ".x": "nor this\n",
}
SEEN = [name for name in sorted(TEXTS) if not name.startswith(".")]


@pytest.fixture
def folder(tmp_path):
    """A directory of texts, some hidden, with names of all kinds."""
    for name, text in TEXTS.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "texts"


@pytest.fixture
def prepared(charlm, tmp_path):
    """Prepares by these words; what the corpus says of itself, but for its names."""

    def run(*args, stdin=""):
        done = charlm("prep", *args, "-o", "data", "--force", "--json", stdin=stdin, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        about = json.loads(done.stdout.decode("utf-8", "surrogateescape"))
        return about["hash"], [one["sha256"] for one in about["sources"]]

    return run


def test_a_directory_is_its_files_in_the_order_of_their_names(prepared, folder):
    named = [folder / name for name in SEEN]
    assert prepared(folder) == prepared(*named)
    assert prepared(folder / "b", folder / "a.txt") == prepared(*named[1:3], named[0])


@pytest.mark.parametrize("end", ["\n", "\0"])
@pytest.mark.parametrize("place", ["-", "list"])
def test_a_list_names_files(prepared, folder, tmp_path, end, place):
    names = [name for name in SEEN if end == "\0" or "\n" not in name]
    data = b"".join(os.fsencode(folder / name) + end.encode() for name in names)
    (tmp_path / "list").write_bytes(data)
    given = prepared("--files-from", place, stdin=data if place == "-" else "")
    assert given == prepared(*(folder / name for name in names))


def test_a_list_is_read_after_what_is_named(prepared, folder):
    listed = prepared(folder / "c d.txt", "--files-from", "-", stdin=str(folder / "a.txt"))
    assert listed == prepared(folder / "c d.txt", folder / "a.txt")


def test_a_long_list_is_one_corpus(prepared, tmp_path):
    """More names than the words of one command may take."""
    for i in range(300):
        (tmp_path / f"{i:03}{'x' * 200}.txt").write_text(f"text number {i}\n")
    names = sorted(tmp_path.glob("*.txt"))
    assert len(prepared("--files-from", "-", stdin="\n".join(map(str, names)))[1]) == 300


@pytest.mark.parametrize(
    ("args", "stdin", "code", "words"),
    [
        (["DATA"], "", 1, "is a corpus already"),
        (["empty"], "", 1, "is a directory without a file"),
        (["--files-from", "-"], "\n\n", 1, "stdin names no file"),
        (["--files-from", "-", "-"], "a", 2, "stdin (-) can be read only once"),
        (["--files-from", "-"], "nowhere.txt\n", 1, "nowhere.txt: No such file"),
        (["--files-from", "nowhere"], "", 1, "nowhere: No such file"),
        (["https://example.org/text"], "", 2, "https://example.org/text is a URL"),
    ],
)
def test_what_names_nothing_is_told(charlm, corpus, tmp_path, args, stdin, code, words):
    (tmp_path / "empty").mkdir()
    args = [str(corpus) if arg == "DATA" else arg for arg in args]
    done = charlm("prep", *args, "-o", "data", stdin=stdin, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr.decode().splitlines()[-1]
    assert not (tmp_path / "data").exists()
