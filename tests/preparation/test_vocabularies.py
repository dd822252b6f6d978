"""Which symbols get an id, at each level."""

import itertools
import json

import numpy as np
import pytest

from charlm import model_file, untrusted
from charlm.config import NetworkConfig, PrepConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError
from charlm.network import build
from charlm.preparation import sources, vocabularies
from charlm.tokenizer import Tokenizer, forms, room

TEXT = "Größe, мир! don't  stop\r\n\n中文。 e\u0301 <boundary> <unk>\n" * 5
SIZES = {"bpe": 300, "char": None, "word": None, "byte": None}


@pytest.fixture
def prep(tmp_path):
    """Prepares texts or bytes, each a file; the corpus, with what was said about it."""

    def run(*texts, name="data", tokenizer=None, **knobs):
        paths = [tmp_path / f"text{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        said = []
        config = PrepConfig(**knobs)
        out = tmp_path / name
        corpus = prepare(paths, out, config, tokenizer=tokenizer, force=True, say=said.append)
        corpus.said = "\n".join(said)
        return corpus

    return run


def test_rare_characters_can_be_left_out(prep):
    text = "aaaabbbccd"
    corpus = prep(text, min_count=3, val=0, test=0)
    assert corpus.tokenizer.pieces == [b"<unk>", b"a", b"b"]
    assert corpus.tokenizer.decode(corpus.ids("train")) == "aaaabbb<unk><unk><unk>"
    assert corpus.size("train").chars == 10
    assert "2 different symbols are not in the vocabulary: 30.00%" in corpus.said
    assert prep(text, vocab_size=3).tokenizer.pieces == [b"<unk>", b"a", b"b"]
    assert prep(text, vocab_size=4).tokenizer.unknown is None
    with pytest.raises(ConfigError, match="--min-count 9 leaves no symbol"):
        prep(text, min_count=9)


def test_rare_words_become_unknown_and_keep_their_length(prep):
    corpus = prep("a bb a bb a ccc", level="word", vocab_size=4, val=0, test=0)
    assert corpus.tokenizer.pieces == [b"<unk>", b" a", b" bb", b" ccc"]
    assert corpus.size("train").chars == 15
    assert corpus.size("train").tokens == 6


def test_equal_counts_are_ordered_by_the_word(prep):
    corpus = prep("d\nc\nb\na\nd\n", level="word", vocab_size=4)
    assert corpus.tokenizer.pieces == [b"<unk>", b"\n", b"d", b"a"]


def test_byte_pairs_are_learned_from_a_part_of_a_long_text(prep, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 1000)
    monkeypatch.setattr(vocabularies, "LEARNED_AT_MOST", 5000)
    corpus = prep("some words to learn from\n" * 1000, level="bpe", vocab_size=300)
    assert "learning 300 tokens from one part in 5 of 25.0 kB of text" in corpus.said
    assert corpus.tokenizer.vocabulary <= 300


def test_a_tokenizer_is_used_again(prep):
    first = prep("abc abd\n" * 9, level="char", records="line", name="first")
    again = prep("dcba", tokenizer=first.tokenizer, records="line", name="again")
    assert again.tokenizer.hash == first.tokenizer.hash
    assert (
        again.tokenizer.decode(np.concatenate([again.ids(split) for split in again.splits]))
        == "dcba"
    )
    with pytest.raises(DataError) as caught:
        prep("abc\nabç\né", tokenizer=first.tokenizer, records="line", name="again")
    message = str(caught.value)
    assert "'ç' (U+00E7)" in message
    assert "text0.txt, line 2" in message
    assert "'é' (U+00E9)" in message
    assert "line 3" in message


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
def test_a_used_tokenizer_gives_its_own_ids(prep, level):
    stored = prep(TEXT, level=level, vocab_size=SIZES[level], name="first").tokenizer
    corpus = prep(TEXT[30:60], tokenizer=stored, val=0, test=0)
    expected = stored.encode(TEXT[30:60], unknown="replace")
    assert corpus.ids("train").tolist() == expected.tolist()
    assert corpus.about["level"] == corpus.about["config"]["level"] == level


def test_unknown_characters_become_unk_where_the_used_tokenizer_has_it(prep):
    stored = forms.char_form("ab", boundary=False, unknown=True, normalize="none")
    corpus = prep("abc", tokenizer=Tokenizer.from_json(stored), val=0, test=0)
    assert corpus.ids("train").tolist() == [1, 2, 0]


def test_records_need_a_boundary_in_the_used_tokenizer(prep):
    stored = prep("ab", name="first").tokenizer
    with pytest.raises(DataError, match="no <boundary>"):
        prep("ab", tokenizer=stored, records="line")


def test_a_model_has_room_for_every_vocabulary_that_is_made(tmp_path, monkeypatch):
    """Once a run's model with half a million Cyrillic words was refused by all that read it."""
    monkeypatch.setattr(untrusted, "LONGEST", 60_000)
    monkeypatch.setattr(model_file, "LONGEST", 60_000)
    monkeypatch.setattr(room, "LONGEST", 60_000)
    monkeypatch.setattr(room, "OTHERS", 10_000)
    letters = "абвгдежзийклмнопрст"
    words = ["".join(pair) for pair in itertools.product(letters, letters, '"\\', letters)]
    made, refused = 0, []
    for count in range(200, 2000, 200):
        config = PrepConfig(level="word", words="spaces", vocab_size=count)
        (tmp_path / "text").write_text(" ".join(words))
        try:
            corpus = prepare([tmp_path / "text"], tmp_path / "data", config, force=True)
        except DataError as error:
            refused.append(str(error))
            continue
        made += 1
        assert not refused
        network = build(NetworkConfig(width=1, embedding=1), corpus.tokenizer.vocabulary)
        weights = {name: np.zeros(shape, np.float32) for name, shape in network.shapes().items()}
        model_file.save(model_file.Model(network, weights, corpus.tokenizer), tmp_path / "model")
        assert model_file.load(tmp_path / "model").tokenizer.hash == corpus.tokenizer.hash
    assert made > 1
    assert len(refused) > 1
    assert all("--vocab-size" in message for message in refused)


def test_the_estimate_of_a_models_room_is_safe():
    for text in ("\\" * 100, '"' * 100, "\n" * 100, "\U0001f600" * 100, "é" * 100, "\x7f" * 100):
        inner = json.dumps(text, ensure_ascii=False)
        size_bytes = len(json.dumps(inner, ensure_ascii=False).encode())
        assert size_bytes <= room.WIDEST * len(text) + 10
