"""Laws of `--unknown nearest`: what it never does, and what is near to what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import DataError
from charlm.tokenizer import Tokenizer, forms
from charlm.tokenizer.nearest import MARKS_AT_MOST

ASCII = "".join(map(chr, range(32, 127))) + "\n"
SYLLABLE, JAMO = "\uac01", "\u1100\u1161\u11a8"
LAWS = settings(derandomize=True, max_examples=200, deadline=None)
# Text in which something is near to something: letters, marks, quotes, spaces, syllables.
NEARLY = st.text(
    st.one_of(
        st.sampled_from(
            "aAeEßéÉøØıİǅﬁ…½´“”’—\u00ad\u00a0\r\n\u2028\u0301\u0308\ufe0f\u200d\uac01\u1100\u1161\u11a8"
        ),
        st.characters(exclude_categories=["Cs"], exclude_characters="☃"),
    ),
    max_size=20,
)


def chars(symbols, unknown=False, normalize="none"):
    return Tokenizer.from_json(
        forms.char_form(symbols, boundary=True, unknown=unknown, normalize=normalize)
    )


def near(text, symbols, **more):
    tokenizer = chars(symbols, **more)
    return tokenizer.decode(tokenizer.encode(text, unknown="nearest"))


@LAWS
@given(text=NEARLY, more=NEARLY)
def test_known_text_is_unchanged(text, more):
    symbols = set(text + more + "_")
    assert near(f"☃{text}☃", symbols, unknown=True) == f"<unk>{text}<unk>"


@LAWS
@given(text=NEARLY, symbols=st.sampled_from([ASCII, "e", "E'", "’é", "\u0301e ", "\uac01 "]))
def test_every_symbol_becomes_one_of_the_vocabulary_and_stays_so(text, symbols):
    tokenizer = chars(symbols)
    ids = tokenizer.encode(text, unknown="nearest")
    assert set(ids.tolist()) <= set(range(tokenizer.vocabulary)) - {tokenizer.boundary}
    once = tokenizer.decode(ids)
    assert tokenizer.encode(once, unknown="nearest").tolist() == ids.tolist()


@LAWS
@given(text=NEARLY)
def test_it_replaces_no_more_than_replace_does(text):
    tokenizer = chars(ASCII, unknown=True)
    counts = [
        (tokenizer.encode(text, unknown=policy) == tokenizer.unknown).sum()
        for policy in ("nearest", "replace")
    ]
    assert counts[0] <= counts[1]


@pytest.mark.parametrize(
    ("text", "symbols", "found"),
    [
        ("é", "e", "e"), ("é", "e\u0301", "e\u0301"), ("e\u0301", "é", "é"), ("e\u0301", "e", "e"),
        ("é", "eE", "e"), ("é", "E", "E"), ("É", "é", "é"), ("É", "eé", "é"), ("É", "Eé", "E"),
        ("ﬁ", "fi", "fi"), ("ﬁ", "FI", "FI"), ("…", ".", "..."), ("½", "1/2", "1/2"),
        ("ø", "o", "o"), ("ǿ", "o", "o"), ("Ł", "l", "l"), ("æ", "ae", "ae"), ("ß", "sS", "ss"),
        (SYLLABLE, JAMO, JAMO), (JAMO, SYLLABLE, SYLLABLE), ("Ａ", "a", "a"), ("²", "2", "2"),
        ("“", '"', '"'), ("”", '"', '"'), ("«", '"', '"'), ("’", "'", "'"), ("‚", "'", "'"),
        ("´", "' ", "'"), ("'", "’", "’"), ('"', "“”", "”"),
        ("—", "-", "-"), ("–", "-", "-"), ("−", "-", "-"), ("-", "—", "—"),
        ("\u00a0", " ", " "), ("\u2003", " ", " "), ("\t", " ", " "), (" ", "\u00a0", "\u00a0"),
        ("\r\n", "\n", "\n"), ("\r", "\n", "\n"), ("\u2028", "\n ", "\n"), ("\u2028", " ", " "),
        ("x\u0302", "x", "x"), ("\u00ad", " ", ""), ("\ufeff", " ", ""), ("❤\ufe0f", "❤", "❤"),
    ],
)  # fmt: skip
def test_what_is_near(text, symbols, found):
    assert near(text, symbols) == found
    assert near(f"_{text}_", symbols + "_") == f"_{found}_"


def test_what_has_nothing_near_is_replaced():
    assert near("a☃b", "ab ") == "a b"
    assert near("a☃b", "ab", unknown=True) == "a<unk>b"
    assert near("☃\ud800é", "e", unknown=True) == "<unk><unk>e"


def test_a_vocabulary_of_a_normal_form_is_met_in_it():
    assert near("e\u0301 E\u0301", "é ", normalize="nfc") == "é é"


@pytest.mark.parametrize("normalize", ["nfc", "nfkc"])
def test_what_the_shell_could_not_read_is_one_more_unknown_symbol(normalize):
    text = "e\u0301\udce9a"
    assert near(text, "aé", unknown=True, normalize=normalize) == "é<unk>a"
    with pytest.raises(DataError, match=r"U\+DCE9\) at column 2\."):
        chars("aé", normalize=normalize).encode(text)


def test_many_marks_take_no_long_time():
    marks = "\u0301\u0316" * 10 * MARKS_AT_MOST
    assert near(f"a{marks}b{marks}", "ab") == "ab"


def test_letters_with_something_on_them_are_near_to_plain_ones():
    of_their_own = "ÐðÞþĸŊŋ"
    for letter in map(chr, range(0xC0, 0x180)):
        if letter.isalpha() and letter not in of_their_own:
            found = near(letter, ASCII, unknown=True)
            assert found.isascii(), letter
            assert "<unk>" not in found, letter


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The CAT", "the cat"),
        ("london", "London"),
        ("the zebra", "the<unk>"),
        ("the cat", "the cat"),
        ("THE\u00a0cat", "the<unk><unk>"),
    ],
)
def test_the_nearest_word_differs_in_case_only(text, found):
    words = ["the", " cat", "London"]
    tokenizer = Tokenizer.from_json(forms.word_form(words, boundary=False, normalize="none"))
    assert tokenizer.decode(tokenizer.encode(text, unknown="nearest")) == found


@LAWS
@given(text=st.text(max_size=20))
@pytest.mark.parametrize(
    "stored",
    [
        forms.byte_form(boundary=True),
        forms.pair_form(["ab"], size=257, min_count=1, boundary=True, normalize="none"),
    ],
    ids=["byte", "bpe"],
)
def test_where_nothing_can_be_unknown_nothing_changes(stored, text):
    tokenizer = Tokenizer.from_json(stored)
    assert tokenizer.encode(text, unknown="nearest").tolist() == tokenizer.encode(text).tolist()


def test_the_error_offers_what_is_near_where_something_is():
    with pytest.raises(DataError, match=r"\('e' for 'é'\) with --unknown nearest"):
        chars("e ").encode("☃é")
    with pytest.raises(DataError) as caught:
        chars("e ").encode("☃")
    assert "nearest" not in str(caught.value)


def test_a_prompt_can_be_typed_with_other_quotes(charlm, model):
    done = charlm("sample", model, "--prompt", "The KÍNG…", "--unknown", "nearest", "--length", 0)
    assert (done.returncode, done.stdout) == (0, b"the king...\n")
