"""`charlm plot` through real processes."""

import json
import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("plotext")


def plotted(charlm, *args, **more):
    done = charlm("plot", *args, **more)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def run(tmp_path):
    """A run that was logged by hand: an update is 64 tokens and half as many characters."""

    def make(name, *lines):
        (tmp_path / name).mkdir(parents=True)
        text = "".join(f"{json.dumps(line)}\n" for line in ({"version": "0"}, *lines))
        (tmp_path / name / "log.jsonl").write_text(text)
        return tmp_path / name

    return make


def report(steps, loss):
    """Two tokens are a character."""
    return {
        "steps": steps,
        "loss_nats": loss,
        "bits_per_char": loss * 2 / 0.6931471805599453,
        "chars": steps * 32,
        "elapsed_s": steps / 10,
    }


def validation(steps, nats):
    return {"steps": steps, "val_nats_per_char": nats, "elapsed_s": steps / 10}


LOG = (report(1, 4.0), report(10, 2.0), validation(10, 4.5), report(20, 1.0), validation(20, 2.5))


@pytest.mark.parametrize(
    ("args", "train", "val"),
    [
        ([], {"time": [0.1, 1, 2], "bits": [11.5416, 5.7708, 2.8854]}, {"time": [1, 2]}),
        (
            ["--x", "steps", "--y", "loss"],
            {"steps": [1, 10, 20], "loss": [4, 2, 1]},
            {"loss": [2.25, 1.25]},
        ),
        (
            ["--x", "chars"],
            {"chars": [32, 320, 640]},
            {"chars": [320, 640], "bits": [6.492, 3.607]},
        ),
    ],
)
def test_json_has_the_points(charlm, run, args, train, val):
    path = run("one", *LOG)
    points = [json.loads(line) for line in plotted(charlm, path, "--json", *args).splitlines()]
    for split, wanted in (("train", train), ("val", val)):
        mine = [point for point in points if point["split"] == split]
        assert {point["run"] for point in mine} == {str(path)}
        for name, values in wanted.items():
            assert [point[name] for point in mine] == pytest.approx(values, abs=1e-3)


def test_runs_are_drawn_together_in_the_terminal(charlm, run, tmp_path):
    run("one", *LOG), run("two", *LOG[:2])
    text = plotted(charlm, "one", "two", cwd=tmp_path)
    assert all(label in text for label in ("one train", "one val", "two train", "seconds"))
    assert "two val" not in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" in plotted(charlm, "one", "--color", "always", cwd=tmp_path)
    assert "train" not in plotted(charlm, "one", "--split", "val", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_a_picture_is_written_the_same_each_time(charlm, run, tmp_path, kind, begin):
    pytest.importorskip("matplotlib")
    path, out = run("one", *LOG), tmp_path / f"curves.{kind}"
    assert plotted(charlm, path, "-o", out) == ""
    first = out.read_bytes()
    assert first.startswith(begin)
    refused = charlm("plot", path, "-o", out)
    assert refused.returncode == 1
    assert b"--force" in refused.stderr
    plotted(charlm, path, "-o", out, "--force")
    assert out.read_bytes() == first


def test_a_real_run_and_its_seeds_can_be_drawn(charlm, model, run, tmp_path):
    assert "train" in plotted(charlm, model)
    run("several/seed-1", *LOG), run("several/seed-2", *LOG)
    text = plotted(charlm, "several", cwd=tmp_path)
    assert "several/seed-1 val" in text
    assert "several/seed-2 val" in text


def test_without_colour_every_curve_has_a_mark_of_its_own(charlm, run, tmp_path):
    run("one", *LOG), run("two", *LOG)
    text = plotted(charlm, "one", "two", cwd=tmp_path)
    marks = re.findall(r"(\S\S) (?:one|two) (?:train|val)", text)
    assert len(set(marks)) == len(marks) == 4


def test_what_a_killed_run_left_unfinished_is_passed_over(charlm, run):
    path = run("one", *LOG)
    whole = plotted(charlm, path, "--json")
    with (path / "log.jsonl").open("a") as log:
        log.write('{"steps": 30, "loss')
    assert plotted(charlm, path, "--json") == whole


def test_what_was_made_again_is_drawn_once(charlm, run):
    lost = report(20, 9.0)
    went_back = {"steps": 10, "recovered_from": 20, "remedy": "with half the rate"}
    path = run("a", *LOG[:3], lost, went_back, *LOG[3:])
    other = run("b", *LOG)
    steps = [
        [
            json.loads(line)["steps"]
            for line in plotted(charlm, one, "--x", "steps", "--json").split("\n")
            if line
        ]
        for one in (path, other)
    ]
    assert steps[0] == steps[1] == [1, 10, 20, 10, 20]


def test_a_run_without_validations_has_none_to_draw(charlm, run):
    done = charlm("plot", run("a", *LOG[:2]), "--split", "val")
    assert done.returncode == 1
    assert b"no run has been validated" in done.stderr


def test_it_says_what_to_install(run):
    without = (
        "import sys; sys.modules['plotext'] = None; from charlm.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", without, "plot", run("one", *LOG)],
        capture_output=True,
        env=os.environ,
        timeout=120,
    )
    assert done.returncode == 1
    assert b"pip install plotext" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 1, "holds no log.jsonl"),
        (["empty"], 1, "no report yet"),
        (["broken"], 1, "line 2"),
        (["one", "-o", "curves.gif"], 2, ".svg"),
        (["one", "-o", "curves.svg", "--json"], 2, "not both"),
        (["one", "-o", "nowhere/curves.svg"], 1, "not a directory"),
        (["one", "--x", "epochs"], 2, "epochs"),
        ([], 2, "RUN"),
    ],
)
def test_mistakes_are_told_in_one_line(charlm, run, tmp_path, args, code, words):
    run("one", *LOG), run("empty"), run("broken")
    (tmp_path / "broken" / "log.jsonl").write_text('{"version": "0"}\nnot json\n')
    done = charlm("plot", *args, cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert words in message
    assert "Traceback" not in message
    assert done.stdout == b""
