"""What a server is made of, without a network: requests, prefixes, and a desk that draws."""

import asyncio
import contextlib
import itertools
import json
import random
import threading

import numpy as np
import pytest
from support.engines import Rough

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig
from charlm.corpus import prepare
from charlm.network import build
from charlm.sampling import steady
from charlm.sampling.engine import engine_of
from charlm.sampling.generate import Place
from charlm.serving import desk as desk_module
from charlm.serving.answers import Answer
from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.metrics import Metrics
from charlm.serving.prefixes import Prefixes
from charlm.serving.request import Asked, RequestError, asked
from charlm.serving.texts import Chance, Token, Told
from charlm.serving.worker import Worker
from charlm.training.initialise import initial_weights


def ask(limits=None, **values):
    return asked(json.dumps({"model": "m", **values}).encode(), limits or Limits())


def told(desk):
    """All that a desk tells until nothing is left to do: an order, and a piece of its texts."""
    while desk.waiting or desk.running or desk.fresh:
        desk.turn()
        for text in list(desk.fresh):
            del desk.fresh[text]
            yield text.order, text.new()


def texts(desk, *orders):
    """What the orders' texts come to, by the order's place and their own."""
    for order in orders:
        desk.take(order)
    found, ended = {}, []
    for order, piece in told(desk):
        key = orders.index(order), piece.index
        found[key] = found.get(key, "") + piece.text
        ended += [key] if piece.finish else []
    assert sorted(ended) == sorted(found)
    return found


@pytest.fixture
def desk(model):
    return Desk("m", model, Limits())


def test_a_request_with_nothing_said_has_openais_defaults():
    assert ask() == Asked("m", [""])
    nulls = dict.fromkeys(("n", "prompt", "seed", "stop", "logprobs", "suffix", "user"))
    assert ask(**nulls) == Asked("m", [""])
    found = ask(prompt=["a", [1, 2]], stop="x", temperature=0, top_k=3, best_of=1, user="me")
    assert (found.prompts, found.stop) == (["a", [1, 2]], ("x",))
    assert (found.config.temperature, found.config.top_k) == (0, 3)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"n": 0}, "n"), ({"prompt": ["a"] * 9, "n": 128}, "n"), ({"extra": None}, "extra"),
        ({"suffix": "z"}, "suffix"), ({"best_of": 2}, "best_of"),
        ({"max_tokens": 4097}, "max_tokens"),
        ({"top_p": 0}, "top_p"), ({"stop": ["a", ""]}, "stop"), ({"model": None}, "model"),
        ({"stream_options": {}}, "stream_options"), ({"logit_bias": {"1": 1}}, "logit_bias"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(values, param):
    with pytest.raises(RequestError) as caught:
        ask(**values)
    assert (caught.value.status, caught.value.body["error"]["param"]) == (400, param)


def place(size=100):
    return Place(np.zeros((1, 5), np.float32), ((np.zeros((1, size), np.float32),),))


def test_the_longest_beginning_that_was_kept_is_found():
    prefixes, places = Prefixes(), [place() for _ in range(3)]
    for ids, one in zip(([1], [1, 2, 3], [2, 2, 2, 2]), places, strict=True):
        prefixes.keep(ids, one)
    assert prefixes.longest([1, 2, 3, 4]) == (3, places[1])
    assert prefixes.longest([1, 2]) == (1, places[0])
    assert prefixes.longest([2, 2, 2]) == (0, None)
    # 258 has the byte 1 second.
    assert prefixes.longest([258, 1]) == (0, None)
    assert (prefixes.hits, prefixes.misses) == (2, 2)


def test_prefixes_take_so_much_memory_and_no_more():
    prefixes = Prefixes(size_bytes=100_000)
    for k in range(100):
        prefixes.keep([k], place())
        assert prefixes.longest([0, 1])[0] == 1  # asked for, and so kept
    assert 10 < len(prefixes) < 100_000 // 1400
    assert prefixes.longest([99])[0] == 1
    assert prefixes.longest([1])[0] == 0
    prefixes.keep([5], place(size=100_000))
    assert prefixes.longest([5])[0] == 0


def test_any_prompts_find_their_longest_beginning():
    rng, prefixes, kept = random.Random(0), Prefixes(), {}
    for _ in range(300):
        ids = tuple(rng.randrange(2) for _ in range(rng.randrange(1, 9)))
        if rng.random() < 0.3:
            kept[ids] = place(size=1)
            prefixes.keep(ids, kept[ids])
        beginnings = [ids[:n] for n in range(len(ids), 0, -1) if ids[:n] in kept]
        wanted = (len(beginnings[0]), kept[beginnings[0]]) if beginnings else (0, None)
        assert prefixes.longest(ids) == wanted


def test_what_is_only_measured_is_not_kept(desk):
    texts(desk, desk.order(ask(prompt="the king", echo=True, logprobs=0, max_tokens=0)))
    assert len(desk.prefixes) == 0
    texts(desk, desk.order(ask(prompt="the king", echo=True, logprobs=0, max_tokens=1)))
    assert len(desk.prefixes) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, 10), ({"n": 3}, 30), ({"prompt": ["the king"] * 2, "n": 3}, 60),
        ({"logprobs": 0}, 10), ({"logprobs": 4}, 50), ({"echo": True}, 18),
        ({"echo": True, "max_tokens": 0, "logprobs": 2, "n": 2}, 48),
    ],
)  # fmt: skip
def test_an_answer_may_be_so_long_and_no_longer(model, values, told):
    wanted = ask(**{"prompt": "the king", "max_tokens": 10, **values})
    Desk("m", model, Limits(max_answer=told)).order(wanted)
    with pytest.raises(RequestError, match=f"{told} tokens.*; {told - 1} are the most") as caught:
        Desk("m", model, Limits(max_answer=told - 1)).order(wanted)
    assert caught.value.status == 400


