"""`charlm train` through real processes: runs, budgets, resuming, signals, mistakes."""

import json
import shlex
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from support.commands import forked, start, wait_for
from support.runs import log, weights, without_times

from charlm.cli import progress

SMALL = ["--width", "16", "--batch", "4", "--context", "16", "--seed", "1", "--device", "cpu"]


def tree(folder):
    """The files in a folder, and what is in them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_trains_validates_and_saves(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    done = charlm("train", corpus, "-o", run, "--steps", 60, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert sorted(p.name for p in run.iterdir()) == [
        "last.safetensors", "log.jsonl", "model.safetensors",
    ]  # fmt: skip
    first, *entries = log(run)
    assert first["training"]["steps"] == 60
    assert first["network"]["width"] == 16
    losses = [entry["loss_nats"] for entry in entries if "loss_nats" in entry]
    validations = [entry for entry in entries if "val_nats_per_char" in entry]
    assert losses[-1] < losses[0]
    assert validations[-1]["steps"] == 60
    assert "validation" in done.stderr.decode()


def test_text_from_stdin_is_prepared_into_the_run(charlm, tmp_path):
    text = "the cat sat on the mat.\n" * 200
    done = charlm("train", "-", "-o", tmp_path / "run", "--steps", 3, *SMALL, stdin=text)
    assert done.returncode == 0, done.stderr.decode()


def test_a_failed_run_leaves_its_name_free_and_an_old_run_whole(charlm, tmp_path):
    text, run = tmp_path / "t.txt", tmp_path / "run"
    text.write_text("the cat sat on the mat.\n" * 200)
    bad = ["--tied", "--bidirectional"]
    assert charlm("train", text, "-o", run, "--steps", 3, *bad, *SMALL).returncode == 1
    assert charlm("train", text, "-o", run, "--steps", 3, *SMALL).returncode == 0
    before = (run / "model.safetensors").read_bytes()
    for wrong in ([text, *bad], ["nowhere"], [tmp_path]):
        done = charlm("train", *wrong, "-o", run, "--force", "--steps", 3, *SMALL)
        assert done.returncode == 1
        assert (run / "model.safetensors").read_bytes() == before


def test_a_run_goes_on_when_nobody_reads_what_it_says(corpus, tmp_path):
    command = (
        f"{shlex.join(forked())} train {corpus} -o {tmp_path / 'run'} --steps 60"
        f" --eval-every 5 {' '.join(SMALL)}"
    )
    subprocess.run(["bash", "-c", f"{command} 2>&1 | head -n 2"], check=True, timeout=120)
    wait_until = time.monotonic() + 60
    while log(tmp_path / "run")[-1].get("steps") != 60:
        assert time.monotonic() < wait_until
        time.sleep(0.1)


def test_json_is_the_outcome_and_nothing_else(charlm, corpus, tmp_path):
    done = charlm(
        "train", corpus, "-o", tmp_path / "r", "--steps", 20, "--ngram", 3, "--json", *SMALL
    )
    outcome, entries = json.loads(done.stdout), log(tmp_path / "r")
    assert outcome["steps"] == 20
    assert outcome["val_nats_per_char"] == entries[-1]["mixed_val_nats_per_char"]
    best = min(e["val_nats_per_char"] for e in entries if "val_nats_per_char" in e)
    assert entries[-1]["network_val_nats_per_char"] == pytest.approx(best, rel=1e-5)


def test_without_counts_the_outcome_is_the_best_validation(charlm, corpus, tmp_path):
    done = charlm(
        "train", corpus, "-o", tmp_path / "r", "--steps", 20, "--ngram", 0, "--json", *SMALL
    )
    best = min(e["val_nats_per_char"] for e in log(tmp_path / "r") if "val_nats_per_char" in e)
    assert json.loads(done.stdout)["val_nats_per_char"] == best


def test_a_plain_text_is_prepared_into_the_run(charlm, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("the cat sat on the mat.\n" * 200)
    done = charlm("train", text, "-o", tmp_path / "run", "--steps", 5, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "run" / "corpus" / "corpus.json").exists()
    assert charlm("sample", tmp_path / "run", "--length", 10).returncode == 0


def test_a_run_resumed_after_sigterm_equals_the_uninterrupted_run(charlm, corpus, tmp_path):
    steps = ["--steps", 400, "--dropout", "0.1", *SMALL]
    assert charlm("train", corpus, "-o", tmp_path / "whole", *steps).returncode == 0
    cut = tmp_path / "cut"
    process = start("train", corpus, "-o", cut, *steps)
    wait_for(lambda: (cut / "log.jsonl").exists() and len(log(cut)) > 4, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"charlm train --resume {cut}" in stderr.decode()
    stopped_at = log(cut)[-1]["steps"]
    assert stopped_at < 400
    done = charlm("train", "--resume", cut)
    assert done.returncode == 0, done.stderr.decode()
    whole, both = log(tmp_path / "whole"), log(cut)
    assert without_times(both) == without_times(whole)
    assert weights(cut) == weights(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("average", ["ema", "nt-asgd"])
def test_an_averaged_run_stopped_and_resumed_equals_the_uninterrupted_run(
    charlm, corpus, tmp_path, average
):
    steps = ["--steps", 300, "--eval-every", 20, "--average", average, "--average-wait", 1]
    steps += ["--lr", "0.5", *SMALL]  # so high that validation does not get better for long
    assert charlm("train", corpus, "-o", tmp_path / "whole", *steps).returncode == 0
    cut = tmp_path / "cut"
    process = start("train", corpus, "-o", cut, *steps)
    wait_for(lambda: (cut / "log.jsonl").exists() and len(log(cut)) > 20, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    done = charlm("train", "--resume", cut)
    assert done.returncode == 0, done.stderr.decode()
    assert without_times(log(cut)) == without_times(log(tmp_path / "whole"))
    assert weights(cut) == weights(tmp_path / "whole")
    assert any(name.startswith("average.") for name in weights(cut))
    assert charlm("sample", cut, "--length", 5).returncode == 0


EVERYTHING = [
    "--dropout", 0.2, "--dropout-kind", "variational", "--dropout-input", 0.1,
    "--dropout-embedding", 0.1, "--dropout-output", 0.2, "--weight-drop", 0.3,
    "--activation-penalty", 1, "--temporal-penalty", 1, "--vary-context", "--tied",
    "--embedding", 9, "--mixtures", 2, "--average", "ema",
]  # fmt: skip


@pytest.mark.slow
def test_all_regularisers_together_train_resume_and_sample(charlm, corpus, tmp_path):
    steps = ["--steps", 40, *EVERYTHING, *SMALL]
    assert charlm("train", corpus, "-o", tmp_path / "whole", *steps).returncode == 0
    run = tmp_path / "run"
    done = charlm("train", corpus, "-o", run, "--steps", 40, "--eval-every", 1, *steps[2:])
    assert done.returncode == 0, done.stderr.decode()
    first, *_ = log(run)
    assert first["training"]["weight_drop"] == 0.3
    assert first["network"]["mixtures"] == 2
    assert weights(run) == weights(tmp_path / "whole")
    assert charlm("sample", run, "--length", 10, "--seed", 1).returncode == 0
    assert charlm("eval", run, corpus, "--split", "val").returncode == 0
    again = charlm("train", "--resume", run, "--weight-drop", 0.1)
    assert again.returncode == 2


def test_contexts_of_records_do_not_vary(charlm, tmp_path):
    (tmp_path / "names").write_text("anna\nbertha\n" * 50)
    data = tmp_path / "data"
    assert charlm("prep", tmp_path / "names", "-o", data, "--records", "line").returncode == 0
    done = charlm("train", data, "-o", tmp_path / "r", "--vary-context", *SMALL)
    assert done.returncode == 1
    assert b"vary_context" in done.stderr


def test_nt_asgd_needs_validation_text(charlm, tmp_path):
    (tmp_path / "text").write_text("the cat sat on the mat.\n" * 50)
    prep = ["prep", tmp_path / "text", "-o", tmp_path / "data", "--val", 0, "--test", 0]
    assert charlm(*prep).returncode == 0
    done = charlm("train", tmp_path / "data", "-o", tmp_path / "r", "--average", "nt-asgd", *SMALL)
    assert done.returncode == 1
    assert b"--average ema" in done.stderr


@pytest.mark.slow
def test_a_run_killed_outright_goes_on_from_its_last_save(charlm, corpus, tmp_path):
    steps = ["--steps", 300, "--eval-every", 10, *SMALL]
    assert charlm("train", corpus, "-o", tmp_path / "whole", *steps).returncode == 0
    cut = tmp_path / "cut"
    process = start("train", corpus, "-o", cut, *steps)
    wait_for((cut / "model.safetensors").exists, process)
    process.kill()
    process.communicate(timeout=60)
    done = charlm("train", "--resume", cut)
    # It may have been quick enough to end before it was killed.
    assert done.returncode == 0 or b"has reached its end" in done.stderr
    assert weights(cut) == weights(tmp_path / "whole")
    assert without_times(log(cut)) == without_times(log(tmp_path / "whole"))


def test_ctrl_c_saves_a_model_that_can_be_sampled(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    process = start("train", corpus, "-o", run, "--budget", "10m", *SMALL)
    wait_for(lambda: (run / "log.jsonl").exists() and len(log(run)) > 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert (run / "last.safetensors").exists()
    assert charlm("sample", run, "--length", 5).returncode == 0


def test_a_finished_run_can_go_further(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    charlm("train", corpus, "-o", run, "--steps", 20, *SMALL)
    again = charlm("train", "--resume", run)
    assert again.returncode == 1
    assert b"has reached its end" in again.stderr
    further = charlm("train", "--resume", run, "--steps", 30)
    assert further.returncode == 0
    assert b"any more" not in further.stderr
    assert log(run)[-1]["steps"] == 30


def test_a_length_that_another_takes_the_place_of_is_told(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    charlm("train", corpus, "-o", run, "--steps", 20, "--budget", "1h", *SMALL)
    further = charlm("train", "--resume", run, "--epochs", 0.5)
    assert further.returncode == 0
    for gone in (b"--steps 20 of the run", b"--budget 3600 of the run"):
        assert gone in further.stderr
    assert log(run)[-1]["steps"] > 20


@pytest.fixture
def texts(tmp_path):
    """Two texts of the same kind."""
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("abcd efgh\n" * 300)
    other.write_text("abcd ehgf\n" * 300)
    return one, other


@pytest.mark.parametrize("seeds", [[], ["--seeds", 2]], ids=["one", "seeds"])
def test_a_new_run_that_fails_leaves_the_old_one_its_corpus(charlm, texts, tmp_path, seeds):
    run = tmp_path / "run"
    steps = ["--steps", 5, *SMALL, *seeds]
    assert charlm("train", texts[0], "-o", run, *steps).returncode == 0
    before = tree(run)
    wrong = ["--bidirectional", "--peek", 5]
    done = charlm("train", texts[1], "-o", run, "--force", *steps, *wrong)
    assert done.returncode == 1
    assert b"leave --peek out" in done.stderr
    assert tree(run) == before
    one = run / "seed-1" if seeds else run
    assert charlm("train", "--resume", one, "--steps", 8).returncode == 0


def test_a_new_run_that_was_killed_leaves_the_old_one_its_corpus(charlm, texts, tmp_path):
    """Between the corpus of the new run and its beginning."""
    run = tmp_path / "run"
    assert charlm("train", texts[0], "-o", run, "--steps", 5, *SMALL).returncode == 0
    (run / "corpus").rename(run / ".corpus.kept.tmp")
    assert charlm("prep", texts[1], "-o", run / "corpus").returncode == 0
    assert charlm("train", "--resume", run, "--steps", 8).returncode == 0
    assert not (run / ".corpus.kept.tmp").exists()


def test_a_new_run_takes_the_place_of_the_old_one_and_its_corpus(charlm, texts, tmp_path):
    run = tmp_path / "run"
    for text in texts:
        done = charlm("train", text, "-o", run, "--force", "--steps", 5, *SMALL)
        assert done.returncode == 0, done.stderr.decode()
    assert charlm("train", "--resume", run, "--steps", 8).returncode == 0
    names = {path.name for path in run.iterdir()}
    assert names == {"corpus", "log.jsonl", "last.safetensors", "model.safetensors"}


def test_a_corpus_that_is_gone_is_not_taken_for_another(charlm, texts, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    charlm("prep", texts[1], "-o", data)
    charlm("train", texts[0], "-o", run, "--steps", 5, *SMALL)
    charlm("train", data, "-o", run, "--force", "--steps", 5, *SMALL)
    data.rename(tmp_path / "moved")
    done = charlm("train", "--resume", run, "--steps", 8)
    assert done.returncode == 1
    assert f"{data}, the corpus of {run}, is not there any more" in done.stderr.decode()


def test_a_corpus_that_changed_is_refused(charlm, tmp_path):
    text, data, run = tmp_path / "a.txt", tmp_path / "data", tmp_path / "run"
    text.write_text("abcd efgh\n" * 300)
    charlm("prep", text, "-o", data)
    charlm("train", data, "-o", run, "--steps", 5, *SMALL)
    text.write_text("abcd ehgf\n" * 300)
    charlm("prep", text, "-o", data, "--force")
    done = charlm("train", "--resume", run, "--steps", 10)
    assert done.returncode == 1
    assert b"has changed since" in done.stderr


def test_a_corpus_that_moved_can_be_named(charlm, corpus, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    data = tmp_path / "data"
    data.mkdir()
    for file in corpus.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    charlm("train", data, "-o", run, "--steps", 5, *SMALL)
    data.rename(moved)
    assert charlm("train", "--resume", run, "--steps", 10).returncode == 1
    assert charlm("train", moved, "--resume", run, "--steps", 10).returncode == 0


def test_patience_stops_a_run_that_no_longer_gets_better(charlm, tmp_path):
    text = tmp_path / "noise.txt"
    text.write_text("ab\n" * 30 + "".join("xyzuvw"[(i * i) % 6] for i in range(3000)))
    done = charlm(
        "train", text, "-o", tmp_path / "run", "--steps", 5000, "--eval-every", 10,
        "--patience", 2, "--lr", "0.05", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    entries = [entry for entry in log(tmp_path / "run") if "best" in entry]
    assert entries[-1]["steps"] < 5000
    assert [entry["best"] for entry in entries[-2:]] == [False, False]
    again = charlm("train", "--resume", tmp_path / "run")
    assert again.returncode == 1
    assert b"--patience" in again.stderr


def test_a_run_that_learned_nothing_is_told_what_helps(charlm, tmp_path):
    text = "abcd efgh\n" * 900
    (tmp_path / "t").write_text(text + text[:900][::-1])  # it ends otherwise
    small = [*SMALL, "--steps", 20, "--lr", "1e6"]
    done = charlm("train", tmp_path / "t", "-o", tmp_path / "r", *small)
    assert done.returncode == 0
    told = done.stderr.decode()
    assert "worse than guessing" in told
    assert "lower --lr" in told


@pytest.mark.parametrize(
    ("tokens", "updates", "times_guessing", "remedy"),
    [
        (9000, 60, 1.1, "lower --lr"),
        (9000, 20, 1.1, "so few updates"),
        (600, 60, 1.1, "too little text"),
        (600, 20, 1.3, "lower --lr"),  # nothing else explains a loss so far above guessing
    ],
)
def test_what_helps_follows_from_the_run(tokens, updates, times_guessing, remedy):
    size = SimpleNamespace(tokens=tokens)
    corpus = SimpleNamespace(size=lambda split: size)
    run = SimpleNamespace(config=SimpleNamespace(lr=0.01), corpus=corpus)
    assert remedy in progress._remedy(run, updates, times_guessing)


def test_peek_shows_a_sample_on_stderr(charlm, corpus, tmp_path):
    done = charlm("train", corpus, "-o", tmp_path / "r", "--steps", 10, "--peek", 40, *SMALL)
    assert done.returncode == 0
    assert len(done.stderr) > 40
    assert done.stdout == b""


def test_evaluation_does_not_change_training(charlm, corpus, tmp_path):
    steps = ["--steps", 60, "--dropout", "0.2", *SMALL]
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    charlm("train", corpus, "-o", often, "--eval-every", 7, "--peek", 5, *steps)
    charlm("train", corpus, "-o", seldom, "--eval-every", 1000, *steps)
    losses = [
        [entry["loss_nats"] for entry in log(run) if "loss_nats" in entry]
        for run in (often, seldom)
    ]
    assert losses[0] == losses[1]


def test_nan_stops_with_advice_and_leaves_the_last_good_files(charlm, corpus, tmp_path):
    done = charlm(
        "train", corpus, "-o", tmp_path / "run", "--steps", 300, "--optimizer", "sgd",
        "--lr", "1e30", "--clip", 0, "--cell", "rnn-relu", *SMALL,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"--lr" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-o", "r"], 2, "CORPUS"),
        (["CORPUS"], 2, "-o RUN"),
        (["CORPUS", "-o", "r", "--resume", "r"], 2, "--resume RUN"),
        (["nowhere", "-o", "r"], 1, "nowhere"),
        (["CORPUS", "-o", "r", "--steps", "5", "--epochs", "1"], 1, "one of them"),
        (["CORPUS", "-o", "r", "--cell", "lstn"], 2, "lstm"),
        (["CORPUS", "-o", "r", "--lr", "-1"], 2, "--lr"),
        (["CORPUS", "-o", "r", "--lr", "nan"], 1, "lr"),
        (["CORPUS", "-o", "r", "--budget", "soon"], 2, "length of time"),
        (["CORPUS", "-o", "r", "--average", "mean"], 2, "nt-asgd"),
        (["CORPUS", "-o", "r", "--weight-drop", "1"], 2, "--weight-drop"),
        (["CORPUS", "-o", "r", "--weight-drop", "0.1", "--cell", "mingru"], 1, "mingru"),
        (["CORPUS", "-o", "r", "--dropout-kind", "odd"], 2, "variational"),
        (["CORPUS", "-o", "r", "--mixtures", "0"], 2, "--mixtures"),
        (["CORPUS", "-o", "r", "--average-share", "0.6"], 2, "--average-share"),
        (["CORPUS", "-o", "r", "--tied", "--bidirectional", "--steps", "5"], 1, "tied"),
        (["--resume", "nowhere"], 1, "nowhere"),
        (["--resume", "nowhere", "--width", "5"], 2, "--width"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, corpus, tmp_path, args, code, words):
    done = charlm("train", *[corpus if a == "CORPUS" else a for a in args], cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""


@pytest.mark.parametrize(("budget", "steps"), [("1h", 3), ("4s", 10**7)])
def test_of_a_budget_and_steps_the_first_ends_the_run(charlm, corpus, tmp_path, budget, steps):
    run = tmp_path / "run"
    done = charlm("train", corpus, "-o", run, "--budget", budget, "--steps", steps, *SMALL)
    assert done.returncode == 0, done.stderr
    assert 0 < log(run)[-1]["steps"] <= steps
    assert (log(run)[-1]["steps"] == steps) == (steps == 3)


def test_an_existing_run_is_not_overwritten_without_force(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    train = ["train", corpus, "-o", run, "--steps", 3, *SMALL]
    assert charlm(*train).returncode == 0
    before = (run / "model.safetensors").read_bytes()
    refused = charlm(*train)
    assert refused.returncode == 1
    assert b"--force" in refused.stderr
    assert (run / "model.safetensors").read_bytes() == before
    assert charlm(*train, "--force").returncode == 0


def test_two_processes_do_not_train_in_one_directory(charlm, corpus, tmp_path):
    run = tmp_path / "run"
    process = start("train", corpus, "-o", run, "--steps", 10**7, *SMALL)
    wait_for((run / "last.safetensors").exists, process)
    for second in (["--resume", run], [corpus, "-o", run, "--force", *SMALL]):
        done = charlm("train", *second)
        assert done.returncode == 1
        assert b"another process is training" in done.stderr
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr.decode()


def test_several_corpora_are_one_run(charlm, corpus, tmp_path):
    tokenizer = corpus / "tokenizer.json"
    prep = ["prep", "-", "--tokenizer", tokenizer, "-o", tmp_path / "more"]
    assert charlm(*prep, stdin="the king shall have his own again.\n" * 100).returncode == 0
    run = tmp_path / "run"
    done = charlm("train", corpus, tmp_path / "more", "-o", run, "--steps", 5, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    assert b"joining 2 corpora" in done.stderr
    sizes = [
        json.loads((data / "corpus.json").read_text())["splits"]["train"]["tokens"]
        for data in (corpus, tmp_path / "more", run / "corpus")
    ]
    assert sizes[2] == sizes[0] + sizes[1]
    assert charlm("train", "--resume", run, "--steps", 8).returncode == 0
    assert charlm("train", corpus, "-", "-o", tmp_path / "r").returncode == 2
