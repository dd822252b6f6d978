"""A law over commands: the same bytes have the same cost, whoever measures them."""

import io
import itertools
import math

import numpy as np
import pytest
from support.measured import LETTERS, make

from charlm import compression
from charlm.library.model import Model
from charlm.measuring import evaluation, records
from charlm.measuring.lines import line_nats
from charlm.measuring.scorer import Scorer
from charlm.measuring.symbols import Symbolizer
from charlm.score import NAMING_NATS, Score

PLAIN = "the king shall have his own\nwhat say you to that, my lord\ni know not.\n"
BLANK = "the king shall have\nhis own\n\nwhat say you to that\n\ni know not.\n"
# Bytes, and how many symbols of characters (in the normal form, if any) are unknown in them.
TEXTS = {
    "plain": PLAIN.encode(),
    "crlf": PLAIN.replace("\n", "\r\n").encode(),
    "mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "unknown": PLAIN.replace("king", "k\u2603ng").encode(),
    "invalid": PLAIN.encode().replace(b"lord", b"lo\xff\xferd"),
    "decomposed": PLAIN.replace("have", "have\u0301").replace("own", "\ufb01n").encode(),
    "empty": PLAIN.replace("own\n", "own\n\n\n\n").encode(),
    "blank": BLANK.encode(),
    "unended": PLAIN.removesuffix("\n").encode(),
}
LEVELS = [("char", "none"), ("char", "nfc"), ("char", "nfkc"), ("byte", "none"), ("bpe", "none"),
          ("bpe", "nfkc"), ("word", "none"), ("word", "nfc"), ("unk", "none")]  # fmt: skip
KINDS = ["none", "line", "blank", "file"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The path of a model of that level, normal form and kind of record."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def get(level, normalize, kind):
        key = level, normalize, kind
        if key not in made:
            made[key] = make(folder / "-".join([*key, "m.safetensors"]), level, kind, normalize)
        return made[key]

    return get


def scored(model, data):
    """What `charlm score` finds: each record's Scored, and the score of what it passes over."""
    found, passed, before = [], Score(), None
    by_record = model.records != "none"
    form = records.Form(crlf=by_record, kind=model.records if by_record else "line")
    scorer, symbolizer = Scorer(model), Symbolizer(model.tokenizer, model.records)
    for record in records.of_bytes(data, "text", form):
        if by_record and not record.text:
            passed += symbolizer.dropped(record.end).score(np.empty(0))
        elif by_record:
            found += scorer.score([record.text], [record.end or None])
        else:
            one, before = scorer.read_on(record.text, before, record.end)
            found.append(one)
    return found, passed


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("level", "normalize", "kind"), [
    (*level, kind) for level, kind in itertools.product(LEVELS, KINDS)
])  # fmt: skip
def test_score_eval_and_compare_agree(models, tmp_path, level, normalize, kind, text):
    data = TEXTS[text]
    (tmp_path / "text").write_bytes(data)
    path = models(level, normalize, kind)
    model = evaluation.load(path)
    expected = evaluation.evaluate(model, evaluation.of_file(model, tmp_path / "text")).score
    found, passed = scored(model, data)
    total = sum((one.score for one in found), passed)
    assert total.nats == pytest.approx(expected.nats, rel=1e-5)
    assert total.unknown_nats == pytest.approx(expected.unknown_nats, rel=1e-5)
    counts = [(s.tokens, s.chars, s.bytes, s.unknown, s.unread) for s in (total, expected)]
    assert counts[0] == counts[1]
    for one in found:  # the rows of --each
        assert one.nats.sum() == pytest.approx(one.score.nats)
        assert len(one.nats) == len(one.ids) == one.score.tokens
    body = data.removeprefix(b"\xef\xbb\xbf")
    nats, unknown = line_nats(model, body.decode("utf-8", "surrogateescape"))
    assert unknown == expected.unknown
    code = expected.nats + NAMING_NATS * expected.unread
    assert nats.sum() == pytest.approx(code, rel=1e-5)
    # The end of the file ends its last record, as if what ends one stood there.
    end = len(body) - len(body.rstrip(b"\r\n"))
    missing = max(0, {"none": 0, "line": 1, "blank": 2, "file": 0}[kind] - end)
    assert expected.bytes == len(body) + missing


