"""What is held out for validation and test: records drawn at random, or the end of the text."""

import json

import numpy as np
import pytest

from charlm.config import PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.preparation import cutting, sources
from charlm.preparation.drawing import Drawing, shuffled
from charlm.preparation.order import Order

LEVELS = ("char", "byte", "word", "bpe")


@pytest.fixture
def prep(tmp_path):
    """Prepares texts, each a file; the corpus, with what was said about it."""

    def run(*texts, name="data", jobs=1, **knobs):
        paths = [tmp_path / f"text{i}" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        said = []
        settings = {"force": True, "say": said.append, "jobs": jobs}
        corpus = prepare(paths, tmp_path / name, PrepConfig(**knobs), **settings)
        corpus.verify()
        corpus.said = "\n".join(said)
        return corpus

    return run


def records(corpus, split):
    """The records of a split."""
    ids = corpus.ids(split)
    ends = np.flatnonzero(ids == corpus.tokenizer.boundary)
    return [corpus.tokenizer.decode(part) for part in np.split(ids, ends + 1)[:-1]]


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 255, 257, 70_000])
def test_a_shuffle_is_one(size):
    for seed in (0, 1, 1 << 70):
        places = shuffled(np.arange(size, dtype=np.uint64), size, seed)
        assert sorted(places.tolist()) == list(range(size))


@pytest.mark.slow
def test_every_pair_of_records_is_as_likely_to_be_drawn_as_any_other():
    """By chi-square over 45 pairs: above 80 it is by chance once in 1,000 times."""
    seen = np.zeros((10, 10))
    for seed in range(4500):
        first, second = np.flatnonzero(Drawing(10, 0.2, 0, seed).splits(0, 10) == 1)
        seen[first, second] += 1
    pairs = seen[np.triu_indices(10, 1)]
    assert ((pairs - 100) ** 2 / 100).sum() < 80


@pytest.mark.parametrize(
    ("count", "val", "test", "expected"),
    [
        (1000, 0.05, 0.05, [900, 50, 50]),
        (50, 0.3, 0.2, [25, 15, 10]),
        (9, 0, 0.5, [4, 0, 5]),
        (9, 0.5, 0, [4, 5, 0]),
        (10, 0.01, 0.01, [8, 1, 1]),
        (2, 0.05, 0.05, [1, 1, 0]),
        (1, 0.5, 0.4, [1, 0, 0]),
        (3, 0.99, 0, [1, 2, 0]),
    ],
)
def test_each_split_has_its_share_of_the_records(count, val, test, expected):
    splits = Drawing(count, val, test, 1).splits(0, count)
    assert np.bincount(splits, minlength=3).tolist() == expected


@pytest.mark.parametrize(
    ("level", "kind"), [("char", "blank"), ("byte", "file"), ("word", "line"), ("bpe", "line")]
)
def test_a_draw_does_not_depend_on_how_the_text_is_read(prep, monkeypatch, level, kind):
    lines = [f"{'x' * (i % 7)} name {i}" for i in range(60)]
    between = {"line": "\n", "blank": "\n\n", "file": None}[kind]
    texts = lines if between is None else [between.join(lines[:40]), between.join(lines[40:])]
    knobs = {"level": level, "records": kind, "val": 0.2, "test": 0.1}
    if level == "bpe":
        knobs["vocab_size"] = 300
    whole = prep(*texts, **knobs)
    drawn = Drawing(60, 0.2, 0.1, 1).splits(0, 60)
    for number, split in enumerate(whole.splits):
        assert records(whole, split) == [lines[i] for i in np.flatnonzero(drawn == number)]
        assert whole.size(split).chars == sum(
            len(record) + len(between or "") for record in records(whole, split)
        )
    monkeypatch.setattr(sources, "CHUNK", 7)
    monkeypatch.setattr(cutting, "PIECE_BYTES", 64)
    for jobs in (1, 2):
        assert prep(*texts, name=f"pieces {jobs}", jobs=jobs, **knobs).hash == whole.hash
    assert prep(*texts, name="other", seed=2, **knobs).hash != whole.hash


