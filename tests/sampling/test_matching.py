"""Samples under a pattern: every one matches, and every match can come out."""

import itertools
import re
import subprocess
from functools import cache
from unicodedata import category

import numpy as np
import pytest

from charlm.errors import ConfigError
from charlm.sampling import automaton, matching
from charlm.sampling.matching import Matcher
from charlm.sampling.processors import History
from charlm.tokenizer import Tokenizer, forms

LEVELS = ("char", "byte", "word", "bpe")
COMPILE = cache(automaton.compile_pattern)


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch):
    monkeypatch.setattr(matching, "compile_pattern", COMPILE)


@cache
def tokenizer(level, boundary=True):
    text = "abcdefg hij. 0123456789-\né٣"
    if level == "char":
        stored = forms.char_form(set(text), boundary=boundary, unknown=True, normalize="none")
    elif level == "byte":
        stored = forms.byte_form(boundary=boundary)
    elif level == "word":
        words = ["ab", "cd", "abcd", "a", "the", "2026", "11", "0", "7"]
        stored = forms.word_form(
            [*words, *(f" {word}" for word in words), ".", "-", " -", "\n"],
            boundary=boundary,
            normalize="none",
        )
    else:
        texts = ["ab cd abcd. 2026-11 é", "the abcd cdab.\n1999-07"] * 3
        stored = forms.pair_form(texts, size=290, min_count=1, boundary=boundary, normalize="none")
    return Tokenizer.from_json(stored)


def drawn(matcher, made, seed):
    """One sample's ids, from logits at random, drawn and ended as `Matcher` says."""
    rng = np.random.default_rng(seed)
    history = History(prompt=[made.vocabulary - 1])
    while not matcher.finished(history):
        logits = 2 * rng.standard_normal(made.vocabulary)
        if matcher.ends(logits, history, rng.random()):
            break
        bent = matcher(logits[None], [history])[0]
        p = np.exp(bent - bent.max())
        history.ids.append(int(rng.choice(len(p), p=p / p.sum())))
    return history.ids


PATTERNS = [
    (r"[a-z]+ [a-z]+\.", 12),
    (r"(ab|cd){2,3}", 6),
    (r"\d{4}-\d\d", 7),
    (r"the|the (a|ab)?|.{0,5}\n", 8),
    (r"[^a]*", 9),
]


@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("pattern", "length"), PATTERNS)
def test_every_sample_matches_within_its_length(pattern, length, level, boundary):
    made = tokenizer(level, boundary)
    matcher = Matcher(pattern, made, length)
    texts = set()
    for seed in range(25):
        ids = drawn(matcher, made, seed)
        assert boundary or made.boundary is None
        assert made.unknown not in ids
        text = made.decode(ids, "strict")
        # The library knows digits that came into Unicode after this Python.
        known = "".join("0" if category(symbol) == "Cn" else symbol for symbol in text)
        assert re.fullmatch(pattern, known), text
        assert len(text) <= length
        texts.add(text)
    assert len(texts) > 2


def writable(matcher, made, length):
    """All texts that can be drawn, each to where its boundary is open."""
    found, waiting = set(), [History()]
    while waiting:
        history = waiting.pop()
        bent = matcher(np.zeros((1, made.vocabulary)), [history])[0]
        assert np.isfinite(bent).any()
        for id in np.flatnonzero(np.isfinite(bent)).tolist():
            if id == made.boundary:
                found.add(made.decode(history.ids))
            else:
                waiting.append(History(ids=[*history.ids, id], kept=dict(history.kept)))
    return found


@pytest.mark.parametrize(
    "pattern",
    ["a|ab", "(a|ab)(c|bcd)?", "a*?", "(a|b)*?b", "a(bb)?c?", "", "a?b??", "(|a|ab)+c", "[^b]*b?"],
)
def test_exactly_the_matches_can_be_written(pattern):
    made = Tokenizer.from_json(
        forms.char_form("abcd", boundary=True, unknown=False, normalize="none")
    )
    texts = ("".join(t) for size in range(5) for t in itertools.product("abcd", repeat=size))
    matches = {text for text in texts if re.fullmatch(pattern, text)}
    assert writable(Matcher(pattern, made, 4), made, 4) == matches


def test_words_are_cut_where_the_model_cuts_them():
    made = tokenizer("word")
    found = writable(Matcher("(the )?ab(cd)?( cd)?", made, 8), made, 8)
    assert found == {"ab", "abcd", "ab cd", "abcd cd", "the ab", "the abcd"}


def test_the_boundary_is_open_exactly_where_the_text_matches():
    made = tokenizer("char")
    matcher = Matcher("ab?|abcd", made, 10)
    for text, accepted in [("", False), ("a", True), ("ab", True), ("abc", False), ("abcd", True)]:
        history = History(ids=made.encode(text).tolist())
        bent = matcher(np.zeros((1, made.vocabulary)), [history])[0]
        assert np.isfinite(bent[made.boundary]) == accepted
        assert not matcher.ends(bent, history, 0.999)
        assert matcher.finished(history) == (text == "abcd")
    assert matcher.finished(History(ids=[*made.encode("a").tolist(), made.boundary]))


