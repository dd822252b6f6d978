"""Runs in this process: every knob changes something, devices, defaults, what is kept."""

import itertools
import json
import shutil
import signal
import time
from dataclasses import fields

import numpy as np
import pytest
import torch
from support.clock import Clock
from support.params import quick
from support.runs import (
    SMALL_NETWORK,
    SMALL_RUN,
    TEXT,
    differ,
    final_weights,
    log,
    run,
    stop_at,
    without_times,
)

from charlm import model_file
from charlm.cells import CELLS
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError, TrainingError
from charlm.score import Score
from charlm.training import begin, checkpoint, choosing, directory, validate
from charlm.training.device import choose_device
from charlm.training.initialise import initial_weights
from charlm.training.interrupts import Interrupts
from charlm.training.standing import Listener
from charlm.training.trainer import Trainer

CHANGES = [
    *[(key, {key: value}, {}) for key, value in {
        "cell": "gru", "width": 9, "layers": 2, "embedding": 4, "norm": "rms", "residual": True,
        "tied": True, "mixtures": 2, "feed_forward": True, "attention": True, "bidirectional": True,
        "span": 20, "adaptive": True, "members": 2,
    }.items()],
    *[(key, {}, {key: value}) for key, value in {
        "steps": 7, "batch": 3, "context": 7, "lr": 1e-3, "schedule": "constant", "warmup": 0.9,
        "optimizer": "sgd", "weight_decay": 0.5, "clip": 1e-3, "dropout": 0.9, "seed": 2,
        "precision": "bfloat16", "average": "ema", "average_share": 0.5,
        "vary_context": True, "dropout_kind": "variational", "dropout_input": 0.5,
        "dropout_embedding": 0.5, "dropout_output": 0.9, "weight_drop": 0.5,
        "activation_penalty": 9.0, "temporal_penalty": 9.0,
    }.items()],
]  # fmt: skip


@pytest.mark.parametrize(("knob", "network", "training"), CHANGES, ids=[c[0] for c in CHANGES])
def test_every_knob_of_the_result_changes_something(data, tmp_path, knob, network, training):
    # The residual needs somewhere to go: an embedding as wide as the network.
    common = {"embedding": 8} if knob in ("residual", "tied") else {}
    usual = {
        "average_share": {"average": "ema"},
        "dropout_kind": {"dropout": 0.5},
        "precision": {"precision": "float32"},  # or as the processor likes it
    }.get(knob, {})
    run(data, tmp_path / "a", network=common, training=usual)
    run(data, tmp_path / "b", network=common | network, training=usual | training)
    kept = [model_file.load(tmp_path / name).weights for name in "ab"]
    assert differ(*kept)


def test_the_other_knobs_are_tested_elsewhere():
    """Whoever adds a knob must say here or above what it does."""
    elsewhere = {
        "budget", "epochs", "device", "eval_every", "patience", "peek", "compile", "memory",
        "average_wait", "micro_batch", "deterministic", "ngram",
    }  # fmt: skip
    knobs = {f.name for group in (NetworkConfig, TrainingConfig) for f in fields(group)}
    assert knobs == elsewhere | {knob for knob, _, _ in CHANGES}


def test_two_threads_repeat_a_run_bit_for_bit(data, tmp_path):
    """The gradient of plain indexing is summed by several threads in no certain order."""
    large = {"batch": 16, "context": 64, "steps": 10}
    torch.set_num_threads(2)
    try:
        runs = [run(data, tmp_path / x, network={"width": 64}, training=large) for x in "abc"]
    finally:
        torch.set_num_threads(1)
    for one, _ in runs[1:]:
        assert not differ(final_weights(one), final_weights(runs[0][0]))


def test_the_same_knobs_give_the_same_weights(data, tmp_path):
    first, _ = run(data, tmp_path / "a")
    second, _ = run(data, tmp_path / "b")
    assert not differ(final_weights(first), final_weights(second))


def test_a_run_that_its_updates_end_is_the_same_whatever_its_budget_and_beginning(
    data, tmp_path, monkeypatch
):
    # What a budget is spent on follows from the measured pace, which is the machine's.
    monkeypatch.setattr(choosing, "measure", lambda *_: choosing.Pace(1e-5, 6e-11))
    (a, _), (b, _) = (
        run(data, tmp_path / name, training={"budget": budget_s}, late_s=late_s)
        for name, budget_s, late_s in (("a", 400.0, 0.0), ("b", 3000.0, 250.0))
    )
    assert a.trainer.steps == b.trainer.steps == SMALL_RUN["steps"]
    assert not differ(final_weights(a), final_weights(b))


