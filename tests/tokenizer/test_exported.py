"""The form of a tokenizer that is exported: other programs can read any text with it."""

import pytest
import tokenizers

from charlm.tokenizer import Tokenizer, forms


@pytest.mark.parametrize("symbols", ["ab c", "abc"])
@pytest.mark.parametrize("boundary", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_an_unknown_character_has_an_id(symbols, boundary, unknown):
    stored = forms.char_form(symbols, boundary=boundary, unknown=unknown, normalize="none")
    ours = Tokenizer.from_json(stored)
    theirs = tokenizers.Tokenizer.from_str(ours.exported())
    instead = "<unk>" if unknown else " " if " " in symbols else "a"
    expected = [theirs.token_to_id(symbol) for symbol in ("a", instead, "c")]
    assert theirs.encode("a\u00e9c").ids == expected
    assert ours.encode("a\u00e9c", "replace").tolist() == expected
    again = Tokenizer.from_json(ours.exported())
    assert (again.to_json(), again.hash) == (stored, ours.hash)
