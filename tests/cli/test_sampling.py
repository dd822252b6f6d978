"""`charlm sample` as a filter: many prompts, chosen samples, states, endless and watched text."""

import json
import math
import os
import pty
import select
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from support.commands import forked

from charlm.cli import follow

SEED = ("--seed", 7)


@pytest.fixture(scope="module")
def sample(charlm, model):
    """Runs `charlm sample` on the shared model; what it wrote, as text."""

    def run(*args, stdin="", of=model):
        done = charlm("sample", of, *args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


PROMPTS = ["the king", "what", "", "i know not; the night", "my lord"] * 30


def test_every_line_is_completed_in_order(sample):
    lines = sample("--per-line", *SEED, "--length", 12, stdin="\n".join(PROMPTS) + "\n")
    lines = lines.split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(PROMPTS)
    for prompt, line in zip(PROMPTS, lines, strict=True):
        assert line.startswith(prompt)
        assert len(line) <= len(prompt) + 12


def test_a_line_is_completed_the_same_whatever_stands_beside_it(sample):
    several = sample("--per-line", *SEED, stdin="\n".join(PROMPTS[:40])).split("\n")
    assert sample("--per-line", *SEED, stdin="\n".join(PROMPTS[:2])).split("\n")[:2] == several[:2]
    # Line 0 alone is sample 0 of a prompt.
    alone = sample("--prompt", PROMPTS[0], *SEED, "--until-record")
    assert alone == several[0] + "\n"


def test_records_may_end_with_nul(sample):
    found = sample("--per-line", "-0", *SEED, "--length", 90, "--no-echo", stdin="the\0what\0")
    texts = found.split("\0")
    assert texts.pop() == ""
    assert [len(text) for text in texts] == [90, 90]
    assert "\n" in "".join(texts)


def test_json_tells_all_of_a_completion(sample):
    found = objects(sample("--per-line", "--json", *SEED, "--length", 9, stdin="the\nwhat\n"))
    for k, (one, prompt) in enumerate(zip(found, ["the", "what"], strict=True)):
        assert one.keys() == {"sample", "seed", "prompt", "text", "bits_per_char", "stopped"}
        assert (one["sample"], one["seed"], one["prompt"]) == (k, 7, prompt)
        assert one["text"].startswith(prompt)
        assert one["bits_per_char"] > 0
        assert one["stopped"] in ("length", "stop")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_answered_before_the_next_is_there(model, form):
    command = [*forked(), "sample", model, "--per-line", "--length", "5"]
    command += ["--json"] if form == "json" else []
    with subprocess.Popen(
        [*map(str, command), "--seed", "7"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        for prompt in (b"the", b"what"):
            process.stdin.write(prompt + b"\n")
            assert select.select([process.stdout], [], [], 60)[0], "no answer"
            answer = process.stdout.readline()
            text = json.loads(answer)["prompt"].encode() if form == "json" else answer
            assert text.startswith(prompt)
        process.stdin.close()
        assert process.stdout.read() == b""


def test_an_unknown_character_in_a_prompt_names_its_line(charlm, model):
    done = charlm("sample", model, "--per-line", "--length", 5, stdin="the\nwh\u00e4t\n")
    assert done.returncode == 1
    assert done.stdout.startswith(b"the")
    assert b"line 2" in done.stderr
    assert b"U+00E4" in done.stderr


def test_a_model_of_bytes_completes_bytes(charlm, tmp_path):
    text = b"\xff\xfe and the\n" * 100
    assert (
        charlm("prep", "-", "-o", tmp_path / "data", "--level", "byte", stdin=text).returncode == 0
    )
    options = ("--steps", 3, "--width", 8, "--batch", 4, "--context", 8, "--device", "cpu")
    assert charlm("train", tmp_path / "data", "-o", tmp_path / "run", *options).returncode == 0
    done = charlm("sample", tmp_path / "run", "--per-line", "--length", 2, stdin=b"\xff\n")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"\xff")


def test_sample_k_alone_is_sample_k_of_many(sample):
    many = objects(sample("-n", 70, "--json", "--length", 40, *SEED))
    for k in (0, 5, 69):
        (one,) = objects(sample("--only", k, "--json", "--length", 40, *SEED))
        assert one == many[k]


def test_bits_per_char_are_what_score_says(charlm, model, sample):
    (one,) = objects(sample("--json", "--length", 60, *SEED, "--temperature", 0.5))
    from charlm import model_file
    from charlm.sampling.engine import NumpyEngine
    from charlm.score import token_nats

    loaded = model_file.load(model)
    ids = loaded.tokenizer.encode("\n" + one["text"])
    nats, _ = token_nats(NumpyEngine(loaded.network, loaded.weights), ids)
    assert one["bits_per_char"] == pytest.approx(nats[1:].mean() / math.log(2), abs=1e-4)


def test_the_best_are_the_likeliest_and_distinct(sample):
    options = ("-n", 60, "--length", 8, *SEED, "--temperature", 0.6, "--json")
    everything = objects(sample(*options))
    first = {}
    for one in everything:
        first.setdefault(one["text"], one)
    expected = sorted(first.values(), key=lambda one: one["bits_per_char"])
    assert len(first) < len(everything)
    assert objects(sample(*options, "--unique", "--best", 5)) == expected[:5]
    assert objects(sample(*options, "--unique")) == list(first.values())


def test_going_on_from_a_state_is_reading_the_prompt_again(sample, tmp_path):
    prompt, state = "the king shall have", tmp_path / "king.state"
    long = sample("--prompt", prompt * 20, "--save-state", state, "--no-echo", *SEED)
    size = state.stat().st_size
    assert sample("--state", state, *SEED) == long
    sample("--prompt", prompt, "--save-state", state, *SEED)
    assert abs(state.stat().st_size - size) < 64
    rest = sample("--state", state, "--prompt", " his own", *SEED, "--length", 50)
    whole = sample("--prompt", prompt + " his own", *SEED, "--length", 50)
    assert prompt + rest == whole


def test_only_a_state_gives_way_to_a_state(charlm, model, tmp_path):
    precious, nowhere = tmp_path / "precious", tmp_path / "no" / "where"
    precious.write_text("precious")
    done = charlm("sample", model, "--save-state", precious)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{precious} exists and is no state" in done.stderr.decode()
    assert precious.read_text() == "precious"
    done = charlm("sample", model, "--save-state", nowhere)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith(f"charlm: {nowhere}: ")


def test_a_state_of_another_model_is_refused(charlm, sample, names_model, tmp_path):
    state = tmp_path / "state"
    sample("--prompt", "the", "--save-state", state)
    done = charlm("sample", names_model, "--state", state)
    assert done.returncode == 1
    assert b"another model" in done.stderr
    state.write_bytes(state.read_bytes()[:-5])
    assert charlm("sample", names_model, "--state", state).returncode == 1


def test_banned_characters_are_never_drawn(sample):
    text = sample("--ban", "eo", "--length", 300, *SEED)
    assert not set("eo") & set(text)
    assert set(sample("--allow", "aeh ", "--length", 50, *SEED)) <= set("aeh \n")


def test_the_whole_sample_matches(sample):
    import re

    pattern = r"[a-z]{2,6}( [a-z]{1,5}){2}[.,]"
    lines = sample("--match", pattern, "-n", 30, "--length", 20, *SEED).split("\n\n")
    assert len(lines) == 30
    for line in lines:
        assert re.fullmatch(pattern, line.strip("\n"))


def test_lines_and_records_end_a_sample(sample, names_model):
    assert sample("--max-lines", 3, *SEED).count("\n") == 3
    assert sample("--until-record", *SEED, "--prompt", "the").count("\n") == 1
    names = sample("-n", 5, "--until-record", *SEED, of=names_model)
    assert names == sample("-n", 5, *SEED, of=names_model)


def test_a_trace_tells_of_every_symbol(sample):
    text = sample("--length", 30, *SEED)
    rows = [line.split("\t") for line in sample("--trace", "--length", 30, *SEED).splitlines()]
    assert "".join({"' '": " "}.get(row[0], row[0]) for row in rows[:3]).strip() in text
    assert len(rows) == 30
    for symbol, p, bits, *others in rows:
        assert float(bits) == pytest.approx(-math.log2(max(float(p), 1e-9)), abs=0.8)
        assert len(others) == 3
        assert all(not other.startswith(f"{symbol}:") for other in others)


def test_characters_are_due_at_a_steady_rate_and_what_was_late_is_not_made_up_for(monkeypatch):
    now, written = 100.0, []

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    writer = SimpleNamespace(emit=lambda row, text: written.append((text, now)))
    paced = follow.Paced(writer, 4.0)
    paced.emit(None, "ab")
    now += 10  # the reader was away
    paced.emit(None, "cde")
    assert [text for text, _ in written] == list("abcde")
    assert [at - 100 for _, at in written] == [0.25, 0.5, 10.5, 10.75, 11.0]


def test_endless_text_is_written_until_the_pipe_closes(model):
    command = [*forked(), "sample", str(model), "--follow", "--rate", "200"]
    with subprocess.Popen(
        [*command, "--seed", "7"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(1)
        assert len(process.stdout.read(100)) == 100
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert b"Traceback" not in process.stderr.read()


def test_a_conversation_keeps_or_draws_again(charlm, model, sample):
    typed = "the king\nr\n\n what\nq\n"
    done = charlm("sample", model, "--interactive", "--length", 10, *SEED, stdin=typed)
    assert done.returncode == 0, done.stderr.decode()
    king = ("--prompt", "the king", "--length", 10, *SEED)
    first, again = (sample(*king, "--only", k) for k in (0, 1))
    assert first != again
    kept = objects(sample(*king, "--only", 1, "--json"))[0]["text"]
    more = sample("--prompt", f"{kept} what", "--no-echo", "--length", 10, *SEED, "--only", 2)
    assert done.stdout.decode() == f"{first}{again} what{more}"


def test_a_conversation_on_a_terminal_has_line_editing(model):
    ours, theirs = pty.openpty()
    command = [*forked(), "sample", str(model), "-i", "--length", "5"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"> " not in shown:
        shown += os.read(ours, 1000)
    # Backspace is the line's, and not the model's.
    os.write(ours, b"thx\x7fe\n")
    while b"quit (q)?" not in shown:
        shown += os.read(ours, 1000)
    assert b"\nthe" in shown.replace(b"\r", b"")
    os.write(ours, b"q\n")
    assert process.wait(timeout=20) == 0
    os.close(ours)


def test_novel_leaves_out_what_is_copied_and_json_marks_it(charlm, tmp_path):
    text = "\n".join(["the king shall have his own again.", "what say you to that, my lord?"] * 200)
    done = charlm("prep", "-", "-o", tmp_path / "data", "--index", stdin=text)
    assert done.returncode == 0, done.stderr.decode()
    done = charlm(
        "train", tmp_path / "data", "-o", tmp_path / "run", "--steps", 150, "--width", 32,
        "--batch", 8, "--context", 32, "--seed", 1, "--device", "cpu", "--ngram", 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    common = ("-n", 20, "--length", 40, *SEED, "--index", tmp_path / "data", "--novel", 9)
    done = charlm("sample", tmp_path / "run", *common, "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = objects(done.stdout.decode())
    assert {one["novel"] for one in found} == {True, False}
    for one in found:
        run = one["longest_match"]["text"]
        assert run in text
        assert run in one["text"]
        assert one["novel"] == (len(run) < 9)
    done = charlm("sample", tmp_path / "run", *common)
    kept = [one["text"] for one in found if one["novel"]]
    lines = (one if one.endswith("\n") else f"{one}\n" for one in kept)
    assert done.stdout.decode() == "\n".join(lines)
    assert f"{20 - len(kept)} of 20" in done.stderr.decode()


@pytest.mark.parametrize(
    "args",
    [
        ["--per-line", "--prompt", "a"],
        ["--per-line", "-n", 2],
        ["--follow", "--json"],
        ["--interactive", "--trace"],
        ["--novel", 5],
        ["--rate", 5],
        ["--best", 0],
        ["--ban", ""],
        ["--only", 1, "-n", 3],
        ["--match", "a+", "--stop", "b"],
        ["--interactive", "--save-state", "state"],
        ["--follow", "--length", 0],
        ["--state", "state", "--device", "cuda"],
    ],
)
def test_options_that_are_of_no_use_together_are_wrong_usage(charlm, model, args):
    done = charlm("sample", model, *args)
    assert done.returncode == 2, done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--match", "("], "("),
        (["--allow", "\u00e4"], "U+00E4"),
        (["--state", "nowhere"], "nowhere"),
        (["--novel", 5, "--index", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(charlm, model, args, words):
    done = charlm("sample", model, *args)
    assert done.returncode == 1, done.stderr.decode()
    assert words in done.stderr.decode()
    assert done.stderr.decode().count("\n") == 1


def test_what_a_state_holds_is_checked(sample, model, tmp_path):
    from charlm import model_file
    from charlm.errors import DataError
    from charlm.sampling import states
    from charlm.sampling.engine import NumpyEngine
    from charlm.sampling.generate import Place, read

    loaded = model_file.load(model)
    place = read(NumpyEngine(loaded.network, loaded.weights), [1, 2])
    states.save(place, loaded, tmp_path / "state")
    again = states.load(tmp_path / "state", loaded)
    np.testing.assert_array_equal(again.logits, place.logits)
    wrong = [
        Place(place.logits[:, 1:], place.state),
        Place(place.logits * np.nan, place.state),
        Place(place.logits.astype(np.float64), place.state),
        Place(place.logits, place.state[1:]),
    ]
    for other in wrong:
        states.save(other, loaded, tmp_path / "state")
        with pytest.raises(DataError, match="damaged"):
            states.load(tmp_path / "state", loaded)
