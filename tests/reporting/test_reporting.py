"""What a report tells: its numbers are those of the commands, and no text in it becomes markup."""

import base64
import copy
import json
import math
import re
import shlex
from contextlib import contextmanager
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from charlm import Model, model_file
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.inspection.units import Units
from charlm.network import build
from charlm.reporting import passage, units
from charlm.reporting.commands import again
from charlm.reporting.facts import PIECE_BYTES, SYMBOL_BYTES, gather, short
from charlm.reporting.page import block, page
from charlm.reporting.source import open_run
from charlm.training.initialise import initial_weights

LIMIT_BYTES = 2_000_000


@pytest.fixture(scope="module")
def facts(model):
    return gather(open_run(model, None))


def text_of(facts):
    return "".join(text for text, _, _ in facts["passage"]["pieces"])


def nats_of(facts):
    return sum(nats for _, nats, _ in facts["passage"]["pieces"])


def scored_bits(charlm, model, *args, text):
    done = charlm("score", model, "--json", *args, stdin=text.encode("utf-8", "surrogateescape"))
    assert done.returncode == 0, done.stderr.decode()
    return sum(json.loads(line)["bits"] for line in done.stdout.decode().splitlines())


def test_the_passages_nats_are_those_of_score(charlm, model, facts):
    text = text_of(facts)
    assert len(text) > 300
    assert text.endswith(".\n")
    bits = scored_bits(charlm, model, "-0", text=text.removesuffix("\n"))
    assert nats_of(facts) == pytest.approx(bits * math.log(2), rel=1e-5)
    assert facts["passage"]["nats"] == pytest.approx(nats_of(facts), rel=1e-5)


def test_the_passage_stands_in_the_validation_text(model, facts):
    source = open_run(model, None)
    whole = source.corpus.tokenizer.decode(source.corpus.ids("val"))
    assert facts["passage"]["split"] == "val"
    assert text_of(facts).removesuffix("\n") in whole


def test_records_are_scored_each_by_itself(charlm, names_model):
    facts = gather(open_run(names_model, None))
    text = text_of(facts)
    assert set(text.split()) <= {
        "anna", "annika", "bertha", "carl", "dora", "emil", "frida", "gustav",
    }  # fmt: skip
    bits = scored_bits(charlm, names_model, text=text)
    assert nats_of(facts) == pytest.approx(bits * math.log(2), rel=1e-5)
    assert facts["memory"] is None
    assert "records" in facts["missing"]["memory"]
    assert "records" in facts["missing"]["gradient"]


def test_a_bidirectional_model_scores_from_both_sides(charlm, both_sides_model):
    facts = gather(open_run(both_sides_model, None))
    text = text_of(facts).removesuffix("\n")
    bits = scored_bits(charlm, both_sides_model, "-0", text=text)
    assert nats_of(facts) == pytest.approx(bits * math.log(2), rel=1e-5)
    assert facts["units"] is facts["memory"] is facts["gradient"] is None
    assert facts["samples"] == []
    assert set(facts["missing"]) == {"units", "memory", "gradient"}


def test_what_was_likely_is_what_next_says(model, facts):
    """At a place in the middle, the symbols and probabilities of `Model.next`."""
    text, symbols = text_of(facts), facts["passage"]["symbols"]
    loaded = Model.load(model)
    for place in (0, 1, 100, len(text) - 1):
        expected = loaded.next(text[:place])
        _, nats, likeliest = facts["passage"]["pieces"][place]
        assert [symbols[i] for i, _ in likeliest] == [one.symbol for one in expected[:5]]
        shares = [one.probability for one in expected[:5]]
        assert [share for _, share in likeliest] == pytest.approx(shares, abs=1e-4)
        id = loaded.contents.tokenizer.encode(text[place])[0]
        (it,) = (one for one in expected if one.id == id)
        assert nats == pytest.approx(it.nats, rel=1e-3, abs=1e-5)


