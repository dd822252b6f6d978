"""A run without a network: a model of counts alone, in seconds and without torch."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

from charlm import __version__, atomic, model_file
from charlm.config import NO_CELL, NetworkConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.directories import LOG_NAME, MODEL_NAME
from charlm.model_file import Model
from charlm.network import build
from charlm.ngram import Ngram
from charlm.training import directory, mixing
from charlm.training.run_corpus import check_corpus
from charlm.training.standing import Listener, Outcome

SHARES = (1.0, 0.5, 0.25, 0.1)  # of the validation text, of which the first is used that fits
ALONE_S = 5.0  # of so short a budget, loading torch and the mixing leave nothing to a network


def is_enough(network: NetworkConfig, training: TrainingConfig, *, several: bool = False) -> bool:
    """Whether counts alone are asked for, or all that there is time for.

    Of a short budget they are where nothing else is asked of network and training, nor `several`
    runs.
    """
    if network.cell == NO_CELL:
        return True
    if several or network != NetworkConfig() or (training.budget or math.inf) > ALONE_S:
        return False
    asked = TrainingConfig(budget=training.budget, ngram=training.ngram, seed=training.seed)
    return training.ngram != 0 and training == replace(asked, device=training.device)


def train(
    corpus: Corpus, out: Path, training: TrainingConfig, listener: Listener, started: float
) -> Outcome:
    """Counts the training text and fits the mixer to the validation text: a run in `out`.

    `started` is when its clock began.
    """
    corpus.verify()
    check_corpus(corpus, several=False)
    network = build(NetworkConfig(cell=NO_CELL), corpus.tokenizer.vocabulary)
    ngram = mixing.counts_of(corpus, training)
    plain = Model(
        network=network,
        weights={},
        tokenizer=corpus.tokenizer,
        records=corpus.records,
        corpus_hash=corpus.hash,
        training=training.to_dict(),
    )
    share = _share(corpus, ngram, training.budget, started)
    if share < 1:
        listener.say(f"the gate is fitted to the first {share:.0%} of the validation split")
    mixed = mixing.mixed(plain, ngram, corpus, share=share)
    if not mixed.tokens:
        mixer = mixing.folded(plain, corpus, training)
        mixed = replace(mixed, model=replace(mixed.model, mixer=mixer))
    elapsed_s = time.monotonic() - started
    known = math.isfinite(mixed.nats_per_char)
    history = {
        "steps": 0,
        "epochs": 1.0,
        "elapsed_s": elapsed_s,
        "val_nats_per_char": None,
        "val_bits_per_char": None,
        "val_chars": _chars_of(corpus, mixed.tokens),
    }
    out.mkdir(parents=True, exist_ok=True)
    directory.clear(out)
    first = {
        "version": __version__,
        "network": network.config.to_dict(),
        "training": training.to_dict(),
        "corpus": str(corpus.path),
        "corpus_hash": corpus.hash,
        "parameters": 0,
        "vocabulary": network.vocabulary,
        "device": "cpu",
    }
    entry = {"steps": 0, **mixed.report(), "elapsed_s": elapsed_s}
    entries = [first, entry] if known else [first]
    with atomic.whole_file(out / LOG_NAME) as temporary:
        temporary.write_text("".join(f"{json.dumps(one)}\n" for one in entries), encoding="utf-8")
    model = replace(mixed.model, history={**history, **mixed.history()})
    model_file.save(model, out / MODEL_NAME)
    if known:
        listener.report(entry)
    return Outcome(0, mixed.nats_per_char if known else None, None)


def _share(corpus: Corpus, ngram: Ngram, budget_s: float | None, started: float) -> float:
    """How much of the validation text there is time for, in what is left of the budget."""
    if budget_s is None:
        return 1.0
    left_s, tokens = budget_s - (time.monotonic() - started), corpus.size("val").tokens
    for share in SHARES:
        if mixing.seconds_needed(ngram, round(share * tokens)) <= left_s:
            return share
    return SHARES[-1]


def _chars_of(corpus: Corpus, tokens: int) -> int:
    """About how many characters so many tokens of the validation split are."""
    size = corpus.size("val")
    return round(tokens * size.chars / size.tokens) if tokens else 0
