"""What tests of the process share: small file systems."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def disk(tmp_path):
    """Makes a file system of so many KiB in `tmp_path / name`; skips where none can be mounted."""
    mounted = []

    def make(size_kib, name="disk"):
        folder = Path(tmp_path, name)
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True)
        except FileNotFoundError:
            pytest.skip("there is no mount on this machine")
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(disk):
    """A file system of 4 KiB."""
    return disk(4)
