"""Words between spaces: a text prepared as WikiText is has the tokens that its users count."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import tokenizers
from support.texts import TEXTS

from charlm import model_file
from charlm.config import PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import ConfigError
from charlm.preparation import cutting, sources
from charlm.sampling.engine import NumpyEngine
from charlm.tokenizer import Tokenizer, forms
from charlm.tokenizer.words import SPACES, last_cut, splitter

WIKI = (
    " \n = Robert Boulter = \n \n Robert <unk> is an English film , television and theatre actor"
    " . He had a guest @-@ starring role in 1 @,@ 999 's <unk> . \n \n = = Career = = \n \n"
    " In 2000 Boulter had a role on the <unk> series The Bill ; he was in Donkey Punch . \n"
)  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_ids_are_those_of_tokenizers_and_nothing_known_is_lost(name):
    text = TEXTS[name]
    words = dict.fromkeys(f" {word}" for t in TEXTS.values() for word in naive(t))
    known = [word for word in words if word.strip(" ") not in ("<unk>", "<boundary>")]
    stored = forms.word_form(known, boundary=False, normalize="none", words="spaces")
    ours, theirs = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    found = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, "replace").tolist() == found
    assert len(found) == len(naive(text))
    assert ours.decode(found) == theirs.decode(found, skip_special_tokens=False)
    if ours.unknown not in found:
        assert ours.decode(found) == "".join(f" {word}" for word in naive(text))


def test_a_text_is_cut_only_where_words_end():
    text = WIKI + "\u4e2d\u6587\uff0c\u4e2d\u6587"
    split = splitter("spaces").split
    for end in range(len(text) + 1):
        cut = last_cut(text[:end], "spaces")
        assert split(text[:cut]) + split(text[cut:]) == split(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wiki")
    (folder / "wiki").write_text(WIKI * 40)
    config = PrepConfig(level="word", words="spaces", val=0.1, test=0)
    return prepare([folder / "wiki"], folder / "corpus", config)


def naive(text):
    """A line's words, and one token for its end: how word models have long been counted."""
    text = text.replace("\x1c", "\ue000")  # a space to Python, and not to Unicode
    *lines, last = text.split("\n")
    words = [word for line in lines for word in [*line.split(), "\n"]] + last.split()
    return [word.replace("\ue000", "\x1c") for word in words]


@pytest.mark.parametrize("before", ["", " ", "\t", "  \u3000"])
@pytest.mark.parametrize("after", ["", " ", "\r", " \xa0 "])
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_spaces_at_the_ends_of_a_line_make_no_other_word(
    tmp_path, monkeypatch, before, after, jobs
):
    monkeypatch.setattr(sources, "CHUNK", 64)
    monkeypatch.setattr(cutting, "PIECE_BYTES", 256)
    lines = [f"the cat {i} sees the  dog\tand <unk> the" for i in range(40)]
    text = "".join(f"{before}{line}{after}\n" for line in lines)
    (tmp_path / "text").write_text(text, newline="")
    config = PrepConfig(level="word", words="spaces", val=0.1, test=0.1)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", config, jobs=jobs)
    tokens = naive(text)
    counted = Counter(token for token in tokens if token != "<unk>")
    by_count = sorted(counted, key=lambda token: (-counted[token], f" {token}"))
    numbered = {token: id for id, token in enumerate(["<unk>", *by_count])}
    ids = np.concatenate([corpus.ids(split) for split in corpus.splits])
    assert ids.tolist() == [numbered[token] for token in tokens]
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "corpus" / "tokenizer.json"))
    assert theirs.get_vocab() == numbered
    assert theirs.encode(text).ids == ids.tolist()
    # What a token is called takes nothing from the length of the text.
    sizes = [corpus.size(split) for split in corpus.splits]
    assert sum(size.chars for size in sizes) == len(text)
    assert sum(size.bytes for size in sizes) == len(text.encode())


