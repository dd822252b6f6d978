"""`make demo` and `make setup`: what each installs."""

import os
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def installed(target, folder):
    """What pip is asked to install when `make target` is the first thing done, in order."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    lines = subprocess.run(
        ["make", "--dry-run", f"VENV={folder}/venv", target],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [re.search(r"-e (\S+)$", line).group(1) for line in lines if "pip install" in line]


def test_demo_installs_what_charlm_needs_and_setup_the_rest(tmp_path):
    assert installed("demo", tmp_path) == ["."]
    assert installed("setup", tmp_path) == [".", "'.[dev]'"]


def test_setup_completes_what_demo_began(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / ".installed").touch()
    assert installed("demo", tmp_path) == []
    assert installed("setup", tmp_path) == ["'.[dev]'"]