def test_a_budget_ends_a_run_by_the_clock(data, tmp_path, monkeypatch):
    monkeypatch.setattr("charlm.training.run.time.monotonic", Clock(tick_s=0.01))
    choice = {"members": 1}, {"dropout": 0.0, "optimizer": "adamw", "weight_decay": 0.0}
    budget = {"steps": None, "budget": 20.0}
    one, _ = run(data, tmp_path / "a", network=choice[0], training=choice[1] | budget)
    last = log(tmp_path / "a")[-1]
    assert one.trainer.steps == last["steps"] > 1
    assert 10 < last["elapsed_s"] < 20


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_a_compiled_step_gives_the_same_losses(data, tmp_path):
    plain, _ = run(data, tmp_path / "a")
    compiled, _ = run(data, tmp_path / "b", training={"compile": True})
    for name, weight in final_weights(plain).items():
        np.testing.assert_allclose(final_weights(compiled)[name], weight, rtol=1e-3, atol=1e-4)


def test_epochs_are_counted_in_whole_passes(data, tmp_path):
    one, _ = run(data, tmp_path / "a", training={"steps": None, "epochs": 2})
    assert one.trainer.tokens == 2 * data.size("train").tokens


def test_the_best_model_is_kept_though_a_later_one_is_worse(data, tmp_path, monkeypatch):
    figures = iter([2.0, 1.5, 1.25, 1.75])

    def scored(*args, **kwargs):
        return Score(nats=next(figures), tokens=1, chars=1, bytes=1)

    monkeypatch.setattr("charlm.training.run.validate", scored)
    one, outcome = run(data, tmp_path / "a", training={"steps": 40, "eval_every": 10})
    kept = model_file.load(tmp_path / "a")
    assert outcome.best_nats_per_char == kept.history["val_nats_per_char"] == 1.25
    assert kept.history["steps"] == one.standing.best_steps == 30
    assert differ(kept.weights, final_weights(one))


def test_a_score_that_is_not_a_number_is_never_the_best(data, tmp_path, monkeypatch):
    score = Score(nats=float("nan"), tokens=1, chars=1, bytes=1)
    monkeypatch.setattr("charlm.training.run.validate", lambda *args, **kwargs: score)
    with pytest.raises(TrainingError, match="nan"):
        run(data, tmp_path / "a")
    assert not (tmp_path / "a" / model_file.MODEL_NAME).exists()


def resumed(out, **changes):
    one = begin.resume(out, None, changes, Listener(), time.monotonic())
    return one, one.go()


