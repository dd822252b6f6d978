"""What a terminal is sent: no control characters of a text, a model or a message."""

import json
import os
import pty
import subprocess

import pytest
from support.commands import forked

from charlm import model_file
from charlm.cli import main
from charlm.cli.progress import Progress
from charlm.cli.shading import harmless, json_line
from charlm.cli.writers import Plain

UPSETTING = "\x1b]0;title\x07\x9b2J\rthe\tking\n"


def test_controls_are_shown_but_newline_and_tab():
    assert harmless(UPSETTING) == "\\x1b]0;title\\x07\\u009b2J\\rthe\tking\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sample_is_shown_on_a_terminal_and_written_as_it_is_elsewhere(
    capsys, monkeypatch, terminal
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    Plain(lambda row: "")._write(UPSETTING)
    assert ("\x1b" in capsys.readouterr().out) == (not terminal)


def test_scored_text_is_shown(model, tmp_path):
    (tmp_path / "text").write_text("the king\x1b[2J\n")
    ours, theirs = pty.openpty()
    command = [*forked(), "score", str(model), str(tmp_path / "text")]
    done = subprocess.run([*command, "--text-only"], stdout=theirs, timeout=120)
    os.close(theirs)
    assert done.returncode == 0
    assert os.read(ours, 1000) == b"the king\\x1b[2J\r\n"
    os.close(ours)


def test_what_a_model_says_of_itself_is_shown(model, tmp_path, capsys):
    whole = model_file.load(model)
    upsetting = model_file.Model(**{**vars(whole), "history": {"\x1b[1m": "\x1b[2J"}})
    model_file.save(upsetting, tmp_path / "m")
    assert main(["info", str(tmp_path / "m")]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["info", str(tmp_path / "\x1b[2J")]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_json_is_the_same_value_but_harmless_on_a_terminal(monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    value = {"text": UPSETTING + "\x7f\x85é\u4e2d", "\x9b": [1.5, None]}
    line = json_line(value)
    assert json.loads(line) == value
    assert "é\u4e2d" in line
    assert bool(set(line) & set("\x7f\x85\x9b")) == (not terminal)


def test_scored_text_is_harmless_as_json(model, tmp_path):
    (tmp_path / "text").write_text("the king\x9b2J\n")
    ours, theirs = pty.openpty()
    command = [*forked(), "score", str(model), str(tmp_path / "text")]
    done = subprocess.run([*command, "--json"], stdout=theirs, timeout=120)
    os.close(theirs)
    shown = os.read(ours, 10_000)
    os.close(ours)
    assert done.returncode == 0
    assert b"\xc2\x9b" not in shown
    assert json.loads(shown)["text"] == "the king\x9b2J"


def test_what_a_run_says_is_harmless(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    Progress().say("a sample: \x1b[2J\x9b")
    assert capsys.readouterr().err == "a sample: \\x1b[2J\\u009b\n"
