"""The benchmarks compare honestly: each program predicts the same characters, each of them once."""

import json
import math
import subprocess
import sys

import numpy as np
import pyppmd
import pytest
import torch
from support.paths import ROOT
from torch import nn

from bench import __main__ as bench
from bench import counts, peers, ppmd
from charlm.config import PrepConfig
from charlm.corpus import prepare
from charlm.ngram import count

LINES = [
    "the king shall have what you say.\n",
    "my lord, i know not;\n",
    "what say you, my king?\n",
]
V = 7


@pytest.fixture
def text(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "text.txt"
    path.write_text("".join(LINES[i] for i in rng.integers(len(LINES), size=800)))
    return path


@pytest.fixture
def ids():
    return torch.from_numpy(np.random.default_rng(2).integers(V, size=5000))


def figures(module, *options):
    """What a benchmark prints, by figure."""
    command = [sys.executable, "-m", f"bench.{module}", *map(str, options)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return {row["figure"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_primed_ppmd_is_what_the_text_adds():
    before, after = "".join(LINES).encode() * 20, LINES[1].encode() * 3
    added, order = ppmd.best_primed(before, after)
    by_hand = {
        n: len(pyppmd.compress(before + after, max_order=n))
        - len(pyppmd.compress(before, max_order=n))
        for n in range(4, 11)
    }
    assert (added, order) == (min(by_hand.values()), min(by_hand, key=by_hand.__getitem__))
    assert added < len(pyppmd.compress(after)) / 2


def test_the_counts_predict_each_character_once(text, tmp_path):
    corpus = prepare([text], tmp_path / "data", PrepConfig(val=0.1, test=0.0))
    ids, newline = corpus.ids("val").astype(int).tolist(), corpus.tokenizer.newline
    ngram = count(corpus.ids("train"), corpus.tokenizer.vocabulary, order=4, opening=(newline,))
    history = ngram.initial_history(1)
    nats = 0.0
    for before, id in zip([ngram.vocabulary, newline, *ids], [None, *ids], strict=False):
        history = ngram.advanced(history, np.array([before]))
        if before != ngram.vocabulary:
            nats -= math.log(ngram.estimate(history).p[0, -1, id])
    assert counts.kneser_ney(corpus, "val", 4) == pytest.approx(nats / len(ids), rel=1e-9)


def test_a_recipe_that_knows_nothing_needs_log_v(ids):
    rnn, transformer = peers.CharRnn(V), peers.Transformer(V)
    nn.init.zeros_(rnn.head.weight)
    nn.init.zeros_(rnn.head.bias)
    nn.init.zeros_(transformer.symbols.weight)
    assert peers.char_rnn_nats(rnn, ids) == pytest.approx(math.log(V), rel=1e-5)
    assert peers.transformer_nats(transformer.eval(), ids[:300]) == pytest.approx(math.log(V))


def test_char_rnn_reads_in_pieces_as_it_reads_at_once(ids):
    rnn = peers.CharRnn(V)
    with torch.no_grad():
        logits, _ = rnn(ids[None, :-1])
        whole = float(nn.functional.cross_entropy(logits[0], ids[1:]))
    assert peers.char_rnn_nats(rnn, ids) == pytest.approx(whole, rel=1e-5)


def test_the_transformer_sees_half_a_window_at_least_and_nothing_ahead(ids):
    network = peers.Transformer(V).eval()
    short = ids[:200]
    nats = []
    with torch.no_grad():
        for at in range(1, len(short)):
            begin = max(0, (at - 1) // peers.SEEN * peers.SEEN - peers.SEEN)
            logits = network(short[None, begin:at])[0, -1]
            nats.append(float(nn.functional.cross_entropy(logits, short[at])))
            assert at - begin >= min(at, peers.SEEN)
    assert peers.transformer_nats(network, short) == pytest.approx(np.mean(nats), rel=1e-5)


def test_a_part_of_a_benchmark_replaces_its_own_figures_alone(tmp_path, monkeypatch):
    old = [
        {"benchmark": "peers", "figure": "a", "value": 1, "unit": "x"},
        {"benchmark": "counts", "figure": "a", "value": 1, "unit": "x"},
        {"benchmark": "counts", "figure": "b", "value": 1, "unit": "x"},
    ]
    given = []

    def run(name, options):
        given.append((name, options))
        return [{"benchmark": "counts", "figure": "b", "value": None, "unit": "x"}], 0

    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "run", run)
    store = tmp_path / "results.jsonl"
    store.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert bench.main(["counts", "--", "--seeds", "1"]) == 0
    assert given == [("counts", ["--seeds", "1"])]
    rows = [json.loads(line) for line in store.read_text().splitlines()]
    assert [(row["benchmark"], row["figure"], row["value"]) for row in rows] == [
        ("peers", "a", 1),
        ("counts", "a", 1),
        ("counts", "b", None),
    ]
    assert "| b | not available |" in (tmp_path / "RESULTS.md").read_text()
    assert bench.main(["counts"]) == 0
    rows = [json.loads(line) for line in store.read_text().splitlines()]
    assert [row["figure"] for row in rows] == ["a", "b"]


def test_what_eval_refuses_is_not_available_and_what_fails_fails(monkeypatch, tmp_path):
    said = b"Error: no such thing"

    def charlm(*arguments):
        if "ngram" in arguments:
            raise subprocess.CalledProcessError(2, arguments, stderr=said)
        return b'{"nats_per_char": 1.5}'

    monkeypatch.setattr(counts, "charlm", charlm)
    refusals = {}
    found = counts.of_model(tmp_path, tmp_path, "val", refusals)
    assert found == {"charlm": 1.5, "charlm --adapt": 1.5}
    assert refusals == {"charlm --adapt ngram": "Error: no such thing"}
    said = b"Traceback (most recent call last):\nKeyError"
    with pytest.raises(subprocess.CalledProcessError):
        counts.of_model(tmp_path, tmp_path, "val", {})


@pytest.mark.slow
def test_counts_compares_all_of_them(text):
    found = figures("counts", text, "--budgets", "3", "--seeds", "1", "--ngram", "4")
    for title in (
        "3 s, charlm",
        "3 s, charlm, the network alone",
        "3 s, charlm, counts alone (order 4)",
        "3 s, charlm --adapt",
        "3 s, nanoGPT's recipe",
        "3 s, char-rnn's recipe",
    ):
        assert 0 < found[f"text.txt, {title}"]["value"] < 2 * math.log(64)
    assert "text.txt, 3 s, charlm --adapt ngram" in found
    assert any("PPMd of order" in figure for figure in found)
    assert any("Kneser-Ney of order" in figure for figure in found)


@pytest.mark.slow
def test_compression_compares_all_of_them(text):
    found = figures("compression", "--text", text, "--held-out", 1000, "--budget", "3")
    sizes = {figure: row["value"] for figure, row in found.items() if row["unit"] == "bytes"}
    assert sizes["xz -9e, primed"] < sizes["xz -9e"]
    assert sizes["charlm compress"] > 0
    assert sizes["charlm compress --adapt"] > 0
    primed = sorted(name for name in sizes if "primed" in name)
    assert [name[:4] for name in primed] == ["PPMd", "xz -", "zstd"]
    assert all(f"smaller than {name}" in found for name in primed)
