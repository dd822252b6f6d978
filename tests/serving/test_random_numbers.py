"""Each text of a request has random numbers of its own."""

import json

import pytest

from charlm import model_file
from charlm.library.model import Model
from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.request import asked

LENGTH = 40


def drawn(desk, **values):
    """The texts of a request, by their index."""
    order = desk.order(asked(json.dumps({"model": "m", **values}).encode(), Limits()))
    desk.take(order)
    found = {}
    while desk.waiting or desk.running or desk.fresh:
        desk.turn()
        for text in list(desk.fresh):
            del desk.fresh[text]
            piece = text.new()
            found[piece.index] = found.get(piece.index, "") + piece.text
    return [found[index] for index in sorted(found)]


@pytest.mark.parametrize("seed", [None, 0, 7, -1])
@pytest.mark.parametrize("n", [1, 3])
def test_equal_prompts_get_different_texts(model, seed, n):
    prompts = ["the king", "the king", "the king"]
    texts = drawn(Desk("m", model, Limits()), prompt=prompts, n=n, seed=seed, max_tokens=LENGTH)
    assert len(set(texts)) == len(texts) == 3 * n


def test_text_k_is_sample_k_of_its_prompt(model):
    desk, loaded = Desk("m", model, Limits()), Model(model_file.load(model))
    prompts = ["the king", "what", "the king"]
    texts = drawn(desk, prompt=prompts, n=2, seed=5, max_tokens=LENGTH)
    for k, text in enumerate(texts):
        assert text == loaded.samples(prompts[k // 2], k + 1, seed=5, length=LENGTH)[k]


def test_the_likeliest_texts_of_equal_prompts_are_equal(model):
    desk = Desk("m", model, Limits())
    texts = drawn(desk, prompt=["the king", "the king"], temperature=0, max_tokens=LENGTH)
    assert texts[0] == texts[1]
