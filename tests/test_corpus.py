"""Laws of the corpus directory: ids, splits, records, vocabularies and what the doctor says."""

import gzip
import hashlib
import json
from itertools import chain

import numpy as np
import pytest
import tokenizers

from charlm.config import PrepConfig
from charlm.corpus import Corpus, join, prepare
from charlm.errors import ConfigError, DataError
from charlm.preparation import sources
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.encoders import ForeignEncoder

LEVELS = ("char", "byte", "word", "bpe")
SPLITS = ("train", "val", "test")
MIXED = (
    "Größe, мир! don't  stop\r\n\n中文。👩‍👩‍👧 e\u0301\u0301 <boundary> <unk>\n\0\n"
    " \t x\u00a0y\u2028z_1²\n"
) * 7 + "the end"


@pytest.fixture
def prep(tmp_path):
    """Prepares text or bytes (several: several files); the corpus, with what was said about it."""

    def run(*texts, name="data", tokenizer=None, **knobs):
        paths = []
        for i, text in enumerate(texts):
            paths.append(tmp_path / f"text{i}.txt")
            paths[-1].write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        if knobs.get("level") == "bpe":
            knobs.setdefault("vocab_size", 300)
        said = []
        corpus = prepare(
            paths,
            tmp_path / name,
            PrepConfig(**knobs),
            tokenizer=tokenizer,
            force=True,
            say=said.append,
        )
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            "corpus.json", "test.bin", "tokenizer.json", "train.bin", "val.bin",
        ]  # fmt: skip
        corpus.said = "\n".join(said)
        return corpus

    return run


def whole(corpus):
    return np.concatenate([corpus.ids(split) for split in SPLITS])


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("level", LEVELS)
def test_ids_are_those_of_tokenizers_however_the_text_is_read(prep, monkeypatch, level, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    corpus = prep(MIXED, level=level, val=0.2, test=0.1)
    theirs = tokenizers.Tokenizer.from_file(str(corpus.path / "tokenizer.json"))
    ids = whole(corpus)
    assert ids.tolist() == theirs.encode(MIXED, add_special_tokens=False).ids
    assert ids.tolist() == corpus.tokenizer.encode(MIXED).tolist()
    assert corpus.tokenizer.decode(ids) == MIXED
    sizes = [corpus.size(split) for split in SPLITS]
    assert sum(size.chars for size in sizes) == len(MIXED)
    assert sum(size.bytes for size in sizes) == len(MIXED.encode())
    assert [size.tokens for size in sizes] == [len(corpus.ids(split)) for split in SPLITS]
    for split, size in zip(SPLITS, sizes, strict=True):
        text = corpus.tokenizer.decode(corpus.ids(split))
        assert (len(text), len(text.encode())) == (size.chars, size.bytes)


def test_tiny_shakespeare_is_cut_as_everyone_cuts_it(shakespeare, tmp_path):
    corpus = prepare([shakespeare], tmp_path / "data", PrepConfig(val=0.1, test=0))
    assert corpus.tokenizer.vocabulary == 65
    assert corpus.size("train").chars == len(corpus.ids("train")) == 1_003_854
    assert corpus.size("val").chars == 111_540
    text = shakespeare.read_text(encoding="utf-8")
    stoi = {symbol: id for id, symbol in enumerate(sorted(set(text)))}
    assert corpus.ids("val")[:1000].tolist() == [stoi[c] for c in text[1_003_854:][:1000]]
    assert not corpus.ids("val").flags.writeable


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("records", "texts", "found", "chars"),
    [
        ("line", ["anna\r\nbert\n\n\ncarlé", "dora\n"], ["anna", "bert", "carlé", "dora"], 1),
        ("blank", ["a\nb\n\n\nc c\n\n", "\nd\r\n\r\ne"], ["a\nb", "c c", "d", "e"], 2),
        ("file", ["one\n", "", "two\n"], ["one\n", "two\n"], 0),
    ],
)
def test_every_record_ends_with_one_boundary(prep, level, records, texts, found, chars):
    corpus = prep(*texts, level=level, records=records, val=0, test=0)
    tokenizer = corpus.tokenizer
    ends = np.flatnonzero(corpus.ids("train") == tokenizer.boundary)
    parts = np.split(corpus.ids("train"), ends + 1)
    assert [tokenizer.decode(part) for part in parts] == [*found, ""]
    size = corpus.size("train")
    assert size.chars == sum(map(len, found)) + chars * len(found)
    assert size.bytes == sum(len(r.encode()) for r in found) + chars * len(found)
    assert corpus.records == records


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("chunk", [5, 1 << 20])
def test_every_split_starts_where_a_record_starts(prep, monkeypatch, level, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    names = [f"name{'x' * (i % 7)}{i}" for i in range(50)]
    for held_out in ("last", "random"):
        shares = {"val": 0.3, "test": 0.2, "held_out": held_out}
        corpus = prep("\n".join(names), level=level, records="line", **shares)
        found = []
        for split in SPLITS:
            ids = corpus.ids(split)
            assert ids[-1] == corpus.tokenizer.boundary
            parts = np.split(ids, np.flatnonzero(ids == corpus.tokenizer.boundary) + 1)[:-1]
            found.append([corpus.tokenizer.decode(part) for part in parts])
        assert [round(len(part) / 50, 1) for part in found] == [0.5, 0.3, 0.2]
        together = [*chain.from_iterable(found)]
        if held_out == "last":
            assert together == names
        else:
            assert sorted(together) == sorted(names)
            assert all(part == sorted(part, key=names.index) for part in found)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", ["x", "xy", "x\n", "é", "0123456789"])
@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize(("val", "test"), [(0, 0), (0.05, 0.05), (0.5, 0.4), (0.99, 0)])
def test_short_texts_give_short_splits(prep, level, text, records, val, test):
    corpus = prep(text, level=level, records=records, val=val, test=test)
    assert corpus.size("train").tokens > 0
    sizes = [corpus.size(split) for split in SPLITS]
    expected = len(text) if records == "none" or text.endswith("\n") else len(text) + 1
    assert sum(size.chars for size in sizes) == expected
    empty = [
        s for s, share in (("val", val), ("test", test)) if share and not corpus.size(s).tokens
    ]
    for split in empty:
        assert f"the {split} split is empty" in corpus.said
        assert len(corpus.ids(split)) == 0
        assert not corpus.ids(split).flags.writeable


def test_split_sizes_are_fractions_of_the_characters(prep):
    corpus = prep("é" * 1000, val=0.1, test=0.2)
    assert [corpus.size(split).chars for split in SPLITS] == [700, 100, 200]
    # 1 - 0.05 - 0.15 is 0.7999... as a float.
    corpus = prep("é" * 10, val=0.05, test=0.15)
    assert corpus.size("train").chars == 8


def test_a_character_is_not_cut_in_two_at_byte_level(prep):
    corpus = prep("é😀" * 50, level="byte", val=0.25, test=0.25)
    assert [corpus.size(split).chars for split in SPLITS] == [50, 25, 25]
    for split in SPLITS:
        assert "\ufffd" not in corpus.tokenizer.decode(corpus.ids(split))


def test_byte_level_takes_any_bytes(prep):
    data = bytes(range(256)) * 20
    corpus = prep(data, level="byte")
    assert whole(corpus).astype(np.uint8).tobytes() == data
    records = prep(data, level="byte", records="line", name="records")
    assert whole(records).max() == 256


@pytest.mark.parametrize(
    ("symbols", "kind"), [(254, "uint8"), (255, "uint8"), (256, "uint8"), (257, "uint16")]
)
def test_ids_take_as_few_bytes_as_they_need(prep, symbols, kind):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + symbols))) * 3
    corpus = prep(text, val=0, test=0)
    assert corpus.ids("train").dtype == kind
    assert corpus.about["dtype"] == kind
    assert corpus.tokenizer.decode(corpus.ids("train")) == text


