"""Stored tokenizers that cannot be used, and what is said about them."""

import json

import pytest

from charlm.errors import DataError
from charlm.tokenizer import Tokenizer, forms

FORMS = {
    "char": forms.char_form("some txt", boundary=True, unknown=False, normalize="none"),
    "byte": forms.byte_form(boundary=True),
    "word": forms.word_form(["some", " text"], boundary=True, normalize="none"),
    "bpe": forms.pair_form(["some text"], size=280, min_count=1, boundary=True, normalize="none"),
}


def changed(level, change):
    stored = json.loads(FORMS[level])
    change(stored)
    return json.dumps(stored)


UNUSABLE = {
    "empty": ("", "not JSON"),
    "list": ("[]", "not an object"),
    "deep": ("[" * 100_000, "not JSON"),
    "no model": ("{}", "not one of"),
    "unigram": ('{"model": {"type": "Unigram"}}', "Unigram"),
    "no vocabulary": ('{"model": {"type": "WordLevel"}}', "not one of"),
    "hole": (changed("char", lambda s: s["model"]["vocab"].update(a=99)), "without holes"),
    "twice": (changed("char", lambda s: s["model"]["vocab"].update(a=0)), "without holes"),
    "negative": (changed("char", lambda s: s["model"]["vocab"].update(a=-1)), "without holes"),
    "not a number": (changed("char", lambda s: s["model"]["vocab"].update(a="1")), "without holes"),
    "true": (changed("byte", lambda s: s["model"]["vocab"].update({"a": True})), "without holes"),
    "none": (changed("char", lambda s: s["model"].update(vocab={})), "without holes"),
    "only specials": (
        changed("char", lambda s: s["model"].update(vocab={"<boundary>": 0})), "is empty",
    ),
    "long symbol": (
        changed("char", lambda s: s["model"].update(vocab={"ab": 0})), "not one",
    ),
    "no unknown word": (changed("word", lambda s: s["model"].update(vocab={"a": 0})), "no <unk>"),
    "other split": (changed("word", lambda s: s.update(pre_tokenizer=None)), "not one that charlm"),
    "lower case": (
        changed("char", lambda s: s.update(normalizer={"type": "Lowercase"})), "beyond nfc",
    ),
    "prefix space": (
        changed("byte", lambda s: s["pre_tokenizer"].update(add_prefix_space=True)), "space before",
    ),
    "no bytes": (changed("byte", lambda s: s.update(pre_tokenizer=None)), "not over bytes"),
    "dropout": (changed("bpe", lambda s: s["model"].update(dropout=0.5)), "dropout"),
    "regular expression bomb": (
        changed("bpe", lambda s: s["pre_tokenizer"]["pretokenizers"][0].update(
            pattern={"Regex": "(a+)+$"}
        )), "may take for ever",
    ),
    "a token that is nothing": (
        changed("bpe", lambda s: s["model"]["vocab"].update({"": len(s["model"]["vocab"])})),
        "stands for nothing",
    ),
    "surrogate": (
        changed("char", lambda s: s["model"].update(vocab={"\ud800": 0})), "not Unicode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_refused(name):
    stored, words = UNUSABLE[name]
    with pytest.raises(DataError, match=words) as caught:
        Tokenizer.from_json(stored)
    assert "\n" not in str(caught.value)
