"""Processors against distributions worked out by hand, and the laws they share."""

import numpy as np
import pytest

from charlm.config import SamplingConfig
from charlm.errors import ConfigError
from charlm.sampling.processors import (
    History,
    ban,
    banned_ids,
    min_p,
    pipeline,
    repetition,
    temperature,
    top_k,
    top_p,
)
from charlm.tokenizer import Tokenizer, forms

# Probabilities 0.5, 0.25, 0.15, 0.1, in another order, twice.
P = np.array([[0.15, 0.5, 0.1, 0.25], [0.25, 0.1, 0.5, 0.15]])
LOGITS = np.log(P)


def probabilities(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def blank(logits):
    """A history of nothing for each row."""
    return [History() for _ in logits]


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (ban([1]), [0.3, 0, 0.2, 0.5]),
        (temperature(0.5), P[0] ** 2 / (P[0] ** 2).sum()),
        (temperature(2.0), P[0] ** 0.5 / (P[0] ** 0.5).sum()),
        (top_k(1), [0, 1, 0, 0]),
        (top_k(2), [0, 2 / 3, 0, 1 / 3]),
        (top_k(9), P[0]),
        (top_p(0.4), [0, 1, 0, 0]),
        (top_p(0.5), [0, 1, 0, 0]),
        (top_p(0.6), [0, 2 / 3, 0, 1 / 3]),
        (top_p(0.8), [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9]),
        (top_p(0.95), P[0]),
        (min_p(0.4), [0, 2 / 3, 0, 1 / 3]),
        (min_p(0.25), [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9]),
        (min_p(1.0), [0, 1, 0, 0]),
    ],
)
def test_bends_a_known_distribution_as_worked_out_by_hand(processor, expected):
    bent = processor(LOGITS, blank(LOGITS))
    np.testing.assert_allclose(probabilities(bent)[0], expected, atol=1e-12)


def test_repetition_divides_what_is_positive_and_multiplies_what_is_negative():
    logits = np.array([[4.0, -4.0, 0.0, 1.0, -1.0, -np.inf]])
    history = History(ids=[0, 1, 2, 5, 0])
    bent = repetition(2.0, 64)(logits, [history])
    np.testing.assert_array_equal(bent, [[2.0, -8.0, 0.0, 1.0, -1.0, -np.inf]])
    # By hand: exp of 2, -8, 0, 1 and -1, each over their sum.
    weights = np.array([7.389056, 0.000335, 1.0, 2.718282, 0.367879, 0.0])
    np.testing.assert_allclose(probabilities(bent)[0], weights / weights.sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("prompt", "ids", "window", "seen"),
    [
        ([0, 1, 2], [], 2, {1, 2}),
        ([0, 1, 2], [3], 2, {2, 3}),
        ([0, 1, 2], [3, 4], 2, {3, 4}),
        ([0, 1, 2], [3, 4], 1, {4}),
        ([0], [1], 64, {0, 1}),
        ([], [], 64, set()),
    ],
)
def test_repetition_looks_back_over_the_sample_and_then_the_prompt(prompt, ids, window, seen):
    bent = repetition(2.0, window)(np.ones((1, 5)), [History(prompt, ids)])
    assert set(np.flatnonzero(bent[0] != 1)) == seen


PROCESSORS = [
    repetition(1.3, 4),
    repetition(0.5, 64),
    temperature(0.1),
    temperature(5.0),
    top_k(1),
    top_k(3),
    top_p(1e-9),
    top_p(0.7),
    min_p(0.9),
]


def random_rows(rows, vocabulary, seed=0):
    rng = np.random.default_rng(seed)
    logits = (10 * rng.standard_normal((rows, vocabulary))).astype(np.float32)
    draw = [rng.integers(vocabulary, size=size).tolist() for size in rng.integers(9, size=2 * rows)]
    return logits, [History(*pair) for pair in zip(draw[:rows], draw[rows:], strict=True)]


