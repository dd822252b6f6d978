"""One text has one cost: `score`, `eval`, `compare`, the library, a server and `next` agree."""

import json
import math

import pytest
from support.measured import make

from charlm.library.model import Model
from charlm.measuring import evaluation
from charlm.measuring.lines import line_nats
from charlm.measuring.scorer import Scorer
from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.request import asked


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
