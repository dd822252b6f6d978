"""Laws of the tokenizers: round trips, streaming, and the ids that `tokenizers` itself gives."""

import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from support.texts import TEXTS
from tokenizers import decoders, models, pre_tokenizers, trainers

from charlm.errors import ConfigError, DataError
from charlm.tokenizer import Tokenizer, forms
from charlm.tokenizer.encoders import ForeignEncoder
from charlm.tokenizer.words import WORD_PATTERN, Words

ALL = "".join(TEXTS.values())
LEVELS = ("char", "byte", "word", "bpe")


def form(level, texts, boundary=True):
    if level == "char":
        symbols = set("".join(texts))
        return forms.char_form(symbols, boundary=boundary, unknown=False, normalize="none")
    if level == "byte":
        return forms.byte_form(boundary=boundary)
    if level == "word":
        words = dict.fromkeys(word for text in texts for word in Words(WORD_PATTERN).split(text))
        return forms.word_form(list(words), boundary=boundary, normalize="none")
    return forms.pair_form([*texts] * 3, size=320, min_count=1, boundary=boundary, normalize="none")


@pytest.fixture(scope="module", params=[(level, b) for level in LEVELS for b in (True, False)])
def pair(request):
    """A tokenizer of ours and the same file opened by `tokenizers`."""
    level, boundary = request.param
    stored = form(level, [*TEXTS.values()], boundary)
    return Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)


@pytest.mark.parametrize("name", TEXTS)
def test_decoding_gives_the_text_and_ids_are_those_of_tokenizers(pair, name):
    ours, theirs = pair
    ids = ours.encode(TEXTS[name])
    assert ids.dtype == np.int64
    assert ids.tolist() == theirs.encode(TEXTS[name], add_special_tokens=False).ids
    assert ours.decode(ids) == TEXTS[name]
    assert theirs.decode(ids.tolist(), skip_special_tokens=False) == TEXTS[name]


def test_the_boundary_is_never_text(pair):
    ours, _ = pair
    assert ours.boundary not in ours.encode(TEXTS["boundary"])
    if ours.boundary is not None:
        assert ours.pieces[ours.boundary] == b""
        assert ours.symbol(ours.boundary) == "<boundary>"


