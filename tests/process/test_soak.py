"""The short form of bench/soak.py: killed several times, a run ends as if nothing had been."""

import json
import subprocess
import sys

import pytest
from support.paths import ROOT


@pytest.mark.slow
def test_a_run_survives_being_killed():
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--kills", "5"],
        capture_output=True,
        cwd=ROOT,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr.decode()
    killed, resumed = (json.loads(line)["value"] for line in done.stdout.splitlines())
    assert killed >= resumed > 0
