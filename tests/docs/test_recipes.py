"""Every pipeline of the README's recipes, run as it stands there."""

import os
import re
import shutil
import subprocess

import pytest
from support.commands import write_program
from support.paths import README as README_PATH

README = README_PATH.read_text(encoding="utf-8")
RECIPES = re.findall(
    r"^# (.*)\n\$ (.*)$",
    re.search(r"<!-- recipes -->(.*?)<!-- /recipes -->", README, re.S)[1],
    re.M,
)
ENDLESS = "tail -f"


def test_there_are_ten():
    assert len(RECIPES) == 10
    assert len({pipeline for _, pipeline in RECIPES}) == 10


@pytest.fixture(scope="module")
def folder(charlm, model, both_sides_model, names_model, tmp_path_factory):
    """A directory with every file and model that the recipes name."""
    folder = tmp_path_factory.mktemp("recipes")
    runs = {
        "run": model, "austen": model, "logs": model, "both": both_sides_model,
        "names": names_model, "melville": names_model,
    }  # fmt: skip
    for name, run in runs.items():
        shutil.copytree(run, folder / name)
    usual = ["the king shall have his own again.", "what say you to that, my lord?"]
    odd = ["zzq xkv wvz qqz jjx", "i know not; the night is lnog."]
    (folder / "dirty.txt").write_text("\n".join([usual[0], odd[0], usual[1]]) + "\n")
    (folder / "letter.txt").write_text(f"{usual[0]}\n{odd[1]}\n")
    (folder / "names.txt").write_text("anna\nbertha\nanna\ngustav\n")
    (folder / "slogans.txt").write_text("\n".join([odd[0], *usual]) + "\n")
    (folder / "unknown.txt").write_text("\n".join(usual) + "\n")
    (folder / "text.txt").write_text("\n".join(usual * 20) + "\n")
    (folder / "app.log").write_text("\n".join([usual[0], odd[0], usual[1]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment in which `charlm` is the one under test."""
    programs = tmp_path_factory.mktemp("bin")
    write_program(programs)
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("pipeline", [p for _, p in RECIPES if ENDLESS not in p])
def test_a_recipe_works(pipeline, folder, environment):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipeline],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or ">" in pipeline


def test_the_log_is_watched_as_it_grows(folder, environment):
    (pipeline,) = [p for _, p in RECIPES if ENDLESS in p]
    with subprocess.Popen(
        ["bash", "-c", f"exec {pipeline.split(' | ')[1]}"],
        cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in (folder / "app.log").read_text().splitlines():
            process.stdin.write(line + "\n")
            process.stdin.flush()
        assert "zzq" in process.stdout.readline()
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(timeout=20) == 0


def test_cleaning_keeps_the_usual_lines(folder, environment):
    (pipeline,) = [p for words, p in RECIPES if words.startswith("Clean")]
    subprocess.run(["bash", "-c", pipeline], cwd=folder, env=environment, check=True)
    dirty = (folder / "dirty.txt").read_text().splitlines()
    assert (folder / "clean.txt").read_text().splitlines() == [dirty[0], dirty[2]]