@pytest.mark.parametrize("processor", PROCESSORS[2:])
def test_every_row_keeps_its_likeliest_token_and_its_input(processor):
    logits, histories = random_rows(50, 30)
    kept = logits.copy()
    bent = processor(logits, histories)
    np.testing.assert_array_equal(logits, kept)
    best = np.take_along_axis(bent, logits.argmax(-1)[:, None], -1)
    assert np.isfinite(best).all()
    assert (bent.max(-1, keepdims=True) == best).all()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_rows_are_bent_alone(processor):
    logits, histories = random_rows(5, 20, seed=1)
    kept = logits.copy()
    together = processor(logits, histories)
    np.testing.assert_array_equal(logits, kept)
    for row, alone, history in zip(together, logits, histories, strict=True):
        np.testing.assert_array_equal(processor(alone[None], [history])[0], row)


def test_at_neutral_values_the_same_array_comes_back():
    for neutral in [ban([]), repetition(1.0, 64), temperature(1.0), top_k(4), top_p(1.0), min_p(0)]:
        assert neutral(LOGITS, blank(LOGITS)) is LOGITS


def test_neutral_values_are_no_processor_at_all():
    assert pipeline(SamplingConfig()) == []
    assert pipeline(SamplingConfig(temperature=0)) == []


def through(processors, logits, histories):
    for processor in processors:
        logits = processor(logits, histories)
    return logits


def test_the_order_is_match_ban_repetition_temperature_top_k_top_p_min_p():
    config = SamplingConfig(
        repetition_penalty=1.5, repetition_window=2, temperature=0.5, top_k=4, top_p=0.8, min_p=0.2
    )
    match = ban([0])
    found = pipeline(config, match=match, banned=[2])
    assert found[0] is match
    by_hand = [
        match, ban([2]), repetition(1.5, 2), temperature(0.5), top_k(4), top_p(0.8), min_p(0.2),
    ]  # fmt: skip
    logits, histories = random_rows(200, 12, seed=3)
    bent = through(found, logits / 10, histories)
    np.testing.assert_array_equal(bent, through(by_hand, logits / 10, histories))
    # With two neighbours the other way round something else comes out.
    for i in range(2, len(by_hand) - 1):
        other = [*by_hand[:i], by_hand[i + 1], by_hand[i], *by_hand[i + 2 :]]
        if by_hand[i : i + 2] != by_hand[3:5]:  # temperature keeps what the top k are
            assert not np.array_equal(bent, through(other, logits / 10, histories)), i


def test_every_row_keeps_a_token_through_the_whole_pipeline():
    config = SamplingConfig(
        repetition_penalty=100, temperature=1e-6, top_k=1, top_p=1e-9, min_p=1.0
    )
    logits, histories = random_rows(200, 12, seed=4)
    bent = through(pipeline(config, banned=[0, 5, 7]), logits, histories)
    assert np.isfinite(bent).any(axis=-1).all()
    assert not np.isnan(bent).any()
    assert np.isneginf(bent[:, [0, 5, 7]]).all()


def test_logits_that_are_already_left_out_stay_out():
    logits = np.array([[0.0, -np.inf, 1.0, -np.inf]])
    for processor in PROCESSORS:
        bent = processor(logits, [History([0], [1, 2, 3])])
        assert np.isneginf(bent[0, [1, 3]]).all()


def tokenizer(level, texts, boundary=True):
    if level == "char":
        stored = forms.char_form(set("".join(texts)), boundary=boundary, unknown=True,
                                 normalize="none")  # fmt: skip
    elif level == "byte":
        stored = forms.byte_form(boundary=boundary)
    elif level == "word":
        stored = forms.word_form(texts, boundary=boundary, normalize="none")
    else:
        stored = forms.pair_form(
            [*texts] * 3, size=300, min_count=1, boundary=boundary, normalize="none"
        )
    return Tokenizer.from_json(stored)


WORDS = ["the", " the", "king", " king", ".", "\n", " "]


def left(made, ban=(), allow=()):
    """What can still be drawn, as text; the boundary is the empty text."""
    banned = banned_ids(made, ban, allow)
    assert banned == sorted(set(banned))
    assert made.boundary not in banned
    assert made.unknown is None or made.unknown in banned
    return {made.pieces[id] for id in range(made.vocabulary) if id not in banned}