def test_units_are_as_the_state_has_them(model, facts):
    """Within half a step of the 255 that a byte has."""
    told, text = facts["units"], text_of(facts)
    levels = np.frombuffer(base64.b64decode(told["levels"]), np.uint8)
    levels = levels.reshape(len(told["names"]), len(text)).astype(float)
    low, high = np.array(told["low"])[:, None], np.array(told["high"])[:, None]
    values = low + levels / 255 * (high - low)
    loaded = Model.load(model)
    named = Units(loaded.contents.network)
    numbers = [named.number(name) for name in told["names"]]
    assert numbers == sorted(set(numbers)) == list(range(32))
    for place in (0, 50, len(text) - 1):
        state = loaded.state(text[: place + 1]).state
        steps = np.abs(values[:, place] - named.values(state)[numbers]) / (high - low)[:, 0]
        assert steps.max() < 0.51 / 255 + 1e-4
    for track, unit, correlation in told["tracking"]:
        assert track
        assert 0 <= unit < len(numbers)
        assert -1 <= correlation <= 1


def test_one_byte_is_enough_for_a_value():
    values = np.random.default_rng(0).normal(size=(50, 7)) * 10.0 ** np.arange(7)
    values[:, 3] = 5.0
    levels, low, high = units.packed(values)
    back = np.frombuffer(levels, np.uint8).reshape(7, 50).T / 255 * np.subtract(high, low) + low
    assert np.all(np.abs(back - values) <= np.subtract(high, low) / 510 * (1 + 1e-9))


def test_of_many_units_some_are_shown(corpus):
    """Those that track something among them, and never more than fit."""
    tokenizer = open_corpus(corpus).tokenizer
    network = build(NetworkConfig(width=400, cell="gru"), tokenizer.vocabulary)
    weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
    model = model_file.Model(network, weights, tokenizer)
    numbers, tracking = units.choose(model, open_corpus(corpus).ids("val")[:400])
    assert len(numbers) <= units.MOST
    assert len(numbers) > units.MOST - 20
    assert {each.unit for each in tracking} <= set(numbers)
    assert numbers[0] == 0
    assert numbers[-1] == 399


def open_corpus(path):
    from charlm.corpus import Corpus

    return Corpus(path)


def test_curves_are_those_of_the_log(charlm, model, facts):
    points = charlm("plot", model, "--json", "--x", "steps").stdout.decode().splitlines()
    told = {curve["split"]: curve for curve in facts["curves"]}
    for split, curve in told.items():
        mine = [one for one in map(json.loads, points) if one["split"] == split]
        assert curve["steps"] == [one["steps"] for one in mine]
        assert curve["bits"] == pytest.approx([one["bits"] for one in mine], rel=1e-5)
    assert {"lr", "gradient"} <= told["train"].keys()


def test_samples_are_those_of_the_log(model, facts):
    log = [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]
    kept = [entry for entry in log if entry.get("sample")]
    assert len(kept) > 2
    assert [one["steps"] for one in facts["samples"]] == [entry["steps"] for entry in kept]
    assert all(len(one["text"]) == 160 for one in facts["samples"])
    assert not facts["drawn_now"]


def test_memory_and_gradient_are_those_of_inspect(charlm, model, facts):
    source = open_run(model, None)
    text = source.corpus.tokenizer.decode(source.corpus.ids("val"))
    for way, names in (
        ("memory", {"seen": "symbols_seen", "bits": "bits_per_symbol"}),
        ("gradient", {"back": "symbols_back", "trained": "norm", "untrained": "untrained_norm"}),
    ):
        done = charlm("inspect", model, f"--{way}", "--back", 100, "--json", stdin=text)
        rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        for mine, theirs in names.items():
            assert facts[way][mine] == pytest.approx([row[theirs] for row in rows], rel=1e-4)


