"""A run's figures as TensorBoard shows them, in event files."""

from pathlib import Path
from typing import Any

from charlm.errors import ConfigError
from charlm.packages import missing_packages_named, require

# What is written under which name, and what the log calls it.
SCALARS = {
    "loss/train_nats_per_token": "loss_nats",
    "bits_per_char/train": "bits_per_char",
    "bits_per_char/val": "val_bits_per_char",
    "learning_rate": "lr",
}
SPEED = "chars_per_second"


def check(out: Path) -> None:
    """Raises ConfigError where no board can be in `out`. It takes no torch."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; --tensorboard names a directory.")
    require("tensorboard")


class Board:
    """Writes what a run logs to the directory `out`, which is made with the first of it.

    Raises ConfigError where tensorboard is not installed, or `out` is a file.
    """

    def __init__(self, out: Path) -> None:
        check(out)
        with missing_packages_named():
            from torch.utils.tensorboard import SummaryWriter
        self._open = lambda: SummaryWriter(out)
        self._writer: SummaryWriter | None = None
        self._before: dict[str, Any] | None = None

    def report(self, entry: dict[str, Any]) -> None:
        """Takes an object of the log."""
        if self._writer is None:
            self._writer = self._open()
        for name, key in SCALARS.items():
            if key in entry:
                self._writer.add_scalar(name, entry[key], entry["steps"])
        if "chars" not in entry:
            return
        before, self._before = self._before, entry
        # A run that went back has read fewer characters than before.
        if before is not None and entry["chars"] > before["chars"]:
            elapsed_s = entry["elapsed_s"] - before["elapsed_s"]
            speed = (entry["chars"] - before["chars"]) / max(elapsed_s, 1e-9)
            self._writer.add_scalar(SPEED, speed, entry["steps"])

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.close()