def test_a_vocabulary_may_pass_65536(prep):
    text = "ab" + "".join(map(chr, [*range(0x20000, 0x2A000), *range(0x3400, 0xA000)]))
    corpus = prep(text, val=0, test=0)
    assert corpus.ids("train").dtype == "uint32"
    assert corpus.tokenizer.decode(corpus.ids("train")) == text


@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_knobs_that_do_not_fit_the_level_are_errors(prep, level):
    with pytest.raises(ConfigError):
        prep("text", level=level, vocab_size=100)


def test_normal_forms_do_not_depend_on_how_the_text_is_read(prep, monkeypatch):
    text = "e\u0301 n\u0303\u0323 각 ﬁ e\u0301\u0323\u0301\u1100\u1161\u11a8 Å" * 9
    for form in ("nfc", "nfkc"):
        normal = getattr(tokenizers.normalizers, form.upper())().normalize_str(text)
        for chunk in (1, 5, 1 << 20):
            monkeypatch.setattr(sources, "CHUNK", chunk)
            corpus = prep(text, normalize=form)
            assert corpus.tokenizer.decode(whole(corpus)) == normal
            assert corpus.tokenizer.encode(text).tolist() == whole(corpus).tolist()


def test_a_foreign_tokenizer_prepares_a_text(prep, monkeypatch):
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    text = "the theory of the thing  is\n\n that it thinks é\n" * 50
    theirs.train_from_iterator([text], trainer)
    monkeypatch.setattr(ForeignEncoder, "PART", 20)
    corpus = prep(text, tokenizer=Tokenizer.from_json(theirs.to_str()))
    assert corpus.tokenizer.decode(whole(corpus)) == text
    assert whole(corpus).tolist() == theirs.encode(text).ids


