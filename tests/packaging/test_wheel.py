"""What is shipped: a wheel that works away from the repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT as REPOSITORY

from charlm import corpora

pytestmark = pytest.mark.slow
PACKAGED = ("py", "html", "css", "js")
# Pages are no modules, and must not be forgotten.
PAGES = ("charlm/reporting/template/report.html", "charlm/serving/page/playground.html")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the source distribution, which so is tested with it."""
    built = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", built, REPOSITORY]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(built.glob("*.whl"))


def test_wheel_has_the_whole_package_and_its_man_pages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [p for kind in PACKAGED for p in (REPOSITORY / "charlm").rglob(f"*.{kind}")]
    packaged = {str(path.relative_to(REPOSITORY)) for path in files}
    assert shipped >= packaged | {"charlm/corpora.toml", *PAGES}
    beside = {name for name in shipped if not name.startswith("charlm/")}
    pages = (REPOSITORY / "charlm" / "man").glob("*.1")
    assert {Path(name).name for name in beside} == {path.name for path in pages}
    assert all(".data/data/share/man/man1/" in name for name in beside)
    assert "charlm-sample.1" in {Path(name).name for name in beside}
    assert not any(name.startswith("charlm/man/") for name in shipped)


def test_wheel_finds_its_corpora_without_the_repository(wheel, tmp_path):
    unpacked, elsewhere = tmp_path / "unpacked", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)

    def python(*arguments):
        environment = os.environ | {"PYTHONPATH": str(unpacked)}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=elsewhere,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    place = "from charlm import corpora; print(corpora.__file__, corpora.MANIFEST, sep='\\n')"
    module, manifest = map(Path, python("-c", place).splitlines())
    assert module == unpacked / "charlm" / "corpora" / "__init__.py"
    assert manifest == unpacked / "charlm" / "corpora.toml"
    assert manifest.read_bytes() == (REPOSITORY / "corpora" / "manifest.toml").read_bytes()
    listed = python("-m", "charlm", "corpus", "list", "--json").splitlines()
    assert [json.loads(line)["name"] for line in listed] == corpora.names()
