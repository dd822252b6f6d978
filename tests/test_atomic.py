"""Whole or not at all."""

import stat
from pathlib import Path

import pytest

from charlm.atomic import refuse_existing, whole_directory, whole_file
from charlm.errors import DataError


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_file_stays_as_it_was_when_the_block_fails(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def make(path, *, force=False):
    with whole_directory(path, marker="mark", force=force) as temporary:
        (temporary / "mark").write_text("x")


def test_a_directory_appears_when_the_block_ends(tmp_path):
    make(tmp_path / "deep" / "d")
    assert (tmp_path / "deep" / "d" / "mark").read_text() == "x"


def test_a_directory_is_replaced_only_by_force_and_only_our_own(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    make(ours)
    (ours / "old").write_text("")
    with pytest.raises(DataError, match="--force"):
        make(ours)
    make(ours, force=True)
    assert [p.name for p in ours.iterdir()] == ["mark"]
    theirs.mkdir()
    make(theirs)  # an empty one is free to use
    (theirs / "mark").unlink()
    (theirs / "diary").write_text("")
    with pytest.raises(DataError, match="did not make it"):
        make(theirs, force=True)
    assert (theirs / "diary").exists()


def test_the_directory_one_stands_in_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path())
    assert (tmp_path / "mark").exists()


def test_the_old_directory_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path, monkeypatch
):
    make(tmp_path / "d")
    (tmp_path / "d" / "old").write_text("")
    replace = Path.replace

    def fail(self, target):
        if self.name.endswith(".tmp") and not Path(target).exists():
            raise OSError("no")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no"):
        make(tmp_path / "d", force=True)
    assert (tmp_path / "d" / "old").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_failed_directory_leaves_nothing(tmp_path):
    def fail():
        with whole_directory(tmp_path / "d", marker="mark", force=False) as temporary:
            (temporary / "mark").write_text("")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_not_replaced(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(DataError, match="is a file"):
        refuse_existing(tmp_path / "f", markers=("mark",), force=True)