def test_a_sorted_list_is_learned_to_its_end(prep):
    names = sorted(
        f"{a}{b}{c}" for a in "abcdefghijklmnopqrstuvwxyz" for b in "aeiou" for c in "lmnr"
    )
    corpus = prep("\n".join(names), records="line")
    assert {name[0] for name in records(corpus, "train")} == set("abcdefghijklmnopqrstuvwxyz")
    assert "sorted" not in corpus.said
    last = prep("\n".join(names), records="line", held_out="last")
    assert "lines are sorted" in last.said
    assert "--held-out random" in last.said
    assert [*records(last, "train"), *records(last, "val"), *records(last, "test")] == names
    running = prep("\n".join(names))
    assert "lines are sorted" in running.said
    assert "--records line" in running.said
    assert running.tokenizer.decode(running.ids("test")) == "\n".join(names)[-103:]
    assert "sorted" not in prep("\n".join(names), val=0, test=0).said


@pytest.mark.parametrize("cut", [3, 10_000])
def test_an_order_is_seen_whatever_the_case_and_the_parts(cut):
    def order(lines):
        whole, data = Order(), "".join(f"{line}\n" for line in lines).encode()
        parts = [data[i : i + cut] for i in range(0, len(data), cut)]
        held = b""
        for part in parts:
            held += part
            end = held.rfind(b"\n") + 1
            one = Order()
            one.add(held[:end])
            held = held[end:]
            whole.absorb(one.state())
        return whole.sorted

    lines = [f"{'Ab'[i % 2]}{i:03}" for i in range(100)]
    ordered = sorted(lines, key=str.lower)
    assert order(ordered)
    assert order(ordered[::-1])
    assert order([line for name in ordered for line in (name, "", name)])
    assert not order(lines)
    assert not order(["the same line"] * 1000)
    assert not order(ordered[:20])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["none", "line"])
@pytest.mark.parametrize("held_out", ["random", "last"])
def test_a_split_that_has_no_share_has_nothing(prep, level, kind, held_out):
    text = "".join(f"é{'x' * (i % 9)} {i}\n" for i in range(200))
    for val, test in ((0, 0.05), (0, 0.333), (0.05, 0)):
        corpus = prep(
            text[:1001], level=level, records=kind, val=val, test=test, held_out=held_out,
            vocab_size=300 if level == "bpe" else None,
        )  # fmt: skip
        for split, share in (("val", val), ("test", test)):
            assert (corpus.size(split).tokens > 0) == (share > 0)
            assert (corpus.path / f"{split}.bin").stat().st_size == 0 or share


def test_what_rounding_leaves_is_for_training(prep):
    corpus = prep("x" * 1001, val=0, test=0.05)
    assert [corpus.size(split).chars for split in corpus.splits] == [951, 0, 50]


def test_leaks_are_counted_among_the_lines_as_they_are(prep):
    """At a small vocabulary all lines of a length once looked the same."""
    lines = [
        f"number {i * 7919 % 1200:04} of these lines is like no other one" for i in range(1200)
    ]
    assert "training text too" not in prep("\n".join(lines), level="word", vocab_size=30).said
    leaking = lines[:900] + lines[:300]
    for ends in ("\n", "\r\n"):
        for kind in ("none", "line"):
            text = "".join(line + ends for line in leaking)
            knobs = {"records": kind, "held_out": "last", "val": 0.25, "test": 0}
            said = prep(text, level="word", vocab_size=30, **knobs).said
            assert "100.0% of the validation lines" in said


def test_leaks_between_drawn_records_are_counted(prep):
    lines = [f"the record of number {i} is long enough" for i in range(500)]
    doubled = prep("\r\n".join(lines * 2), records="line", val=0.2, test=0.2)
    held = {split: records(doubled, split) for split in doubled.splits}
    leaks = sum(line in set(held["train"]) for line in held["val"])
    assert f"{leaks / len(held['val']):.1%} of the validation lines" in doubled.said
    only_test = prep("\n".join(lines * 2), records="line", val=0, test=0.2)
    held = {split: records(only_test, split) for split in only_test.splits}
    leaks = sum(line in set(held["train"]) for line in held["test"])
    assert f"{leaks / len(held['test']):.1%} of the test lines" in only_test.said
    assert "training text too" not in prep("\n".join(lines), records="line").said


def test_a_corpus_of_before_still_opens(prep):
    """Its config has no held_out and no seed."""
    corpus = prep("one\ntwo\nthree\n", records="line")
    path = corpus.path / "corpus.json"
    about = json.loads(path.read_text())
    del about["config"]["held_out"], about["config"]["seed"]
    path.write_text(json.dumps(about))
    assert Corpus(corpus.path).hash == corpus.hash
