"""Byte pairs of a text without spaces: in time in proportion to its length, and whole."""

import json
import random

import numpy as np
import pytest
import tokenizers

from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.errors import DataError
from charlm.preparation import decoding, sources
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.encoders import PairEncoder

TEXTS = {
    "DNA": "ACGT",
    "base64": "ABCDEFGHabcdefgh01234567+/",
    "Chinese": "".join(map(chr, range(0x4E00, 0x4E40))) + "\u3002\uff0c",
    "Japanese": "".join(map(chr, range(0x3042, 0x3080))),
    "Thai": "".join(map(chr, range(0xE01, 0xE2E))) + "\u0e34\u0e48",
    "spaces": " ",
    "marks": "=-",
}


@pytest.mark.parametrize("name", TEXTS)
def test_pairs_are_merged_in_pieces_of_bounded_length(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sources, "CHUNK", 512)
    monkeypatch.setattr(decoding, "HELD_AT_MOST", 600)
    text = "".join(random.Random(1).choices(TEXTS[name], k=5000))
    (tmp_path / "text").write_text(text)
    config = PrepConfig(level="bpe", vocab_size=300)
    corpus = prepare([tmp_path / "text"], tmp_path / "data", config)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "data" / "tokenizer.json"))
    ids = np.concatenate([corpus.ids(split) for split in corpus.splits])
    assert ids.tolist() == theirs.encode(text).ids == corpus.tokenizer.encode(text).tolist()
    assert corpus.tokenizer.decode(ids) == text
    # The time to learn grows with the square of the longest piece.
    pieces = theirs.pre_tokenizer.pre_tokenize_str(text)
    assert max(end - begin for _, (begin, end) in pieces) <= 65


def test_a_tokenizer_of_before_keeps_its_long_pieces(tmp_path):
    (tmp_path / "text").write_text("ab" * 500)
    config = PrepConfig(level="bpe", vocab_size=300)
    made = prepare([tmp_path / "text"], tmp_path / "data", config).tokenizer
    form = json.loads(made.to_json())
    form["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = (
        r" ?[\w]+| ?[^\w\s]+|\n|[^\S\n]+(?!\S)|[^\S\n]"
    )
    old = Tokenizer.from_json(json.dumps(form))
    theirs = tokenizers.Tokenizer.from_str(json.dumps(form))
    text = "c" + "ab" * 201 + "   =" + "-" * 99
    assert old.encode(text).tolist() == theirs.encode(text).ids != made.encode(text).tolist()
    assert isinstance(old._encoder, PairEncoder)


def test_a_text_of_words_without_an_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 512)
    monkeypatch.setattr(decoding, "HELD_AT_MOST", 600)
    (tmp_path / "text").write_text("x" * 2000)
    with pytest.raises(DataError, match="--level char"):
        prepare([tmp_path / "text"], tmp_path / "data", PrepConfig(level="word"))