@pytest.mark.parametrize("training", [{"steps": 12}, {"steps": None, "epochs": 3}])
@pytest.mark.parametrize("records", ["none", "line"])
def test_a_run_stopped_and_resumed_equals_the_uninterrupted_one(tmp_path, training, records):
    (tmp_path / "text").write_text(TEXT.replace(" ", "\n") * 3)
    config = PrepConfig(val=0.1, test=0, records=records)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", config)
    training = training | {"context": 16, "dropout": 0.1}
    whole, _ = run(corpus, tmp_path / "whole", training=training)
    stop = max(1, whole.trainer.steps // 2)
    _, stopped = run(corpus, tmp_path / "cut", training=training, listener=stop_at(stop))
    assert (stopped.signal, stopped.steps) == (signal.SIGTERM, stop)
    again, outcome = resumed(tmp_path / "cut")
    assert outcome.signal is None
    assert outcome.steps == whole.trainer.steps
    assert not differ(final_weights(whole), final_weights(again))


def test_a_signal_in_the_last_update_leaves_the_validation_to_be_made(data, tmp_path):
    whole, expected = run(data, tmp_path / "whole")
    _, outcome = run(data, tmp_path / "a", listener=stop_at(SMALL_RUN["steps"]))
    assert (outcome.signal, outcome.steps) == (signal.SIGTERM, SMALL_RUN["steps"])
    assert outcome.best_nats_per_char is None
    one, outcome = resumed(tmp_path / "a")
    assert outcome == expected
    assert not differ(final_weights(whole), final_weights(one))
    with pytest.raises(ConfigError, match="has reached its end"):
        resumed(tmp_path / "a")


@pytest.mark.parametrize("network", [{}, {"bidirectional": True}], ids=["left", "both sides"])
@pytest.mark.parametrize("records", ["none", "line"])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_validation_that_is_stopped_is_made_when_the_run_goes_on(
    tmp_path, monkeypatch, network, records, stop
):
    """What a validation decides, the best model, patience and the average, is as if it was not."""
    (tmp_path / "text").write_text(TEXT.replace(" ", "\n") * 3)
    config = PrepConfig(val=0.1, test=0, records=records)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", config)
    training = {"steps": 12, "eval_every": 4, "average": "nt-asgd"}
    whole, expected = run(corpus, tmp_path / "whole", network=network, training=training)
    validations = itertools.count(1)
    made = validate.validate

    def stopped(*args, **kwargs):
        if next(validations) == stop:
            signal.raise_signal(signal.SIGTERM)
        return made(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("charlm.training.run.validate", stopped)
        _, outcome = run(corpus, tmp_path / "cut", network=network, training=training)
    assert (outcome.signal, outcome.steps) == (signal.SIGTERM, 4 * stop)
    assert model_file.load(tmp_path / "cut")
    again, outcome = resumed(tmp_path / "cut")
    assert outcome == expected
    assert not differ(final_weights(whole), final_weights(again))
    logs = [without_times(log(tmp_path / name)) for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    kept = [model_file.load(tmp_path / name) for name in ("whole", "cut")]
    assert not differ(*(model.weights for model in kept))


def test_a_run_that_was_killed_before_its_last_validation_makes_it(data, tmp_path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("charlm.training.run.validate", killed)
        patch.setattr("charlm.training.run.SAVE_EVERY_S", 0)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "a", training={"eval_every": 1000})
    one, outcome = resumed(tmp_path / "a")
    assert one.trainer.steps == SMALL_RUN["steps"]
    assert outcome.best_nats_per_char is not None


def test_going_on_beyond_the_end_needs_to_be_said(data, tmp_path):
    run(data, tmp_path / "a")
    for changes in ({}, {"steps": 3}, {"device": "cpu"}):
        with pytest.raises(ConfigError, match="has reached its end"):
            resumed(tmp_path / "a", **changes)
    assert resumed(tmp_path / "a", steps=9)[1].steps == 9


def test_a_run_goes_on_on_another_kind_of_device_and_says_so(data, tmp_path):
    run(data, tmp_path / "a", listener=stop_at(3))
    last = checkpoint.load(tmp_path / "a" / directory.LAST_NAME)
    last.trainer["device"] = "cuda"
    last.tensors["generator"] = torch.zeros(16, dtype=torch.uint8)  # the size of CUDA's
    checkpoint.save(last, tmp_path / "a" / directory.LAST_NAME)
    said = []
    listener = Listener(say=said.append)
    begin.resume(tmp_path / "a", None, {}, listener, time.monotonic()).go()
    assert any("not bit for bit" in line for line in said)


def first_line(out):
    return json.loads((out / "log.jsonl").read_text().splitlines()[0])


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_products_are_in_bfloat16_where_the_processor_has_it(
    data, tmp_path, monkeypatch, native, precision
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    run(data, tmp_path / "a")
    assert first_line(tmp_path / "a")["training"]["precision"] == precision


@pytest.mark.parametrize("changes", [{}, {"precision": "float32"}])
def test_a_run_in_bfloat16_goes_on_where_it_is_slow_and_says_so(
    data, tmp_path, monkeypatch, changes
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    run(data, tmp_path / "a", training={"precision": "bfloat16"}, listener=stop_at(3))
    said = []
    listener = Listener(say=said.append)
    begin.resume(tmp_path / "a", None, {}, listener, time.monotonic())
    assert not said
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    one = begin.resume(tmp_path / "a", None, changes, listener, time.monotonic())
    (told,) = said
    assert "threads, bfloat16, and this is" in told
    assert "not bit for bit" in told
    assert one.config.precision == changes.get("precision", "bfloat16")
    assert one.go().steps == SMALL_RUN["steps"]


def test_a_run_that_moved_takes_its_own_corpus_along(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    out = tmp_path / "here"
    corpus = prepare([tmp_path / "text"], out / directory.OWN_CORPUS, PrepConfig())
    run(corpus, out, listener=stop_at(3))
    out.rename(tmp_path / "there")
    assert resumed(tmp_path / "there")[1].steps == SMALL_RUN["steps"]


def test_a_log_that_lost_its_end_is_not_filled_up(data, tmp_path):
    run(data, tmp_path / "a", listener=stop_at(3))
    log = tmp_path / "a" / "log.jsonl"
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    resumed(tmp_path / "a")
    assert b"\0" not in log.read_bytes()


def test_an_earlier_run_stays_until_the_new_one_can_begin(data, tmp_path):
    run(data, tmp_path / "a")
    before = (tmp_path / "a" / model_file.MODEL_NAME).read_bytes()
    with pytest.raises(ConfigError):
        run(data, tmp_path / "a", training={"precision": "tf32"})
    assert (tmp_path / "a" / model_file.MODEL_NAME).read_bytes() == before


def test_there_is_something_to_go_on_with_from_the_first_update_on(data, tmp_path):
    seen = []

    def update(progress, tokens):
        seen.append((tmp_path / "a" / directory.LAST_NAME).exists())

    run(data, tmp_path / "a", listener=Listener(update=update))
    assert all(seen)


def test_the_first_and_the_last_update_both_move_the_weights(data, tmp_path):
    one, _ = run(data, tmp_path / "a", training={"steps": 1, "warmup": 0.5})
    began = initial_weights(one.network, 1)
    assert differ(final_weights(one), {n: w.numpy() for n, w in began.items()})


@pytest.mark.parametrize("width", [16, 100, 37])
@pytest.mark.parametrize("cell", quick(["lstm", "rwkv"], CELLS))
def test_muon_takes_any_width(data, tmp_path, cell, width):
    network = {"cell": cell, "width": width, "layers": 2}
    _, outcome = run(data, tmp_path / "a", network=network, training={"optimizer": "muon"})
    assert outcome.best_nats_per_char < 10


def test_a_corpus_without_validation_text_keeps_the_last_model(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    config = PrepConfig(val=0, test=0)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", config)
    one, outcome = run(corpus, tmp_path / "run")
    assert outcome.best_nats_per_char is None
    kept = model_file.load(tmp_path / "run")
    assert not differ(kept.weights, final_weights(one))


def test_a_loss_that_is_not_a_number_is_not_saved(data, tmp_path):
    training = {"steps": 50, "lr": 1e30, "optimizer": "sgd", "clip": 0}
    with pytest.raises(TrainingError, match="--lr"):
        run(data, tmp_path / "a", network={"cell": "rnn-relu"}, training=training)
    # What was saved is from before: the weights it began with, and no model.
    last = checkpoint.load(tmp_path / "a" / directory.LAST_NAME)
    assert last.trainer["steps"] == 0
    assert not (tmp_path / "a" / model_file.MODEL_NAME).exists()


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    run(data, tmp_path / "a")
    last = tmp_path / "a" / directory.LAST_NAME
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(last)


@pytest.mark.parametrize(
    ("tokens", "dropout"), [(100, 0.5), (49_999, 0.5), (50_000, 0.3), (250_000, 0.0)]
)
def test_dropout_by_the_length_of_the_text(tokens, dropout):
    assert begin.default_dropout(tokens) == dropout


def test_the_seed_it_chose_is_told_and_kept(data, tmp_path):
    said = []
    one, _ = run(data, tmp_path / "a", training={"seed": None}, listener=Listener(say=said.append))
    assert f"seed {one.config.seed}" in said
    assert model_file.load(tmp_path / "a").training["seed"] == one.config.seed


def test_auto_says_which_device_it_took():
    said = []
    device = choose_device(TrainingConfig(), Listener(say=said.append))
    assert said
    assert device.type in said[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ConfigError, match="no cuda device"):
        choose_device(TrainingConfig(device="cuda"), Listener())


def test_a_run_that_goes_bad_goes_back_with_half_the_rate(data, tmp_path, monkeypatch):
    monkeypatch.setattr("charlm.training.run.SAVE_EVERY_S", 1e9)
    said, seen = [], []

    def update(progress, tokens):
        seen.append(tokens)
        if len(seen) == 25:
            with torch.no_grad():
                one.trainer.weights["head.bias"][0] = float("nan")

    directory.check_directory(tmp_path / "a", force=True)
    training = TrainingConfig(**SMALL_RUN | {"steps": 60, "eval_every": 10, "lr": 0.008})
    listener = Listener(say=said.append, update=update)
    network = NetworkConfig(**SMALL_NETWORK)
    one = begin.begin(data, tmp_path / "a", network, training, listener, time.monotonic())
    outcome = one.go()
    assert outcome.steps == 60
    assert one.standing.recoveries == 1
    assert one.trainer.lr_share == 0.5
    assert any("Going back from update" in line and "0.004" in line for line in said)
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [e["steps"] for e in log if "remedy" in e] == [20]


def test_a_run_that_has_lost_what_it_learned_goes_back(data, tmp_path):
    seen = []

    def update(progress, tokens):
        seen.append(tokens)
        if len(seen) == 120:
            with torch.no_grad():
                one.trainer.weights["head.bias"] += 50 * torch.arange(one.network.vocabulary)

    directory.check_directory(tmp_path / "a", force=True)
    training = TrainingConfig(**SMALL_RUN | {"steps": 200, "eval_every": 50, "lr": 0.03})
    network = NetworkConfig(width=24, cell="gru")
    listener = Listener(update=update)
    one = begin.begin(data, tmp_path / "a", network, training, listener, time.monotonic())
    one.go()
    assert one.standing.recoveries == 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), MemoryError()])
def test_a_run_that_lacks_memory_makes_its_updates_in_parts(data, tmp_path, monkeypatch, error):
    whole = Trainer._batch_loss

    def loss(self, inputs, *rest):
        if len(inputs) > 1:
            raise error
        return whole(self, inputs, *rest)

    plainly = {"dropout": 0.0, "precision": "float32"}
    plain, _ = run(data, tmp_path / "a", training=plainly)
    monkeypatch.setattr(Trainer, "_batch_loss", loss)
    parted, outcome = run(data, tmp_path / "b", training=plainly)
    assert outcome.steps == SMALL_RUN["steps"]
    assert (parted.trainer.parts, parted.standing.recoveries) == (4, 2)
    for name, weight in final_weights(plain).items():
        np.testing.assert_allclose(final_weights(parted)[name], weight, rtol=1e-3, atol=1e-4)


def test_a_lack_of_memory_that_nothing_helps_ends_the_run(data, tmp_path, monkeypatch):
    def loss(self, *parts):
        raise MemoryError

    monkeypatch.setattr(Trainer, "_batch_loss", loss)
    with pytest.raises(TrainingError, match="--batch"):
        run(data, tmp_path / "a", training={"batch": 8})


DROPPED = {
    "dropout": 0.3, "dropout_input": 0.1, "dropout_embedding": 0.1, "weight_drop": 0.2,
    "dropout_output": 0.2, "activation_penalty": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "variational"])
@pytest.mark.parametrize("network", [{}, {"bidirectional": True}, {"attention": True, "layers": 2}])
def test_an_update_in_parts_is_the_same_update(data, tmp_path, network, kind):
    """With all that is drawn at random, too: a row is dropped alike whatever is read with it."""
    common = {"optimizer": "sgd", "lr": 0.1, "dropout_kind": kind, **DROPPED}
    common["precision"] = "float32"  # in bfloat16 to its own rounding
    found = []
    for rows in (None, 3, 1):  # in one part, in two of two rows, in four
        one, _ = run(data, tmp_path / "a", network=network, training=common | {"micro_batch": rows})
        found.append(final_weights(one))
    for weights in found[1:]:
        for name, weight in found[0].items():
            np.testing.assert_allclose(weights[name], weight, rtol=1e-4, atol=1e-6)


def test_a_run_that_is_held_is_not_trained_by_another(data, tmp_path):
    out = tmp_path / "a"
    refused = pytest.raises(TrainingError, match="another process")
    with directory.held(out), refused, directory.held(out):
        pass
    assert not (tmp_path / "a").exists()


def test_what_a_killed_process_left_is_cleared_away(data, tmp_path):
    run(data, tmp_path / "a")
    (tmp_path / "a" / ".last.safetensors.xyz.tmp").write_bytes(b"half")
    with directory.held(tmp_path / "a"):
        pass
    assert not list((tmp_path / "a").glob(".*"))


def test_another_count_of_threads_is_told(data, tmp_path):
    run(data, tmp_path / "a", listener=stop_at(3))
    said = []
    torch.set_num_threads(2)
    try:
        begin.resume(tmp_path / "a", None, {}, Listener(say=said.append), time.monotonic())
    finally:
        torch.set_num_threads(1)
    assert any("not bit for bit" in line for line in said)


def test_a_bit_that_flipped_in_the_corpus_is_found(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", PrepConfig())
    ids = bytearray((tmp_path / "corpus" / "train.bin").read_bytes())
    ids[7] ^= 1
    (tmp_path / "corpus" / "train.bin").write_bytes(ids)
    with pytest.raises(DataError, match="damaged"):
        run(corpus, tmp_path / "a")


def test_a_second_signal_acts_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_passed_on_twice_was_meant_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with Interrupts(repeats_s=0.2) as interrupts:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
