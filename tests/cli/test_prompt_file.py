"""A prompt in a file: its last newline ends the file's last line, and is not part of the prompt."""

import pytest

SEED = ("--seed", 3)


def output(charlm, *args, stdin=""):
    done = charlm(*args, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("command", ["sample", "next"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_one_newline_at_the_end_of_a_file_is_not_of_the_prompt(
    charlm, model, tmp_path, command, end, way
):
    options = (*SEED, "--length", 20) if command == "sample" else ()
    wanted = output(charlm, command, model, "--prompt", "the king", *options)
    file = tmp_path / "prompt"
    file.write_bytes(f"the king{end}".encode())
    given, stdin = (file, "") if way == "file" else ("-", file.read_bytes())
    assert output(charlm, command, model, "--prompt-file", given, *options, stdin=stdin) == wanted


@pytest.mark.parametrize("lines", [1, 2])
def test_further_newlines_are_of_it(charlm, model, lines):
    found = output(charlm, "next", model, "--prompt-file", "-", stdin="the king" + "\n" * lines)
    assert found == output(charlm, "next", model, "--prompt", "the king" + "\n" * (lines - 1))


def test_a_model_of_lines_reads_a_file_that_is_a_line(charlm, names_model, tmp_path):
    (tmp_path / "prompt").write_text("ann\n")
    args = ("sample", names_model, *SEED)
    wanted = output(charlm, *args, "--prompt", "ann")
    assert output(charlm, *args, "--prompt-file", tmp_path / "prompt") == wanted


def test_a_file_of_one_newline_is_no_prompt(charlm, model):
    args = ("sample", model, *SEED, "--length", 20)
    assert output(charlm, *args, "--prompt-file", "-", stdin="\n") == output(charlm, *args)