@pytest.mark.parametrize("text", ["plain", "crlf", "unknown", "invalid", "decomposed"])
@pytest.mark.parametrize(("level", "normalize"), LEVELS)
def test_the_library_says_of_a_line_what_score_does(models, level, normalize, text):
    path = models(level, normalize, "line")
    loaded = Model.load(path)
    lines = TEXTS[text].decode("utf-8", "surrogateescape").replace("\r", "").splitlines()
    found, _ = scored(loaded.contents, TEXTS[text])
    for line, one in zip(lines, found, strict=True):
        assert loaded.score(line).nats == pytest.approx(one.score.nats, rel=1e-5)
    assert sum(loaded.score(line).nats for line in lines) == pytest.approx(
        sum(one.score.nats for one in found), rel=1e-5
    )


@pytest.mark.parametrize("text", ["crlf", "unknown", "invalid", "empty"])
@pytest.mark.parametrize("kind", ["none", "line", "blank"])
def test_the_unknown_is_worked_out_by_hand(models, tmp_path, kind, text):
    """Of characters: each unknown symbol costs the name of one code point, and is one token."""
    data = TEXTS[text]
    (tmp_path / "text").write_bytes(data)
    model = evaluation.load(models("char", "none", kind))
    found = evaluation.evaluate(model, evaluation.of_file(model, tmp_path / "text")).score
    body = data.decode("utf-8", "surrogateescape")
    if kind == "line":
        unread = body.count("\r") + (3 if text == "empty" else 0)
        body = body.replace("\r", "")
    elif kind == "blank":
        unread = 2 if text == "empty" else 0  # a boundary stands for two characters
        body = body.removesuffix("\r\n") + "\n" if text == "crlf" else body
    else:
        unread = 0
    strange = sum(character not in LETTERS for character in body)
    assert (found.unknown, found.unread) == (strange, unread)
    assert found.unknown_nats == pytest.approx(strange * math.log(0x110000))


@pytest.mark.parametrize("text", ["plain", "mark", "blank", "unknown", "invalid", "crlf"])
@pytest.mark.parametrize(("level", "normalize", "kind"), [
    ("char", "none", "none"), ("char", "nfkc", "line"), ("byte", "none", "blank"),
    ("bpe", "none", "line"), ("word", "none", "none"), ("unk", "none", "line"),
])  # fmt: skip
def test_compress_needs_what_is_measured(models, level, normalize, kind, text):
    """Within 0.5 % and its header; what no token stands for it spells by what came before.

    That takes up to an escape, of 16 bits, and 9 for each byte and the end.
    """
    model = evaluation.load(models(level, normalize, kind))
    data = TEXTS[text] * 10
    found, passed = scored(model, data)
    total = sum((one.score for one in found), passed)
    bits = (total.nats + NAMING_NATS * total.unread) / math.log(2)
    packed, size = compression.compress(model, io.BytesIO(data))
    header = 8 * 64 + 64  # and the newline that a text begins after
    named = total.unknown + total.unread
    assert size == len(data)
    assert 8 * len(packed) <= 1.005 * bits + header + named * 16 + 20 * named
    assert 8 * len(packed) >= 0.995 * bits - header - 20.1 * (total.unread + _named(total))


def _named(total):
    return total.unknown * 8


def test_every_row_of_each_stands_where_its_symbol_does(models):
    model = evaluation.load(models("char", "none", "line"))
    (one,) = Scorer(model, favourites=True).score(["the kⅷng \udcff!"])
    assert one.unknown == {5: "ⅷ", 9: "\udcff", 10: "!"}
    assert [place for place, id in enumerate(one.ids) if id < 0] == [5, 9, 10]
    np.testing.assert_allclose(one.nats[[5, 9, 10]], math.log(0x110000))
    # Where nothing is read the same is expected as after it.
    assert one.favourites[5] == one.favourites[6]
    assert one.favourites[9] == one.favourites[10] == one.favourites[11]
