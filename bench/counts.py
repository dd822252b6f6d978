"""charlm beside counts and beside other networks: all of a held-out split, at several budgets.

Nats per character, each character predicted once, every program on the same training split. Two
texts: the contiguous 90/10 split of tiny Shakespeare, and the test part of the 80/10/10 split of
War and Peace.

PPMd and Kneser-Ney have no budget: they take seconds. PPMd is measured by what the held-out split
adds to the compressed training split, and it learns from the text that it predicts, as `--adapt`
does; Kneser-Ney does not. Of both the best order is taken, chosen on the held-out split itself.
nanoGPT's and char-rnn's recipes (bench/peers.py) train in float32 for the budget, their start-up
and evaluation apart; charlm's budget is its whole process.

charlm stops at the weights that are best on the validation split and fits its mixer to it. On tiny
Shakespeare that is the split that is measured: the mixer is cross-fitted there, and the choice of
the weights is the one thing that has seen it. On War and Peace nothing has seen the test split;
PPMd primed with the validation split too stands beside it.

python -m bench.counts [TEXT]... [--budgets S,S,...] [--seeds N,N,...] [--ngram N]
"""

import argparse
import functools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import ppmd
from bench.adapting import charlm
from bench.measure import figure, tiny_shakespeare, war_and_peace
from bench.peers import RECIPES, recipe
from charlm.corpus import Corpus
from charlm.ngram import Ngram, count, histories
from charlm.sampling.text import opening

BUDGETS_S, SEEDS = (5.0, 20.0, 60.0, 133.0), (1, 2, 3)
KNESER_NEY_ORDERS = range(4, 9)
AT_ONCE = 1 << 15  # characters that counts predict at once
UNIT = "nats/char"
# What `charlm eval` is asked for beside the plain figure, which every model has.
ADAPTING = ("--adapt", "--adapt ngram")


@dataclass(frozen=True)
class Text:
    """A text, and the shares of it that are for validation and for the test."""

    path: Callable[[], Path]
    val: float = 0.1
    test: float = 0.0


TEXTS = {
    "tiny Shakespeare": Text(tiny_shakespeare),
    "War and Peace": Text(war_and_peace, test=0.1),
}


def main(
    names: list[str], budgets_s: tuple[float, ...], seeds: tuple[int, ...], ngram: int | None
) -> None:
    """Prints the figures. What is not of TEXTS is a file, held out as tiny Shakespeare is."""
    for name in names or TEXTS:
        text = TEXTS.get(name, Text(functools.partial(Path, name)))
        name = name if name in TEXTS else Path(name).name
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            shares = ("--val", text.val, "--test", text.test)
            charlm("prep", text.path(), "-o", data, "--level", "char", *shares)
            split = "test" if text.test else "val"
            static_counts(name, Corpus(data), split)
            for budget_s in budgets_s:
                at_budget(name, data, split, budget_s, seeds, ngram)


def static_counts(name: str, corpus: Corpus, split: str) -> None:
    """Prints the figures of PPMd and of Kneser-Ney."""
    parts = {
        part: corpus.tokenizer.decode(corpus.ids(part)).encode()
        for part in ("train", "val", split)
        if corpus.size(part).tokens
    }
    primings = {"training": parts["train"]}
    if split == "test":
        primings["training and validation"] = parts["train"] + parts["val"]
    for primed, before in primings.items():
        began = time.perf_counter()
        added, order = ppmd.best_primed(before, parts[split])
        took = time.perf_counter() - began
        nats = added * 8 * math.log(2) / corpus.size(split).chars
        how = f"adapts; primed with {primed} text, the best order of {span(ppmd.ORDERS)};"
        how += f" {took:.0f} s for all orders"
        title = f"{name}, PPMd of order {order}"
        title += ", validation text too" if before is not parts["train"] else ""
        figure(title, nats, UNIT, how=how)
    began = time.perf_counter()
    found = min((kneser_ney(corpus, split, order), order) for order in KNESER_NEY_ORDERS)
    how = f"static, the best order of {span(KNESER_NEY_ORDERS)};"
    how += f" {time.perf_counter() - began:.0f} s for all orders"
    figure(f"{name}, Kneser-Ney of order {found[1]}", found[0], UNIT, how=how)


def span(orders: range) -> str:
    """The first and the last of some orders."""
    return f"{orders[0]} to {orders[-1]}"


