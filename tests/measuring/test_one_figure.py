"""One text has one cost: `score`, `eval`, `compare`, the library, a server and `next` agree."""

import json
import math
import re

import pytest

from charlm import model_file
from charlm.config import NetworkConfig
from charlm.library.model import Model
from charlm.measuring import evaluation
from charlm.measuring.lines import line_nats
from charlm.measuring.scorer import Scorer
from charlm.network import build
from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.request import asked
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import byte_form, char_form, pair_form, word_form
from charlm.training.initialise import initial_weights

LETTERS = "abcdefghijklmnopqrstuvwxyz ,.\n"
SENTENCES = ["the king shall have his own", "what say you to that, my lord", "i know not."]


def form_of(level, boundary, normalize="none"):
    """A stored tokenizer of that level which knows SENTENCES; running words are spaced."""
    if level == "byte":
        return byte_form(boundary=boundary)
    if level == "bpe":
        return pair_form(
            SENTENCES * 5, size=280, min_count=1, boundary=boundary, normalize=normalize
        )
    if level == "char":
        return char_form(LETTERS, boundary=boundary, unknown=False, normalize=normalize)
    if boundary:
        words = {f" {word}" for line in SENTENCES for word in re.findall(r"\w+|\S", line)}
        words |= {"what", ",", "."}
        return word_form(sorted(words), boundary=True, normalize=normalize)
    words = {f" {word}" for line in SENTENCES for word in line.split()} | {" \n"}
    return word_form(sorted(words), boundary=False, normalize=normalize, words="spaces")


def make(path, level, records="none", normalize="none"):
    """The path of a model file that has learned nothing, and whose logits are far apart."""
    tokenizer = Tokenizer.from_json(form_of(level, records != "none", normalize))
    network = build(NetworkConfig(cell="gru", width=8), tokenizer.vocabulary)
    weights = {name: 2 * one.numpy() for name, one in initial_weights(network, 1).items()}
    model_file.save(model_file.Model(network, weights, tokenizer, records=records), path)
    return path


def echoed(path, prompt, tokens):
    """The nats that a server tells of a prompt which it echoes, and of so many tokens after it."""
    desk = Desk("m", path, Limits())
    body = {"model": "m", "prompt": prompt, "echo": True, "logprobs": 0, "max_tokens": tokens}
    order = desk.order(asked(json.dumps(body).encode(), Limits()))
    desk.take(order)
    found = []
    while desk.waiting or desk.running or desk.fresh:
        desk.turn()
        for text in list(desk.fresh):
            del desk.fresh[text]
            found += text.new().tokens
    count = order.prompt_tokens
    return -sum(token.chance.logprob for token in found[:count])


@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("level", ["char", "byte", "bpe", "word"])
def test_a_prompt_costs_what_it_does_in_score_whatever_is_drawn_after_it(level, records, tmp_path):
    """Written by hand: the nats of each id after a newline, which begins a text, and its logits."""
    path, text = make(tmp_path / "m.safetensors", level, records), " the king shall have his own"
    loaded = Model.load(path)
    tokenizer, nats, before = loaded.contents.tokenizer, 0.0, " " if level == "word" else ""
    for id in tokenizer.encode(text).tolist():
        place = loaded.state(before.removeprefix(" ") if level == "word" else before)
        logits = place.logits[0].astype(float)
        nats += math.log(sum(math.exp(one) for one in logits)) - logits[id]
        before += tokenizer.decode([id])
    for tokens in (0, 1, 3):
        assert echoed(path, text, tokens) == pytest.approx(nats, rel=1e-5)
    (scored,) = Scorer(loaded.contents).score([text])
    assert scored.nats[:-1].sum() == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("level", ["char", "byte", "bpe", "word"])
def test_a_line_costs_the_same_in_every_command(level, records, tmp_path):
    path, line = make(tmp_path / "m.safetensors", level, records), " what say you to that, my lord"
    end = " \n" if level == "word" and records == "none" else "\n"
    (tmp_path / "text").write_bytes((line + end).encode())
    loaded = evaluation.load(path)
    text = evaluation.of_file(loaded, tmp_path / "text", "error")
    expected = evaluation.evaluate(loaded, text).score
    (scored,) = Scorer(loaded).score([line])
    assert scored.score.nats == pytest.approx(expected.nats, rel=1e-5)
    assert scored.score.tokens == expected.tokens
    assert scored.score.unknown == expected.unknown == 0
    assert Model(loaded).score(line).nats == pytest.approx(expected.nats, rel=1e-5)
    assert echoed(path, line + "\n", 0) == pytest.approx(expected.nats, rel=1e-5)
    assert line_nats(loaded, line + end)[0].sum() == pytest.approx(expected.nats, rel=1e-5)