def test_characters_are_banned_and_allowed_one_by_one():
    made = tokenizer("char", ["abcdeE é"])
    assert left(made) == {b"", *(c.encode() for c in "abcdeE é")}
    assert left(made, ban=["eE"]) == {b"", *(c.encode() for c in "abcd é")}
    assert left(made, ban=["e", "E", "X"]) == left(made, ban=["eEX"])
    assert left(made, allow=["aé", " "]) == {b"", b"a", "é".encode(), b" "}
    assert left(made, allow=["abc"], ban=["b"]) == {b"", b"a", b"c"}


def test_words_are_banned_and_allowed_with_and_without_their_space():
    made = tokenizer("word", WORDS)
    assert left(made, ban=["the"]) == left(made, ban=[" the"]) == {
        b"", b"king", b" king", b".", b"\n", b" ",
    }  # fmt: skip
    assert left(made, ban=["queen"]) == left(made)
    assert left(made, allow=["king the"]) == {b"", b"the", b" the", b"king", b" king"}
    assert left(made, allow=["the "]) == {b"", b"the", b" the", b" "}


def test_a_byte_that_is_a_character_is_banned_and_allowed_as_one():
    made = tokenizer("byte", [])
    assert left(made, ban=["eE"]) == {b"", *(bytes([b]) for b in range(256) if b not in b"eE")}
    assert left(made, allow=["aé"]) == {b"", b"a", *(bytes([b]) for b in "é".encode())}
    assert left(made, ban=["\udcff"]) == {b"", *(bytes([b]) for b in range(255))}


@pytest.mark.parametrize("level", ["byte", "bpe"])
def test_no_sequence_of_tokens_writes_a_banned_character(level):
    made = tokenizer(level, ["the théorie of the thé, 中文中文 théorie"])
    able = [piece for piece in left(made, ban=["hé文"]) if piece]
    assert all(symbol not in piece for symbol in (b"h", "é".encode()) for piece in able)
    for symbol in "é文":
        whole = symbol.encode()
        for cut in range(1, len(whole)):
            assert not any(piece.endswith(whole[:cut]) for piece in able)
    assert b"t" in able


def test_byte_pairs_are_allowed_that_are_made_of_the_characters():
    made = tokenizer("bpe", ["the théorie of the thé, théorie"])
    able = left(made, allow=["the", "é"])
    assert {b"", b"t", b"h", b"e", b"th", b"the", b"\xc3", b"\xa9"} <= able
    assert all(set(piece) <= set("thé".encode() + b"e") for piece in able)
    assert left(made, allow=["the"]) == {piece for piece in able if set(piece) <= set(b"the")}


@pytest.mark.parametrize("level", ["char", "word", "byte", "bpe"])
@pytest.mark.parametrize("boundary", [True, False])
def test_something_must_be_left(level, boundary):
    texts = WORDS if level == "word" else ["ab"]
    made = tokenizer(level, texts, boundary)
    with pytest.raises(ConfigError, match="nothing to draw"):
        banned_ids(made, [], [""])
    with pytest.raises(ConfigError, match="nothing to draw"):
        banned_ids(made, ["the"] if level == "word" else ["a"], ["the" if level == "word" else "a"])


@pytest.mark.parametrize(("level", "absent"), [("char", "x"), ("word", "queen")])
def test_what_is_not_in_the_vocabulary_cannot_be_allowed(level, absent):
    made = tokenizer(level, ["a", "b"])
    banned_ids(made, [absent], [])
    with pytest.raises(ConfigError, match=f"allow names .*{absent}.* which is not"):
        banned_ids(made, [], ["a", absent])


def test_a_text_that_is_not_unicode_is_refused():
    for level in ("char", "word", "bpe"):
        with pytest.raises(ConfigError, match="not UTF-8"):
            banned_ids(tokenizer(level, ["a"]), ["\udce9"], [])
