"""What charlm needs: said in one place, and no package of one feature keeps it from a Python."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from charlm.packages import OPTIONAL

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Whoever imports charlm needs these, which are built for any Python or take any.
ALWAYS = {"click", "numpy", "pooch", "safetensors", "threadpoolctl", "tokenizers", "tqdm"}


def names(requirements, python=None):
    """The packages that are installed on that `python`, such as "3.15"."""
    found = map(Requirement, requirements)
    environment = {"python_version": python} if python else {}
    return {one.name for one in found if one.marker is None or one.marker.evaluate(environment)}


def test_a_newer_python_goes_without_what_serves_one_feature():
    now, then = names(PROJECT["dependencies"]), names(PROJECT["dependencies"], "3.99")
    assert now - then == {"constriction", "outlines-core", "pydivsufsort"}
    assert then == ALWAYS | {"torch"}
    assert {name.replace("-", "_") for name in now - ALWAYS} <= set(OPTIONAL)


def test_the_list_without_torch_is_the_list_without_torch():
    lines = (REPOSITORY / "requirements-without-torch.txt").read_text().splitlines()
    wanted = [line for line in PROJECT["dependencies"] if Requirement(line).name != "torch"]
    assert [line for line in lines if not line.startswith("#")] == wanted


def test_every_package_of_an_extra_is_in_the_message_of_its_feature():
    told = {package for _, packages in OPTIONAL.values() for package in packages.split()}
    for extra in ("onnx", "plot", "serve", "tensorboard"):
        assert names(EXTRAS[extra]) <= told


ASKED = re.compile(r"\b(?:pip|pipx|uv)\b.*\b(?:install|add)(?=\s)[^\n`]*['\"\s]charlm\b(?![./-])")
TEXTS = [
    path
    for pattern in ("README.md", "SECURITY.md", "docs/**/*.md", "charlm/**/*", "tools/*", "bench/*")
    for path in sorted(REPOSITORY.glob(pattern))
    if path.suffix in (".md", ".py", ".html", ".1", ".js")
]


def test_nobody_is_sent_to_a_strangers_package():
    """The name charlm on the package index is another program's."""
    for path in TEXTS:
        text = path.read_text(encoding="utf-8").replace("\\(aq", "'").replace("\\-", "-")
        assert not ASKED.search(text), path
        assert not re.search(r"charlm\[\w+\]", text), path


@pytest.mark.parametrize(
    "line", ["pip install charlm", "pip install -U 'charlm[serve]'", "uv add charlm"]
)
def test_such_a_line_would_be_found(line):
    assert ASKED.search(line)