def test_the_command_makes_the_same_model_again(charlm, model, facts, tmp_path):
    words = shlex.split(facts["command"])
    assert words[:2] == ["charlm", "train"]
    words[words.index("-o") + 1] = str(tmp_path / "again")
    done = charlm(*words[1:])
    assert done.returncode == 0, done.stderr.decode()
    assert Model.load(tmp_path / "again").contents.hash == Model.load(model).contents.hash
    assert not facts["by_clock"]


def test_every_knob_that_was_turned_is_in_the_command(model):
    """Floats with all their digits, switches both ways, and what is off."""
    source = open_run(model, None)
    turned = {"steps": 7, "lr": 0.1 + 0.2, "clip": None, "compile": True, "dropout": 0.0}
    found = again(replace(source, model=replace(source.model, training=turned)))
    options = found.split("-o run-again ")[1]
    assert options.endswith("--steps 7 --lr 0.30000000000000004 --clip 0 --dropout 0 --compile")


def test_the_same_run_has_the_same_page(model, facts):
    torch.manual_seed(5)
    assert page(gather(open_run(model, None))) == page(facts)


EVIL = (
    "</script><script>alert(1)</script>", "<!--<script>", "]]>", "&lt;&amp;", "{{script}}",
    "\0\x1b[2J", "\u2028\u2029", "\udce9", "\"'`\\", "<img src=x onerror=alert(1)>",
)  # fmt: skip