def test_without_a_boundary_a_match_ends_as_often_as_the_model_would_leave_it():
    made = Tokenizer.from_json(
        forms.char_form("abc", boundary=False, unknown=True, normalize="none")
    )
    a, b, c = made.encode("abc").tolist()
    logits = np.full(made.vocabulary, 30.0)  # <unk> is never drawn, and counts for nothing
    logits[[a, b, c]] = np.log([0.2, 0.3, 0.5])
    matcher = Matcher("a[ab]*", made, 3)
    begun = History(ids=[a])
    assert matcher.ends(logits, begun, 0.51)
    assert not matcher.ends(logits, begun, 0.49)
    assert not matcher.ends(logits, History(), 0.999)
    assert matcher.ends(logits, History(ids=[a, b, b]), 0.0)
    assert matcher.finished(History(ids=[a, b, b]))
    assert not matcher.finished(begun)
    banned = Matcher("a[ab]*", made, 3, banned=[c])
    assert not banned.ends(logits, begun, 0.999)


def test_rows_are_bent_alone_and_histories_are_read_once():
    made = tokenizer("bpe")
    matcher = Matcher(r"[a-d]+( [a-d]+)*\.", made, 30)
    rng = np.random.default_rng(0)
    histories = [History() for _ in range(4)]
    for _ in range(6):
        logits = rng.standard_normal((4, made.vocabulary)).astype(np.float32)
        kept = logits.copy()
        together = matcher(logits, histories)
        np.testing.assert_array_equal(logits, kept)
        for row, raw, history in zip(together, logits, histories, strict=True):
            anew = History(prompt=[1], ids=list(history.ids))
            np.testing.assert_array_equal(matcher(raw[None], [anew])[0], row)
            if not matcher.finished(history):
                history.ids.append(int(row.argmax()))


def test_a_finished_row_keeps_its_logits():
    made = tokenizer("char", boundary=False)
    history = History(ids=made.encode("ab").tolist())
    logits = np.random.default_rng(0).standard_normal((1, made.vocabulary))
    np.testing.assert_array_equal(Matcher("ab", made, None)(logits, [history]), logits)


def test_what_is_banned_is_never_open():
    made = tokenizer("char")
    a = made.encode("a").tolist()
    matcher = Matcher("[ab]{3}", made, None, banned=a)
    assert writable(matcher, made, 3) == {"bbb"}
    with pytest.raises(ConfigError, match="nothing that the model can write"):
        Matcher("[ab]*a", made, None, banned=a)


def test_the_dot_excludes_the_newline():
    made = tokenizer("char")
    bent = Matcher(".", made, 1)(np.zeros((1, made.vocabulary)), [History()])[0]
    closed = {made.pieces[id] for id in np.flatnonzero(np.isneginf(bent)).tolist()}
    assert closed == {b"\n", b"", b"<unk>"}


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(ab", "missing \\)"),
        ("a)|(b", "unbalanced parenthesis"),
        ("[z-a]", "bad character range"),
        ("a(?=b)", "no regular expression"),
        (r"(a)\1", "no regular expression"),
        (r"\bab", "no regular expression"),
        ("\udce9", "not UTF-8"),
        ("xyz", "nothing that the model can write"),
        ("[a-c&&d]", "nothing that the model can write"),
        ("^ab$", "leave \\^ and \\$ out"),
        ("a{10}", "has 10 characters, and length is 5"),
        ("a" * 1001, "1,001 characters"),
        ("(a|b)*a(a|b){14}", "too large"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_one_clear_error(pattern, why):
    with pytest.raises(ConfigError, match=why) as caught:
        Matcher(pattern, tokenizer("char"), 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["(a|b)*a(a|b){100}", "(a{1000}){1000}", r"(\w{1000}){1000}"],
    ids=["2^100", "a", "w"],
)
def test_an_automaton_that_takes_too_long_is_given_up(pattern, monkeypatch):
    monkeypatch.setattr(automaton, "TIME_S", 0.5)
    with pytest.raises(ConfigError, match="too large"):
        automaton.compile_pattern(pattern)


def test_a_match_is_not_looked_for_at_later_places():
    # Whoever begins at every place must tell 2^40 sets of places apart.
    assert len(COMPILE("a[ab]{40}").table) < 256 * 50


def test_what_the_other_process_dies_of_is_not_hidden(monkeypatch):
    done = subprocess.CompletedProcess([], 1, b"", b"ModuleNotFoundError: outlines_core")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(RuntimeError, match="outlines_core"):
        automaton.compile_pattern("a")
