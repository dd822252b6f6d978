"""Laws of vocabularies that grow, and of corpora in the ids of another tokenizer."""

import json
import random

import numpy as np
import pytest
import tokenizers

from charlm.config import PrepConfig
from charlm.corpus import SPLITS, prepare, translate
from charlm.preparation import translating
from charlm.tokenizer import Tokenizer

LEVELS = ("char", "byte", "word", "bpe")
OLD = "the cat sat on the mat.\nso it did; the dog too.\n" * 9
NEW = "Größe, the мир 中文!\nthe dog é sat\n👩‍👩 on e\u0301 mats\n" * 9


@pytest.fixture
def prep(tmp_path):
    """Prepares a text under a new name."""

    def run(text, tokenizer=None, grow=False, **knobs):
        knobs = {"val": 0, "test": 0, **knobs}
        if knobs.get("level") == "bpe" and tokenizer is None:
            knobs.setdefault("vocab_size", 280)
        (tmp_path / "text").write_bytes(text.encode())
        name = f"corpus{len(list(tmp_path.iterdir()))}"
        config = PrepConfig(**knobs)
        return prepare([tmp_path / "text"], tmp_path / name, config, tokenizer=tokenizer, grow=grow)

    return run


def shuffled(tokenizer, seed=1):
    """The same vocabulary in another order."""
    form = json.loads(tokenizer.to_json())
    tokens = list(form["model"]["vocab"])
    random.Random(seed).shuffle(tokens)
    form["model"]["vocab"] = {token: id for id, token in enumerate(tokens)}
    return Tokenizer.from_json(json.dumps(form))


@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("level", ["char", "word"])
def test_a_grown_vocabulary_keeps_its_ids_and_is_what_tokenizers_reads(prep, level, records):
    old = prep(OLD, level=level, records=records).tokenizer
    grown = old.grown(prep(NEW, level=level, records=records).tokenizer.pieces)
    assert grown.pieces[: old.vocabulary] == old.pieces
    assert grown.vocabulary > old.vocabulary
    assert (grown.boundary, grown.unknown) == (old.boundary, old.unknown)
    line = NEW.splitlines()[0]
    theirs = tokenizers.Tokenizer.from_str(grown.to_json())
    assert grown.encode(line).tolist() == theirs.encode(line).ids
    assert grown.decode(grown.encode(line)) == line
    assert grown.grown(grown.pieces) is grown


@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_bytes_spell_every_text_and_need_no_new_symbol(prep, level):
    old = prep(OLD, level=level).tokenizer
    assert old.grown(prep(NEW, level=level).tokenizer.pieces) is old


@pytest.mark.parametrize("level", ["char", "word"])
def test_the_order_of_the_other_vocabulary_does_not_matter(prep, level):
    old, new = (prep(text, level=level).tokenizer for text in (OLD, NEW))
    assert old.grown(shuffled(new).pieces).hash == old.grown(new.pieces).hash


@pytest.mark.parametrize("splits", [{}, {"val": 0.2, "test": 0.1}])
@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_a_translated_corpus_is_the_one_that_would_have_been_prepared(prep, level, records, splits):
    old = prep(OLD, level=level, records=records).tokenizer
    corpus = prep(NEW, level=level, records=records, **splits)
    grown = old.grown(corpus.tokenizer.pieces)
    expected = prep(NEW, old, True, records=records, **splits)
    found = translate(corpus, grown, corpus.path.parent / "out")
    assert found.tokenizer.hash == expected.tokenizer.hash == grown.hash
    assert found.hash == expected.hash
    assert [found.size(s) for s in SPLITS] == [expected.size(s) for s in SPLITS]
    back = translate(found, corpus.tokenizer, corpus.path.parent / "back")
    assert back.hash == corpus.hash


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize("records", ["none", "line"])
def test_byte_pairs_are_spelled_as_the_new_tokenizer_spells_the_text(
    prep, monkeypatch, records, chunk
):
    monkeypatch.setattr(translating, "READ_AT_ONCE", chunk)
    old = prep(OLD, level="bpe", records=records).tokenizer
    corpus = prep(NEW, level="bpe", records=records)
    found = translate(corpus, old, corpus.path.parent / "out")
    assert found.hash == prep(NEW, old, records=records).hash


def test_splits_of_byte_pairs_hold_the_same_bytes(prep):
    """Where a pair is the end of one character and the next, a split may begin within one."""
    text = "".join(random.Random(1).choice("éĩũ") + "a" for _ in range(301))
    corpus = prep(text, level="bpe", vocab_size=257, val=0.25, test=0.25)
    found = translate(corpus, prep(OLD, level="bpe").tokenizer, corpus.path.parent / "out")
    stray = False
    for split in SPLITS:
        there, now = (
            b"".join(each.tokenizer.pieces[id] for id in each.ids(split).tolist())
            for each in (corpus, found)
        )
        assert there == now
        stray |= "\ufffd" in corpus.tokenizer.decode(corpus.ids(split))
        assert found.size(split).chars == corpus.size(split).chars
        assert found.size(split).bytes == corpus.size(split).bytes == len(now)
    assert stray


@pytest.mark.parametrize("level", ["char", "word"])
def test_a_permuted_alphabet_gives_the_same_corpus(prep, level):
    old = prep(OLD, level=level).tokenizer
    corpus = prep(NEW, level=level)
    permuted = prep(NEW, shuffled(corpus.tokenizer))
    assert permuted.hash != corpus.hash
    found = [
        translate(each, old.grown(each.tokenizer.pieces), corpus.path.parent / f"out{i}")
        for i, each in enumerate((corpus, permuted))
    ]
    assert found[0].hash == found[1].hash


def test_the_unknown_is_matched_by_its_role(prep):
    corpus = prep(NEW, min_count=10)
    old = prep(OLD).tokenizer
    assert old.unknown is None
    grown = old.grown(corpus.tokenizer.pieces)
    found = translate(corpus, grown, corpus.path.parent / "out")
    assert np.array_equal(
        found.ids("train") == grown.unknown, corpus.ids("train") == corpus.tokenizer.unknown
    )
    assert (found.ids("train") == grown.unknown).any()


def test_of_words_only_the_usual_vocabulary_of_the_text_is_added(prep, monkeypatch):
    monkeypatch.setattr("charlm.preparation.vocabularies.WORDS_UNLESS_TOLD", 6)
    old = prep(OLD, level="word", vocab_size=100).tokenizer
    rare = " ".join(f"word{i}" for i in range(50))
    corpus = prep("often " * 9 + rare + " cat", old, True)
    grown = corpus.tokenizer
    assert old.vocabulary < grown.vocabulary <= old.vocabulary + 6
    known = [grown.pieces[id] for id in corpus.ids("train").tolist()]
    assert known.count(b" often") == 8
    assert known[-1] == b" cat"  # rare here, but the model knows it