def test_one_small_request_makes_no_huge_answer(desk):
    with pytest.raises(RequestError, match="fewer texts"):
        desk.order(ask(prompt="t" * 16_384, n=128, echo=True, logprobs=20, max_tokens=0))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 9])
def test_the_parts_of_a_piece_add_up_to_it(count):
    text = "zwölf!" * 3
    tokens = [Token("t", at, Chance(-1.0, {})) for at in [0, 1, 1, 2, 5, 5, 5, 9, 17][:count]]
    parts = list(Told(3, text, tokens, "stop").parts(4))
    assert len(parts) == max(1, -(-count // 4))
    assert "".join(part.text for part in parts) == text
    assert [token for part in parts for token in part.tokens] == tokens
    assert [part.finish for part in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert {part.index for part in parts} == {3}
    begin = 0
    for part in parts:
        assert all(token.offset >= begin for token in part.tokens)
        begin += len(part.text)


def test_a_whole_answer_is_its_pieces_put_together(desk):
    order = desk.order(ask(prompt=["the", "a"], n=2, max_tokens=9, logprobs=1, echo=True))
    desk.take(order)
    pieces = [piece for _, piece in told(desk)]
    answer = Answer(order, desk)
    whole = json.loads(answer.whole(pieces))
    choices = [answer.piece(piece)["choices"][0] for piece in pieces]
    assert whole["choices"] == sorted(choices, key=lambda choice: choice["index"])
    assert whole["usage"] == {"prompt_tokens": 4, "completion_tokens": 36, "total_tokens": 40}
    assert whole.keys() - {"choices", "usage"} == answer.end().keys() - {"choices", "usage"}


def test_a_stream_of_any_prompts_is_as_each_alone(desk, model):
    wanted = [
        {"prompt": prompt, "n": n, "seed": 3, "max_tokens": length, "stream": True, **knobs}
        for prompt in ("the king", "the ", ["what", "the king shall"])
        for n, length in ((1, 30), (3, 7))
        for knobs in ({}, {"temperature": 0.5}, {"stop": ["k"]}, {"echo": True, "logprobs": 2})
    ]
    together = texts(desk, *(desk.order(ask(**one)) for one in wanted))
    assert desk.prefixes.hits == 0
    assert texts(desk, *(desk.order(ask(**one)) for one in wanted)) == together
    assert desk.prefixes.hits > 0
    assert together.keys() == {
        (i, index)
        for i, one in enumerate(wanted)
        for index in range(one["n"] * (2 if isinstance(one["prompt"], list) else 1))
    }
    for i, one in enumerate(wanted):
        fresh = Desk("m", model, Limits())
        alone = texts(fresh, fresh.order(ask(**one)))
        assert {index: together[i, index] for _, index in alone} == {
            index: text for (_, index), text in alone.items()
        }


def test_rows_that_are_read_again_are_as_alone_and_keep_nobody_waiting(model, monkeypatch):
    """Where rounding might decide many draws, a long row goes back a long way time and again."""
    monkeypatch.setattr(steady, "ROUNDING", 2e-3)
    steps = []

    class Noisy(Rough):
        threads = 1

        def __init__(self, *args):
            super().__init__(engine_of(*args), steady.ROUNDING / 2)

        def step(self, ids, state):
            steps.append(len(ids))
            return super().step(ids, state)

    monkeypatch.setattr(desk_module, "engine_of", Noisy)
    wanted = [
        {"prompt": "the king shall have " * n, "seed": n, "max_tokens": 60, "n": 3, "logprobs": 0}
        for n in range(1, 9)
    ]
    desk = Desk("m", model, Limits())
    together = texts(desk, *(desk.order(ask(**one)) for one in wanted))
    runs = [len(list(run)) for alone, run in itertools.groupby(n == 1 for n in steps) if alone]
    assert sum(runs) > 200
    for i, one in enumerate(wanted):
        fresh = Desk("m", model, Limits(rows=1))
        alone = texts(fresh, fresh.order(ask(**one)))
        assert [together[i, j] for j in range(3)] == [alone[0, j] for j in range(3)]


@pytest.mark.parametrize(
    ("knobs", "is_steady"), [({}, False), ({"seed": 7}, True), ({"temperature": 0}, True)]
)
def test_who_gives_no_seed_may_be_told_of_none(desk, knobs, is_steady):
    order = desk.order(ask(prompt="the", max_tokens=5, **knobs))
    assert order.drawing.steady == is_steady
    desk.take(order)
    whole = json.loads(Answer(order, desk).whole([piece for _, piece in told(desk)]))
    assert whole["seed"] == knobs.get("seed")


def test_no_more_are_drawn_side_by_side_than_may_be(model):
    desk = Desk("m", model, Limits(rows=3))
    order = desk.order(ask(prompt=["the", "a"], n=5, max_tokens=9))
    desk.take(order)
    most = 0
    while desk.waiting or desk.running:
        desk.turn()
        most = max(most, desk.running)
    assert most == 3
    assert len(desk.fresh) == 10


def test_a_dropped_order_leaves_nothing(desk):
    kept, gone = (desk.order(ask(prompt=p, n=2, max_tokens=50, seed=1)) for p in ("the", "a"))
    alone = texts(desk, desk.order(ask(prompt="the", n=2, max_tokens=50, seed=1)))
    desk.take(kept)
    desk.take(gone)
    for _ in range(20):
        desk.turn()
    assert desk.running == 4
    desk.drop(gone)
    assert desk.running == 2
    left = list(told(desk))
    assert {order for order, _ in left} == {kept}
    assert {piece.index: piece.text for _, piece in left} == {i: alone[0, i] for i in (0, 1)}


def test_a_step_that_breaks_down_is_told_to_all(desk):
    def broken():
        raise ValueError("a bug")

    async def orders():
        worker = Worker([desk], Limits(), Metrics(), asyncio.get_running_loop())
        waiting = [desk.order(ask(prompt="the")) for _ in range(3)]
        for order in waiting:
            worker.submit(order)
        assert worker.pending == 3
        desk.turn = broken
        worker.start()
        told = [await order.told.get() for order in waiting]
        with pytest.raises(RequestError) as caught:
            worker.submit(desk.order(ask()))
        assert (caught.value.status, worker.pending) == (503, 0)
        worker.join()
        return [str(error) for error in (*told, worker.fault)]

    assert asyncio.run(orders()) == ["a bug"] * 4


def test_a_step_that_ends_after_the_loop_does_no_harm(desk):
    begun, go, turn = threading.Event(), threading.Event(), desk.turn

    def slow():
        begun.set()
        go.wait()
        while not desk.fresh:
            turn()

    async def order():
        worker = Worker([desk], Limits(), Metrics(), asyncio.get_running_loop())
        worker.submit(desk.order(ask(prompt="the", max_tokens=1)))
        desk.turn = slow
        worker.start()
        begun.wait()
        worker.stop()
        return worker

    worker = asyncio.run(order())
    go.set()
    worker.join()
    assert worker.fault is None


def test_a_prompt_may_be_so_long_and_no_longer(model):
    desk = Desk("m", model, Limits(max_prompt=10))
    assert desk.order(ask(prompt="t" * 10)).prompt_tokens == 10
    with pytest.raises(RequestError, match="11 tokens; 10 are the most"):
        desk.order(ask(prompt="t" * 11))


def test_symbols_that_are_not_known_are_refused_or_replaced(model):
    with pytest.raises(RequestError, match=r"U\+2603"):
        Desk("m", model, Limits()).order(ask(prompt="the \N{SNOWMAN}"))
    desk = Desk("m", model, Limits(unknown="skip"))
    (beginning,) = desk.order(ask(prompt="the \N{SNOWMAN}king")).beginnings
    assert beginning.text == "the king"
    assert beginning.offsets == list(range(8))


@pytest.mark.parametrize("level", ["char", "word", "bpe"])
@pytest.mark.parametrize(
    ("normalize", "typed", "read"),
    [
        ("nfc", "zwo\u0308lf Boxka\u0308mpfer", "zwölf Boxkämpfer"),
        ("nfkc", "fünf ﬁese ﬃne", "fünf fiese ffine"),
        ("nfkc", " ﬁese", " fiese"),
        ("none", "zwölf Boxkämpfer", "zwölf Boxkämpfer"),
    ],
)
def test_offsets_are_those_of_the_text_that_was_read(tmp_path, level, normalize, typed, read):
    text = f"zwölf Boxkämpfer fünf fiese ffine\nund fiese{read}\n" * 20
    (tmp_path / "text").write_text(text, encoding="utf-8")
    config = PrepConfig(
        level=level, normalize=normalize, vocab_size=300 if level == "bpe" else None
    )
    corpus = prepare([tmp_path / "text"], tmp_path / "data", config)
    network = build(NetworkConfig(width=8, cell="gru"), corpus.tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
    made = model_file.Model(network, weights, corpus.tokenizer, corpus_hash=corpus.hash)
    model_file.save(made, tmp_path / "model.safetensors")
    desk = Desk("m", tmp_path / "model.safetensors", Limits())
    (beginning,) = desk.order(ask(prompt=typed)).beginnings
    assert beginning.text == read
    pieces = [corpus.tokenizer.pieces[id] for id in beginning.ids[beginning.unasked :]]
    assert b"".join(pieces).decode().removeprefix(" ") == read.removeprefix(" ")
    for piece, at in zip(pieces, beginning.offsets, strict=True):
        with contextlib.suppress(UnicodeDecodeError):
            name = piece.decode()
            lead = at == 0 and name.startswith(" ") and not read.startswith(" ")
            assert read[at:].startswith(name[lead:])


@pytest.mark.parametrize("level", ["byte", "bpe", "word"])
def test_tokens_of_any_level_lie_in_the_text(charlm, tmp_path, level):
    """The offsets and names of tokens fit the text that comes, whatever its tokens are."""
    text = "zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich\n" * 40
    size = ["--vocab-size", 270] if level == "bpe" else []
    data, run = tmp_path / "data", tmp_path / "run"
    assert charlm("prep", "-", "-o", data, "--level", level, *size, stdin=text).returncode == 0
    small = ("--steps", 3, "--width", 16, "--batch", 2, "--context", 16, "--device", "cpu")
    assert charlm("train", data, "-o", run, *small).returncode == 0
    desk = Desk("m", run, Limits())
    prompt = "zwölf Boxkämpfer"
    order = desk.order(
        ask(prompt=prompt, max_tokens=60, seed=1, echo=True, logprobs=1, stream=True)
    )
    desk.take(order)
    pieces = [piece for _, piece in told(desk)]
    whole = "".join(piece.text for piece in pieces)
    tokens = [token for piece in pieces for token in piece.tokens]
    assert whole.startswith(prompt)
    assert len(tokens) == order.prompt_tokens + 60
    offsets = [token.offset for token in tokens]
    assert offsets == sorted(offsets)
    for token in tokens:
        # What was left of a character that never came whole comes with the next token.
        here = whole[token.offset :].lstrip("\ufffd")
        if not token.name.startswith("bytes:") and token.offset:
            assert here.startswith(token.name), (token, whole)