class Elements(HTMLParser):
    """What elements a page has, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_comment(self, data):
        self.tags.append("comment")

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1] += data


def poisoned(facts, text):
    """The facts with `text` in place of every text in them."""
    if isinstance(facts, dict):
        return {key: poisoned(value, text) for key, value in facts.items()}
    if isinstance(facts, list):
        return [poisoned(value, text) for value in facts]
    return text if isinstance(facts, str) else facts


@pytest.mark.parametrize("text", EVIL, ids=ascii)
def test_text_never_becomes_markup(facts, text):
    clean, evil = page(facts), page(poisoned(facts, text))
    assert clean.isascii()
    assert evil.isascii()
    assert Elements(evil).tags == Elements(clean).tags
    told = json.loads(Elements(evil).scripts[0])
    assert told["name"] == told["passage"]["pieces"][0][0] == text
    assert Elements(evil).scripts[1] == Elements(clean).scripts[1]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", evil)


def test_the_block_is_json_of_the_same_facts():
    facts = {"text": "".join(EVIL), "of": ["<", ">", "&", None, 1.5]}
    assert json.loads(block(facts)) == facts
    assert not set("<>&") & set(block(facts))


def test_the_page_allows_itself_nothing_else(facts):
    text = page(facts)
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert set(re.findall(r"\w+://\S*", text)) == {'http://www.w3.org/2000/svg",'}  # a name


def test_bytes_and_words_are_whole(charlm, tmp_path):
    """Characters of several bytes come whole, and the bytes are scored as they are."""
    text = "Größe ist schön – ☃ naïve\n" * 60
    (tmp_path / "text").write_text(text, encoding="utf-8")
    for level in ("byte", "word"):
        corpus = prepare([tmp_path / "text"], tmp_path / level, PrepConfig(level=level))
        network = build(NetworkConfig(width=8, cell="gru"), corpus.tokenizer.vocabulary)
        weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
        made = model_file.Model(network, weights, corpus.tokenizer, corpus_hash=corpus.hash)
        model_file.save(made, tmp_path / f"{level}.safetensors")
        ids = passage.choose(made, corpus.ids("train"))
        found = passage.read(made, ids, [0, 3])
        assert found.units.shape == (len(found.pieces), 2)
        whole = "".join(piece.text for piece in found.pieces)
        assert whole.startswith("Größe ist schön – ☃ naïve\n")
        bits = scored_bits(
            charlm, tmp_path / f"{level}.safetensors", "-0", text=whole.removesuffix("\n")
        )
        assert found.nats == pytest.approx(bits * math.log(2), rel=1e-5)
        assert ("ö" in [piece.text for piece in found.pieces]) == (level == "byte")


def test_the_longest_page_is_short(facts):
    """As wide, as long, of as many seeds as may be shown; and names as long as they may be."""
    points = [123456.0] * 400
    curve = dict.fromkeys(("time", "chars", "steps", "bits", "loss", "lr", "gradient"), points)
    likely = [[i, 0.12345] for i in range(5)]
    pieces = [[short("\U0001f600" * 1000, PIECE_BYTES), 12.345678, likely]] * 1001
    symbol = short("\u2603" * 1000, SYMBOL_BYTES)
    long = facts | {
        "curves": [{"name": "n" * 200, "run": i, "split": "train", **curve} for i in range(16)],
        "samples": [{"text": "\u2603" * 400, "steps": 1, "bits": 1.0}] * 12,
        "passage": facts["passage"] | {"pieces": pieces, "symbols": [symbol] * 5005},
        "units": facts["units"] | {"levels": "A" * (256 * 1001 * 4 // 3)},
    }
    assert len(page(long)) < LIMIT_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["\U0001f600", "<", "w"], ids=ascii)
def test_long_symbols_are_cut_short(model, symbol):
    """Each letter of the passage as a word of 5,000."""
    source = open_run(model, None)
    tokenizer = copy.copy(source.model.tokenizer)
    tokenizer.pieces = [
        piece if piece in (b"", b"\n") else piece + 5000 * symbol.encode()
        for piece in tokenizer.pieces
    ]
    facts = gather(replace(source, model=replace(source.model, tokenizer=tokenizer)))
    told = [text for text, _, _ in facts["passage"]["pieces"]] + facts["passage"]["symbols"]
    assert all(text.endswith("…") for text in told if len(text) > 10)  # else a newline
    assert sum(text.endswith("…") for text in told) > 300
    assert len(page(facts)) < LIMIT_BYTES


@pytest.mark.parametrize("text", ["", "w", "w" * 78, "w" * 79, "☃" * 13, "☃" * 14, "<b>" * 30])
def test_a_text_is_cut_short_where_it_must_be(text):
    found = short(text, 80)
    assert len(block(found)) <= 80
    assert (found == text) == (len(block(text)) <= 80)
    if found != text:
        assert text.startswith(found.removesuffix("…"))
        one_more = text[: len(found)] + "…"
        assert len(block(one_more)) > 80


def test_a_knob_that_can_be_turned_off_is_off_at_0():
    hints = get_type_hints(TrainingConfig)
    for f in fields(TrainingConfig):
        if f.default is not None and type(None) in get_args(hints[f.name]):
            assert f.metadata["limits"]["low"] == 0
            assert "0 is off" in f.metadata["help"]


def test_what_a_strange_model_says_of_itself_is_no_matter(model):
    """Settings and histories are what a file says; they are shown, or passed over."""
    source = open_run(model, None)
    training = {"seed": "x", "budget": [1], "<b>": {"deep": []}, "big": "y" * 10**6}
    history = {"steps": True, "val_bits_per_char": None, "init": {"path": 7}}
    strange = replace(
        source,
        model=replace(source.model, training=training, history=history),
        entries=[{}, {"sample": "x", "steps": "many", "val_bits_per_char": 1.0}],
    )
    facts = gather(strange)
    assert len(page(facts)) < LIMIT_BYTES
    assert facts["drawn_now"]
    assert "--init 7" in facts["command"]


def test_every_reading_is_watched_to_its_end(model):
    found = []

    @contextmanager
    def watch(tokens):
        done = []
        yield done.append
        found.append((sum(done), tokens))

    gather(open_run(model, None), watch=watch)
    assert len(found) == 4  # what units track, the passage, memory and gradient
    assert all(done == tokens > 0 for done, tokens in found)