def kneser_ney(corpus: Corpus, split: str, order: int) -> float:
    """Nats per character of a split, by interpolated modified Kneser-Ney of the training split."""
    begun = tuple(opening(corpus.tokenizer, corpus.records))
    ids, V = corpus.ids("train"), corpus.tokenizer.vocabulary
    return ngram_nats(count(ids, V, order=order, opening=begun), corpus, split)


def ngram_nats(ngram: Ngram, corpus: Corpus, split: str) -> float:
    """Nats per character of a split by an n-gram model's highest order."""
    ids = corpus.ids(split).astype(np.int64)
    begun = opening(corpus.tokenizer, corpus.records)
    before = histories(ids, ngram.vocabulary, ngram.order, opening=begun)
    nats = 0.0
    for begin in range(0, len(ids), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        nats -= float(np.log(ngram.estimate_of(before[part], ids[part]).p[:, -1, 0]).sum())
    return nats / corpus.size(split).chars


def at_budget(
    name: str,
    data: Path,
    split: str,
    budget_s: float,
    seeds: tuple[int, ...],
    ngram: int | None,
) -> None:
    """Prints the figures of charlm and of the recipes, trained in turn for so many seconds."""
    found: dict[str, list[float]] = {}
    refusals: dict[str, str] = {}
    walls: list[float] = []
    for seed in seeds:
        run = data.parent / "run"
        options = () if ngram is None else ("--ngram", ngram)
        began = time.perf_counter()
        budget = ("--budget", f"{budget_s:g}s", "--seed", seed)
        charlm("train", data, "-o", run, "--force", *budget, *options)
        walls.append(time.perf_counter() - began)
        of_seed = of_model(run, data, split, refusals)
        for title in RECIPES:
            of_seed[f"{title}'s recipe"] = recipe(data, seed, title, budget_s)
        for title, nats in of_seed.items():
            found.setdefault(title, []).append(nats)
            print(f"{name}, {budget_s:g} s, seed {seed}, {title}: {nats:.4f}", file=sys.stderr)
    for title, nats in found.items():
        how = f"median of seeds {', '.join(map(str, seeds))}; {min(nats):.4f} to {max(nats):.4f}"
        if title == "charlm":
            how += f"; charlm train --budget {budget_s:g}s, wall clock at most {max(walls):.1f} s"
        figure(f"{name}, {budget_s:g} s, {title}", statistics.median(nats), UNIT, how=how)
    for title, why in refusals.items():
        figure(f"{name}, {budget_s:g} s, {title}", None, UNIT, how=why)


def of_model(run: Path, data: Path, split: str, refusals: dict[str, str]) -> dict[str, float]:
    """Nats per character of a split by a run's model, by each part of it, and as it adapts.

    What `charlm eval` refuses is noted in `refusals`.
    """
    evaluated = ("eval", run, data, "--split", split, "--json")
    ngram = json.loads(charlm("info", run, "--json")).get("ngram")
    static = json.loads(charlm(*evaluated, *(["--parts"] if ngram else [])))
    found = {"charlm": static["nats_per_char"]}
    if ngram:
        titles = {"network": "the network alone", "ngram": f"counts alone (order {ngram['order']})"}
        for part, title in titles.items():
            found[f"charlm, {title}"] = static["parts"][part]["nats_per_char"]
    for options in ADAPTING:
        try:
            adapted = json.loads(charlm(*evaluated, *options.split()))
            found[f"charlm {options}"] = adapted["nats_per_char"]
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode().strip().splitlines()
            if options == "--adapt" or "Traceback (most recent call last):" in said:
                raise
            refusals[f"charlm {options}"] = said[-1].replace("|", "/")
    return found


def numbers(kind: type) -> Callable[[str], tuple]:
    """A reader of numbers with commas between them."""
    return lambda text: tuple(map(kind, text.split(",")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", metavar="TEXT", help=f"{', '.join(TEXTS)}, or a file")
    parser.add_argument("--budgets", type=numbers(float), default=BUDGETS_S)
    parser.add_argument("--seeds", type=numbers(int), default=SEEDS)
    parser.add_argument("--ngram", type=int, help="as of charlm train, in place of its default")
    given = parser.parse_args()
    main(given.texts, given.budgets, given.seeds, given.ngram)
