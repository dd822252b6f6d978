"""What takes long moves a bar on a terminal, and what waits for one says so."""

import os
import pty

import pytest
from support.commands import start

from charlm.cli import bars, main

KNOWN = "the king shall have his own again.\n"


@pytest.fixture
def bars_shown(monkeypatch):
    """What each bar of a command is made with, and how far it comes; stderr is a terminal."""
    found = []

    class Bar:
        def __init__(self, total, **others):
            self.total, self.n = total, 0
            found.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        close = __exit__

        def update(self, more):
            self.n += more

        def clear(self):
            pass

        def write(self, line, file):
            file.write(f"{line}\n")

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(bars, "SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    return found


@pytest.mark.parametrize(
    "args",
    [
        ["prep", "text", "-o", "corpus"],
        ["eval", "model", "text"],
        ["eval", "model", "text", "--cache", "10"],
        ["compare", "model", "model", "text"],
        ["score", "model", "text", "--worst", "2"],
        ["score", "model", "text", "--sort"],
        ["compress", "model", "text", "-o", "out"],
        ["sample", "model", "--prompt-file", "text", "--length", "1"],
        ["next", "model", "--prompt-file", "text"],
        ["inspect", "model", "text"],
        ["inspect", "model", "text", "--unit", "0.h.0"],
        ["inspect", "model", "text", "--units"],
    ],
    ids=" ".join,
)
def test_a_bar_comes_to_the_end_of_the_text(model, tmp_path, monkeypatch, bars_shown, args):
    (tmp_path / "text").write_text(KNOWN * 40)
    monkeypatch.chdir(tmp_path)
    assert main([str(model) if arg == "model" else arg for arg in args]) == 0
    assert bars_shown
    for bar in bars_shown:
        # A text is read after a newline that is not part of it, and so is a prompt, which goes
        # without its last one.
        assert bar.total is None or abs(bar.total - bar.n) <= 1
        assert abs(bar.n - len(KNOWN * 40)) <= 1


@pytest.mark.parametrize(
    "args",
    [
        ["eval", "model", "text", "--protocol", "nanogpt"],
        ["eval", "mixed", "text", "--parts"],
        ["inspect", "model", "text", "--memory", "--back", "10"],
        ["inspect", "model", "text", "--gradient", "--back", "10"],
        ["report", "model", "-o", "page"],
        ["fill", "both", "gaps", "--seed", "1"],
        ["fill", "both", "gaps", "--seed", "1", "-n", "3", "--json"],
        ["fill", "both", "gap", "--seed", "1", "--passes", "5"],
        ["score", "model", "one", "--worst", "2", "--cache", "10"],
    ],
    ids=" ".join,
)
def test_a_bar_comes_to_its_end(
    model, mixed_model, both_sides_model, tmp_path, monkeypatch, bars_shown, args
):
    (tmp_path / "text").write_text(KNOWN * 40)
    (tmp_path / "one").write_text(KNOWN.replace("\n", " ") * 20)
    (tmp_path / "gaps").write_text("the k___ shall have ___ own again.\n")
    (tmp_path / "gap").write_text("the k___ shall have his own again.\n")
    monkeypatch.chdir(tmp_path)
    given = {"model": str(model), "mixed": str(mixed_model), "both": str(both_sides_model)}
    assert main([given.get(arg, arg) for arg in args]) == 0
    assert bars_shown
    for bar in bars_shown:
        # Half of the tokens of a protocol's windows are those of the text; the last is not whole.
        left = 257 if "--protocol" in args else 0
        # And the end of a record counts where the text lacks it.
        assert -1 <= bar.total - bar.n <= left


def test_a_bar_is_for_a_terminal_and_for_what_takes_a_while(capsys):
    with bars.Bar(10) as bar:
        bar.update(5)
    assert capsys.readouterr().err == ""
    assert bars.SHOWN_AFTER_S > 0


@pytest.mark.parametrize(
    "line",
    [
        "score RUN",
        "decompress RUN",
        "compress RUN -o new",
        "fill BOTH",
        "inspect RUN -",
        "sample RUN --per-line",
        "sample RUN --prompt-file -",
        "next RUN --prompt-file -",
        "prep - -o new",
        "prep --files-from - -o new",
        "train - -o new",
    ],
)
def test_who_waits_for_a_terminal_says_so(model, both_sides_model, tmp_path, line):
    given = {"RUN": model, "BOTH": both_sides_model}
    ours, theirs = pty.openpty()
    args = [given.get(word, word) for word in line.split()]
    process = start(*args, stdin=theirs, cwd=tmp_path)
    os.close(theirs)
    said = b"reading from the terminal; Ctrl-D ends the text\n"
    assert said in iter(process.stderr.readline, b"")
    os.write(ours, b"\x04")  # once is enough
    process.communicate(timeout=60)
    os.close(ours)
