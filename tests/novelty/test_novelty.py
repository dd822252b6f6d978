"""Laws of novelty: a search by hand finds the same runs at the same places."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError
from charlm.novelty import Index, Watch, build, layout

ALPHABETS = ["ab", "aé\n", "中文😀e\u0301", "a\nb\0"]
texts = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.tuples(
        st.text(alphabet, min_size=1, max_size=60), st.text(alphabet + "z", max_size=30)
    )
)
laws = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="session")
def indexed(tmp_path_factory):
    """Makes the index of a training text; small blocks, so that a small text has several."""
    numbers = itertools.count()
    folder = tmp_path_factory.mktemp("novelty")

    def make(training, block=8, wide_from=layout.WIDE_FROM, **knobs):
        source, out = folder / "text", folder / f"data{next(numbers)}"
        source.write_bytes(training if isinstance(training, bytes) else training.encode())
        if knobs.get("level") == "bpe":
            knobs["vocab_size"] = 300
        prepare([source], out, PrepConfig(val=0, test=0, **knobs))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "WIDE_FROM", wide_from)
            patch.setattr(layout, "BLOCK", block)
            build(out)
            index = Index.open(out)
        index.block = block
        return index

    return make


def longest(index, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "BLOCK", index.block)
        return index.longest(text)


def by_hand(training, text):
    """Run, start, offset in bytes, line and column."""
    for length in range(len(text), 0, -1):
        for start in range(len(text) - length + 1):
            run = text[start : start + length]
            if run in training:
                before = training[: training.index(run)]
                lines = before.split("\n")
                return run, start, len(before.encode()), len(lines), len(lines[-1]) + 1
    return "", 0, 0, 1, 1


def told(match):
    return match.run, match.start, match.offset_bytes, match.line, match.column


@laws
@given(texts=texts, block=st.integers(1, 20))
def test_a_search_by_hand_agrees(indexed, texts, block):
    training, text = texts
    match = longest(indexed(training, block), text)
    assert told(match) == by_hand(training, text)
    assert match.length == len(match.run)


@laws
@given(lines=st.lists(st.text("aé", max_size=5), min_size=1, max_size=12), text=st.text("aé\n"))
def test_a_search_by_hand_agrees_where_lines_are_records(indexed, lines, text):
    records = [line for line in lines if line] or ["a"]
    index = indexed("\n".join(records), records="line")
    assert told(longest(index, text)) == by_hand("\n".join(records) + "\n", text)


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
@pytest.mark.parametrize(
    ("records", "training"),
    [("none", "Größe!\n\nl'été,\n😀\n"), ("line", "é\n😀 b\n"), ("blank", "a\nb\n\né\n\n")],
)
def test_the_text_is_that_of_the_corpus_at_every_level(indexed, level, records, training):
    index = indexed(training, level=level, records=records)
    assert (index.corpus.path / layout.TEXT).read_text(encoding="utf-8") == training
    assert told(longest(index, "zz" + training)) == (training, 2, 0, 1, 1)


def test_files_are_records_that_do_not_run_into_each_other(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name * 3)
    out = tmp_path / "data"
    prepare([tmp_path / "a", tmp_path / "b"], out, PrepConfig(records="file", val=0, test=0))
    build(out)
    assert Index.open(out).longest("aaabbb").run == "aaa"


@laws
@given(texts=texts, data=st.data())
def test_a_piece_of_the_training_text_has_its_own_length(indexed, texts, data):
    training, _ = texts
    begin = data.draw(st.integers(0, len(training)))
    piece = training[begin : data.draw(st.integers(begin, len(training)))]
    match = longest(indexed(training), piece)
    assert (match.run, match.start) == (piece, 0)


@laws
@given(rest=st.binary(max_size=60), data=st.data())
def test_bytes_that_are_no_text_are_found(indexed, rest, data):
    training = b"\x80" + rest  # two bytes of gzip at the beginning would make it a gzip file
    begin = data.draw(st.integers(0, len(training)))
    piece = training[begin:].decode("utf-8", "surrogateescape")
    match = longest(indexed(training, level="byte"), piece)
    assert match.run == piece
    assert training[match.offset_bytes :].startswith(training[begin:])


@laws
@given(texts=texts, cuts=st.lists(st.integers(0, 30)), over=st.integers(0, 4))
def test_pieces_equal_the_whole(indexed, texts, cuts, over):
    training, text = texts
    index = indexed(training, block=layout.BLOCK)
    edges = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    watch = Watch(index, over=over)
    lengths = [0]
    for begin, end in itertools.pairwise(edges):
        watch.feed(text[begin:end])
        lengths.append(watch.length)
    whole = index.longest(text)
    assert watch.longest == (whole if whole.length > over else index.longest(""))
    assert lengths == sorted(lengths)
    assert lengths[-1] == watch.longest.length


@laws
@given(texts=texts, length=st.integers(1, 12))
def test_a_run_is_shared_if_the_longest_is_that_long(indexed, texts, length):
    training, text = texts
    index = indexed(training, block=layout.BLOCK)
    whole = index.longest(text)
    assert index.shares(text, length) == (whole if whole.length >= length else None)


def test_a_run_has_at_least_one_character(indexed):
    with pytest.raises(ConfigError, match="at least 1"):
        indexed("text").shares("text", 0)


def test_offsets_that_int32_cannot_hold_are_kept_in_int64(indexed):
    training = "the cat sat on the mat\n" * 9
    narrow, wide = indexed(training), indexed(training, wide_from=1)
    for index, size_bytes in ((narrow, 4), (wide, 8)):
        path = index.corpus.path / layout.SUFFIXES
        assert path.stat().st_size == size_bytes * len(training)
    assert longest(narrow, "a cat sat in") == longest(wide, "a cat sat in")


def test_a_surrogate_that_stands_for_no_byte_is_in_no_text(indexed):
    assert indexed("abc").longest("ab\ud800bc").run == "ab"


def test_building_again_changes_nothing(corpus, tmp_path):
    copy = tmp_path / "data"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    build(copy)
    first = {path.name: path.read_bytes() for path in copy.iterdir()}
    build(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == first


def test_what_cannot_be_opened_says_why(indexed, corpus, tmp_path):
    with pytest.raises(DataError, match="not a corpus"):
        Index.open(tmp_path)
    with pytest.raises(DataError, match="not a corpus"):
        build(tmp_path)
    with pytest.raises(DataError, match=r"no index.*--index"):
        Index.open(corpus)
    for name in (layout.TEXT, layout.SUFFIXES, layout.PLACES):
        path = indexed("some text", block=layout.BLOCK).corpus.path
        whole = (path / name).read_bytes()
        for harm in (whole[:-1], whole + b"x", b""):
            (path / name).write_bytes(harm)
            with pytest.raises(DataError, match="damaged"):
                Index.open(path)


READ = """
import sys
from charlm.novelty import Index
print(Index.open(sys.argv[1]).longest("the text").length)
print(*sys.modules, file=sys.stderr)
"""


def test_reading_imports_neither_torch_nor_what_builds(indexed):
    path = indexed("some text", block=layout.BLOCK).corpus.path
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True)
    assert done.stdout == "6\n", done.stderr
    assert {"torch", "tokenizers", "pydivsufsort"}.isdisjoint(done.stderr.split())