@settings(derandomize=True, max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_any_text_round_trips_where_nothing_can_be_unknown(level, text):
    ours, theirs = cached(level)
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    assert ids.tolist() == theirs.encode(text, add_special_tokens=False).ids


@settings(derandomize=True, max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
@pytest.mark.parametrize("level", ["char", "word"])
def test_any_text_round_trips_in_its_own_vocabulary(level, text):
    stored = form(level, [text, "x"])
    ours, theirs = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    assert ids.tolist() == theirs.encode(text, add_special_tokens=False).ids


@settings(derandomize=True, max_examples=60, deadline=None)
@given(ids=st.lists(st.integers(0, 256), max_size=30))
@pytest.mark.parametrize("level", LEVELS)
def test_streaming_decodes_like_the_whole(level, ids):
    ours, _ = cached(level)
    ids = [id % ours.vocabulary for id in ids]
    decoder = ours.decoder()
    for _ in range(2):  # a closed decoder begins anew
        assert "".join([*map(decoder.feed, ids), decoder.close()]) == ours.decode(ids)


def test_a_character_in_several_tokens_comes_out_whole():
    decoder = cached("byte")[0].decoder()
    assert [decoder.feed(byte) for byte in "aé😀".encode()] == ["a", "", "é", "", "", "", "😀"]
    decoder.feed(0xE9)
    assert decoder.close() == "\ufffd"


_CACHE = {}


def cached(level):
    if level not in _CACHE:
        stored = form(level, [*TEXTS.values()])
        _CACHE[level] = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    return _CACHE[level]


@pytest.mark.parametrize("level", LEVELS)
def test_the_stored_form_round_trips_and_is_deterministic(level):
    stored = form(level, [*TEXTS.values()])
    assert stored == form(level, [*TEXTS.values()])
    ours = Tokenizer.from_json(stored)
    again = Tokenizer.from_json(ours.to_json())
    assert (again.hash, again.pieces, again.level) == (ours.hash, ours.pieces, level)
    # What `tokenizers` writes after reading it says the same.
    resaved = Tokenizer.from_json(tokenizers.Tokenizer.from_str(stored).to_str())
    assert (resaved.pieces, resaved.level) == (ours.pieces, level)
    assert (resaved.boundary, resaved.unknown) == (ours.boundary, ours.unknown)
    assert resaved.encode(ALL).tolist() == ours.encode(ALL).tolist()


def test_a_byte_is_its_own_id():
    ours, _ = cached("byte")
    assert ours.pieces[:256] == [bytes([byte]) for byte in range(256)]
    assert ours.boundary == 256
    # An argument that was not UTF-8 comes from the shell as surrogates, and out as it was.
    assert ours.encode("a\udce9").tolist() == [0x61, 0xE9]


def test_char_ids_are_sorted_after_the_specials():
    stored = forms.char_form("b\na", boundary=True, unknown=True, normalize="none")
    assert Tokenizer.from_json(stored).pieces == [b"", b"<unk>", b"\n", b"a", b"b"]


def chars(symbols, unknown=False):
    return Tokenizer.from_json(
        forms.char_form(symbols, boundary=True, unknown=unknown, normalize="none")
    )


def test_unknown_characters_are_named_once_with_their_place():
    with pytest.raises(DataError) as caught:
        chars("ab\n").encode("ab\ncaécd\ud800")
    message = str(caught.value)
    assert "'c' (U+0063) at line 2, column 1" in message
    assert "'é' (U+00E9) at line 2, column 3" in message
    assert "U+D800" in message
    assert message.count("U+0063") == 1
    assert "--unknown skip" in message
    assert "--unknown replace" in message
    assert "\n" not in message
    with pytest.raises(DataError, match="and 80 more"):
        chars("a").encode("".join(map(chr, range(200, 300))))


@pytest.mark.parametrize(
    ("tokenizer", "replaced"),
    [(chars("ab"), "aab"), (chars("ab "), "a b"), (chars("ab ", unknown=True), "a<unk>b")],
)
def test_unknown_characters_are_skipped_or_replaced(tokenizer, replaced):
    assert tokenizer.decode(tokenizer.encode("aéb", unknown="skip")) == "ab"
    assert tokenizer.decode(tokenizer.encode("aéb", unknown="replace")) == replaced


def test_unknown_words_are_ordinary():
    ours = Tokenizer.from_json(forms.word_form(["a", " b"], boundary=False, normalize="none"))
    assert ours.encode("a b c").tolist() == [1, 2, 0]
    assert ours.encode("a b c", unknown="skip").tolist() == [1, 2]
    assert ours.decode([1, 0]) == "a<unk>"


@pytest.mark.parametrize("level", ["word", "bpe"])
def test_text_that_is_not_unicode_is_an_error(level):
    with pytest.raises(DataError, match="lone surrogate U\\+D800"):
        cached(level)[0].encode("a\ud800")


@pytest.mark.parametrize("normal", ["nfc", "nfkc"])
def test_text_is_encoded_in_its_normal_form(normal):
    stored = forms.char_form("eé fi", boundary=False, unknown=False, normalize=normal)
    ours, theirs = Tokenizer.from_json(stored), tokenizers.Tokenizer.from_str(stored)
    text = "e\u0301 é" + ("ﬁ" if normal == "nfkc" else "")
    assert ours.encode(text).tolist() == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == ("é éfi" if normal == "nfkc" else "é é")


def test_symbols_have_readable_names():
    ours = chars("a\n \u0301é\0")
    names = [ours.symbol(id) for id in range(ours.vocabulary)]
    assert names == ["<boundary>", r"'\x00'", r"'\n'", "' '", "a", "é", "U+0301"]
    assert cached("byte")[0].symbol(0xE9) == "0xE9"


def test_byte_pairs_need_room_for_the_bytes():
    with pytest.raises(ConfigError, match="at least 257"):
        forms.pair_form(["a"], size=256, min_count=1, boundary=True, normalize="none")


def test_a_frequent_literal_boundary_is_not_merged_into_the_boundary():
    ours, theirs = (
        make(form("bpe", ["<boundary>" * 50]))
        for make in (Tokenizer.from_json, tokenizers.Tokenizer.from_str)
    )
    assert ours.decode(ours.encode("<boundary>")) == "<boundary>"
    assert ours.encode("<boundary>").tolist() == theirs.encode("<boundary>").ids


@pytest.mark.parametrize("level", ["char", "byte"])
def test_characters_and_bytes_do_without_the_slow_package(level, tmp_path):
    (tmp_path / "t.json").write_text(form(level, ["aé"]), encoding="utf-8")
    program = (
        "import sys, pathlib; from charlm.tokenizer import Tokenizer;"
        f"t = Tokenizer.from_file(pathlib.Path({str(tmp_path / 't.json')!r}));"
        "t.decode(t.encode('aé')); sys.exit('tokenizers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def gpt2_style(**options):
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator(["the theory of the thing  is\n\n that it thinks "] * 9, trainer)
    return theirs


def test_a_foreign_byte_level_bpe_works(monkeypatch):
    theirs = gpt2_style()
    ours = Tokenizer.from_json(theirs.to_str())
    assert (ours.level, ours.boundary, ours.pieces[0]) == ("bpe", None, b"<|endoftext|>")
    monkeypatch.setattr(ForeignEncoder, "PART", 7)  # so that short texts are cut as long ones are
    for text in [
        *TEXTS.values(),
        "the theory  of\n\n things  is that <|endoftext|> it thinks 12 x",
    ]:
        ids = ours.encode(text)
        assert ids.tolist() == theirs.encode(text).ids
        assert ours.decode(ids) == text
