"""Words between spaces: a text prepared as WikiText is has the tokens that its users count."""

import json
import math

import numpy as np
import pytest
import tokenizers
from support.texts import TEXTS

from charlm import model_file
from charlm.config import PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import ConfigError
from charlm.sampling.engine import NumpyEngine
from charlm.tokenizer import Tokenizer, forms
from charlm.tokenizer.words import SPACED_PATTERN, Words, last_cut

WIKI = (
    " \n = Robert Boulter = \n \n Robert <unk> is an English film , television and theatre actor"
    " . He had a guest @-@ starring role in 1 @,@ 999 's <unk> . \n \n = = Career = = \n \n"
    " In 2000 Boulter had a role on the <unk> series The Bill ; he was in Donkey Punch . \n"
)  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_ids_are_those_of_tokenizers_and_nothing_known_is_lost(name):
    text = TEXTS[name]
    words = dict.fromkeys(w for t in TEXTS.values() for w in Words(SPACED_PATTERN).split(t))
    known = [word for word in words if word.strip() not in ("<unk>", "<boundary>")]
    stored = forms.word_form(known, boundary=False, normalize="none", words="spaces")
    ours, theirs = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    found = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, "replace").tolist() == found
    if ours.unknown not in found:
        assert ours.decode(found) == text


def test_a_text_is_cut_only_where_words_end():
    text = WIKI + "\u4e2d\u6587\uff0c\u4e2d\u6587"
    split = Words(SPACED_PATTERN).split
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
    return [word for line in text.splitlines() for word in [*line.split(), "<eos>"]]


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
    small = ["--width", 16, "--batch", 4, "--context", 16, "--steps", 30, "--seed", 1]
    done = charlm("train", data.path, "-o", run, *small, "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    done = charlm("eval", run, data.path, "--split", "val", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    model = model_file.load(run)
    engine = NumpyEngine(model.network, model.weights)
    ids = Corpus(data.path).ids("val")
    state, before, nats = engine.initial_state(1), engine.start, 0.0
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
