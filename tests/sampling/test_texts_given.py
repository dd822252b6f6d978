"""Texts that are given to stop at, to ban or to allow do what they say, or that is said."""

import itertools
import json
import re

import pytest

from charlm import model_file
from charlm.config import PrepConfig, SamplingConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import ConfigError
from charlm.library.model import Model
from charlm.sampling.processors import banned_ids, never_drawn
from charlm.sampling.session import manner_of
from charlm.sampling.spelling import Drawable
from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.request import RequestError, asked

TEXT = "the cat sat on a mat\nno, the cat's hat\n"


def tokenizer_of(folder, text=TEXT, **knobs):
    (folder / "text").write_text(text, encoding="utf-8")
    prepare([folder / "text"], folder / "data", PrepConfig(val=0, test=0, **knobs))
    return Corpus(folder / "data").tokenizer


KINDS = {
    "char": {},
    "line": {"records": "line"},
    "byte": {"level": "byte"},
    "word": {"level": "word", "vocab_size": 8},
    "spaces": {"level": "word", "words": "spaces", "vocab_size": 8},
    "bpe": {"level": "bpe", "vocab_size": 262},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_drawable_where_some_tokens_have_it_between_them(tmp_path, kind):
    """Against all texts of a few tokens, written out."""
    tokenizer = tokenizer_of(tmp_path, **KINDS[kind])
    banned = {3, 5}
    drawable = Drawable(tokenizer, banned)
    never = {*banned, tokenizer.unknown, tokenizer.boundary}
    pieces = [piece for id, piece in enumerate(tokenizer.pieces) if id not in never]
    if kind in ("byte", "bpe"):
        pieces = [piece for piece in pieces if len(piece) > 1 or piece in b"thca \n\\"]
    else:
        pieces = pieces[:12]
    written = [b"".join(some) for some in itertools.product(pieces, repeat=3)]
    texts = {text[i:j] for text in written[::7] for i in range(3) for j in range(1, 5)}
    for text in itertools.islice(texts - {b""}, 300):
        assert text.decode("utf-8", "surrogateescape") in drawable
    if kind not in ("byte", "bpe"):
        everything = [piece for id, piece in enumerate(tokenizer.pieces) if id not in never]
        enough = [b"".join(some) for some in itertools.product(everything, repeat=3)]
        for text in ("\\n", "<unk>", "sa", "t\nn", "cat", "th", "no,", " \n", "zz", "he ca", "\n"):
            wanted = any(text.encode() in one for one in enough)
            assert (text in drawable) == wanted, text
    assert "\ud800" not in drawable


@pytest.mark.parametrize(
    ("kind", "stop"),
    [("char", "\\n"), ("char", "dog"), ("line", "\n"), ("word", "<unk>"), ("spaces", "t\nno")],
)
def test_a_stop_that_can_never_come_is_refused(tmp_path, kind, stop):
    drawable = Drawable(tokenizer_of(tmp_path, **KINDS[kind]))
    with pytest.raises(ConfigError, match=re.escape(repr(stop))):
        drawable.stop(stop)


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_a_stop_is_put_into_the_models_normal_form(tmp_path, form):
    drawable = Drawable(tokenizer_of(tmp_path, "caf\u00e9 fin\n" * 5, normalize=form))
    assert drawable.stop("fe\u0301") == "f\u00e9"
    if form == "nfkc":
        assert drawable.stop("\ufb01n") == "fin"


def test_unk_is_the_unknown_token_and_not_its_characters(tmp_path):
    text = "a < b and c > d are not words\n" * 9
    tokenizer = tokenizer_of(tmp_path, text, level="word", vocab_size=8)
    assert tokenizer.unknown is not None
    known = {tokenizer.pieces.index(piece) for piece in (b" <", b" >") if piece in tokenizer.pieces}
    assert known
    assert banned_ids(tokenizer, ["<unk>"], []) == [tokenizer.unknown]
    assert never_drawn(tokenizer, ["<unk>"]) == []
    with pytest.raises(ConfigError, match="<unk>"):
        banned_ids(tokenizer, [], ["<unk>", "a"])


def test_the_boundary_cannot_be_banned_and_is_always_allowed(tmp_path):
    tokenizer = tokenizer_of(tmp_path, records="line")
    with pytest.raises(ConfigError, match="<boundary>"):
        banned_ids(tokenizer, ["<boundary>"], [])
    allowed = set(range(tokenizer.vocabulary)) - set(banned_ids(tokenizer, [], ["a", "<boundary>"]))
    assert allowed == {tokenizer.pieces.index(b"a"), tokenizer.boundary}


@pytest.mark.parametrize(
    ("kind", "ban", "named"),
    [
        ("char", "t\\n", ["'\\\\' (U+005C)"]),
        ("word", "cat dog", ["dog"]),
        ("spaces", "cat dog", ["dog"]),
        ("byte", "\u00e9\\", []),
        ("bpe", "\u00e9\\", []),
    ],
)
def test_what_a_ban_names_in_vain_is_known(tmp_path, kind, ban, named):
    tokenizer = tokenizer_of(tmp_path, "the cat and the cat\n" * 5, **KINDS[kind])
    assert never_drawn(tokenizer, [ban]) == named


def test_the_command_says_it(charlm, model):
    done = charlm("sample", model, "--stop", "\\n", "--length", 9)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'\\\\' (U+005C)" in done.stderr
    assert done.stderr.count(b"\n") == 1
    done = charlm("sample", model, "--ban", "e\\n", "--length", 30, "--seed", 1)
    assert done.returncode == 0
    assert b"'\\\\' (U+005C)" in done.stderr
    assert b"e" not in done.stdout
    done = charlm("sample", model, "--ban", "n", "--stop", "an", "--length", 9)
    assert done.returncode == 1


def test_the_library_says_it(model):
    loaded = Model(model_file.load(model))
    with pytest.raises(ConfigError, match="stop"):
        loaded.sample("the", stops=["\u00e9"])


def test_the_server_says_it_unless_it_takes_what_is_unknown(model):
    body = json.dumps({"model": "m", "prompt": "the", "stop": ["k", "\u00e9"]}).encode()
    request = asked(body, Limits())
    with pytest.raises(RequestError, match="U\\+00E9") as error:
        Desk("m", model, Limits()).order(request)
    assert error.value.body["error"]["param"] == "stop"
    assert Desk("m", model, Limits(unknown="skip")).order(request).manner.stops == ("k", "\u00e9")


@pytest.mark.parametrize("ends", [{"max_lines": 1}, {"until_record": True}])
def test_an_end_of_line_that_never_comes_is_refused(model, names_model, ends):
    loaded = model_file.load(model)
    with pytest.raises(ConfigError, match="newline"):
        manner_of(loaded, SamplingConfig(), ban=["\n"], **ends)
    manner_of(loaded, SamplingConfig(), **ends)
    manner_of(model_file.load(names_model), SamplingConfig(), **ends)  # a record is a line