def test_a_tokenizer_of_old_keeps_its_words(tmp_path):
    """Where a word without a space before it was another one."""
    form = json.loads(forms.word_form([" a", "b", "\n"], boundary=False, normalize="none"))
    form["pre_tokenizer"]["pattern"]["Regex"] = r" ?\n| ?[^\s]+|\s"
    stored = json.dumps(form)
    old, theirs = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    assert old.encode("b a b  a\n \n").tolist() == theirs.encode("b a b  a\n \n").ids
    assert old.decode(old.encode("b a a\n")) == "b a a\n"
    (tmp_path / "text").write_text("b a\nb c\n")
    config = PrepConfig(level="word", val=0, test=0)
    corpus = prepare([tmp_path / "text"], tmp_path / "data", config, tokenizer=old, grow=True)
    assert corpus.tokenizer.pieces == [b" <unk>", b" a", b"b", b"\n", b" c"]
    assert corpus.tokenizer.decode(corpus.ids("train")) == "b a\nb c\n"


def test_spaces_are_those_of_tokenizers():
    letters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    found = tokenizers.normalizers.Replace(tokenizers.Regex(r"[^\s]"), "").normalize_str(letters)
    assert sorted(f"{SPACES}\n") == sorted(found)


def test_a_run_of_spaces_is_split_in_linear_time():
    """Of the quadratic kind this takes an hour."""
    for text in (" " * 2_000_000, "a" + " " * 2_000_000 + "b", "a\n" + "\t" * 2_000_000):
        assert len(splitter("spaces").split(text)) == len(naive(text))


def test_a_prepared_text_has_the_tokens_that_are_counted_in_it(data):
    tokens = naive(WIKI)
    assert sum(data.size(split).tokens for split in data.splits) == 40 * len(tokens)
    assert data.tokenizer.vocabulary == len(set(tokens))
    ids = data.tokenizer.encode(WIKI)
    assert len(ids) == len(tokens)
    unknown = [token == "<unk>" for token in tokens]
    np.testing.assert_array_equal(ids == data.tokenizer.unknown, unknown)
    assert data.tokenizer.decode(ids) == WIKI


def test_perplexity_is_over_all_tokens(charlm, data, tmp_path):
    run = tmp_path / "run"
    small = ["--width", 16, "--batch", 4, "--context", 16, "--steps", 30, "--seed", 1, "--ngram", 0]
    done = charlm("train", data.path, "-o", run, *small, "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    done = charlm("eval", run, data.path, "--split", "val", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    model = model_file.load(run)
    engine = NumpyEngine(model.network, model.weights)
    ids = Corpus(data.path).ids("val")
    # A text begins a line.
    _, state = engine.step(np.array([engine.start]), engine.initial_state(1))
    before, nats = data.tokenizer.newline, 0.0
    for id in ids:
        logits, state = engine.step(np.array([before]), state)
        probabilities = np.exp(logits[0].astype(float))
        nats -= math.log(probabilities[id] / probabilities.sum())
        before = id
    assert found["tokens"] == len(ids)
    assert found["perplexity"] == pytest.approx(math.exp(nats / len(ids)), rel=1e-4)
    (tmp_path / "val").write_text(data.tokenizer.decode(ids))
    text = charlm("eval", run, tmp_path / "val", "--json")
    assert text.returncode == 0, text.stderr.decode()
    assert json.loads(text.stdout)["tokens"] == len(naive(data.tokenizer.decode(ids)))


def test_prep_and_its_mistakes(charlm, tmp_path):
    (tmp_path / "wiki").write_text(WIKI * 5)
    prep = ["prep", tmp_path / "wiki", "--words", "spaces"]
    assert charlm(*prep, "--level", "word", "-o", tmp_path / "data").returncode == 0
    for wrong, words in (
        (["--level", "char"], b"--level word"),
        (["--level", "word", "--records", "line"], b"--records"),
    ):
        done = charlm(*prep, *wrong, "-o", tmp_path / "other")
        assert done.returncode == 1
        assert words in done.stderr
        assert b"Traceback" not in done.stderr
    stored = tmp_path / "data" / "tokenizer.json"
    again = ["prep", tmp_path / "wiki", "--tokenizer", stored, "-o", tmp_path / "again"]
    assert charlm(*again).returncode == 0
    ids = [(tmp_path / name / "train.bin").read_bytes() for name in ("data", "again")]
    assert ids[0] == ids[1]
    assert charlm(*again, "--force", "--words", "text").returncode == 2


def test_between_spaces_is_for_words_and_for_running_text():
    with pytest.raises(ConfigError, match="--level word"):
        PrepConfig(words="spaces")
    with pytest.raises(ConfigError, match="--records"):
        PrepConfig(level="word", words="spaces", records="line")