def test_the_hash_tells_corpora_apart_and_nothing_else(prep):
    text = "some text\nof two lines\n"
    base = prep(text).hash
    assert prep(text, name="elsewhere").hash == base
    assert prep(text[:10], text[10:], name="in two files").hash == base
    others = [prep(text + "x"), prep(text, val=0.5), prep(text, records="line")]
    others.append(prep(text, level="byte"))
    assert len({base, *(other.hash for other in others)}) == 5


def test_sources_are_recorded(prep):
    corpus = prep("one", "two")
    assert [source["bytes"] for source in corpus.about["sources"]] == [3, 3]
    assert corpus.about["sources"][1]["sha256"] == hashlib.sha256(b"two").hexdigest()
    assert corpus.about["config"] == PrepConfig().to_dict()


def test_gzip_is_read_by_name_or_by_its_first_bytes(prep):
    assert prep(gzip.compress(b"some text")).about["sources"][0]["bytes"] == 9


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_text_is_an_error(prep, data):
    with pytest.raises(DataError, match=r"text0\.txt is empty"):
        prep(data)


def test_nothing_but_line_ends_is_an_error_where_they_end_records(prep):
    with pytest.raises(DataError, match="no record that is not empty"):
        prep("\n\r\n\n", records="line")


def damaged(corpus, **changes):
    about = json.loads((corpus.path / "corpus.json").read_text())
    (corpus.path / "corpus.json").write_text(json.dumps(about | changes))


def test_a_damaged_corpus_is_refused(prep, tmp_path):
    harms = [
        (lambda c: damaged(c, format=2), "has format 2"),
        (lambda c: damaged(c, dtype="uint16"), "says uint16"),
        (lambda c: damaged(c, splits={}), "is damaged"),
        (lambda c: damaged(c, tokenizer_hash="0"), "not the tokenizer"),
        (lambda c: damaged(c, records="page"), "records page"),
        (lambda c: damaged(c, splits={s: {"tokens": -1} for s in Corpus.splits}), "a split of"),
        (lambda c: (c.path / "corpus.json").write_text("{"), "not JSON"),
        (lambda c: (c.path / "corpus.json").write_text("[]"), "not an object"),
        (lambda c: (c.path / "corpus.json").unlink(), "not a corpus"),
        (lambda c: (c.path / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda c: (c.path / "tokenizer.json").write_text("{}"), "cannot be used"),
        (lambda c: (c.path / "val.bin").unlink(), "val.bin is missing"),
        (lambda c: (c.path / "train.bin").write_bytes(b"123"), "3 bytes long"),
    ]
    for i, (harm, words) in enumerate(harms):
        corpus = prep("some text to prepare", name=f"data{i}")
        harm(corpus)
        with pytest.raises(DataError, match=words) as caught:
            Corpus(corpus.path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="not a corpus"):
        Corpus(tmp_path / "nowhere")


def test_ids_outside_the_vocabulary_are_refused(prep):
    corpus = prep("some text to prepare")
    (corpus.path / "train.bin").write_bytes(b"\xff" * corpus.size("train").tokens)
    with pytest.raises(DataError, match="outside the vocabulary"):
        Corpus(corpus.path).ids("train")


def test_an_existing_corpus_is_kept_unless_forced(prep, tmp_path):
    corpus = prep("text")
    (tmp_path / "other.txt").write_text("other")
    with pytest.raises(DataError, match="--force"):
        prepare([tmp_path / "other.txt"], corpus.path, PrepConfig())
    with pytest.raises(DataError, match="not UTF-8"):
        prep(b"\xff")  # forced, but fails: what was there stays
    assert Corpus(corpus.path).hash == corpus.hash
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("records", ["none", "line"])
def test_corpora_of_one_tokenizer_are_joined_split_for_split(tmp_path, records):
    text = "the cat sat on the mat.\na dog\n" * 50
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text(text[::-1].strip() + "\n")
    config = PrepConfig(records=records, val=0.1, test=0.1)
    first = prepare([tmp_path / "a.txt"], tmp_path / "a", config)
    second = prepare([tmp_path / "b.txt"], tmp_path / "b", config, tokenizer=first.tokenizer)
    both = join([first, second], tmp_path / "both")
    both.verify()
    for split in Corpus.splits:
        ids = [*first.ids(split), *second.ids(split)]
        assert both.ids(split).tolist() == ids
        assert both.size(split).chars == first.size(split).chars + second.size(split).chars
    assert len(both.about["sources"]) == 2


def test_corpora_of_other_tokenizers_are_not_joined(tmp_path):
    for name, text in (("a", "abc\n" * 50), ("b", "abd\n" * 50)):
        (tmp_path / f"{name}.txt").write_text(text)
        prepare([tmp_path / f"{name}.txt"], tmp_path / name, PrepConfig())
    with pytest.raises(DataError, match="--tokenizer"):
        join([Corpus(tmp_path / "a"), Corpus(tmp_path / "b")], tmp_path / "both")
