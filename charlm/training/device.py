"""Where a run's arithmetic is done, and how exactly."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from charlm.config import TrainingConfig
from charlm.errors import ConfigError
from charlm.training.ranks import ALONE, Ranks
from charlm.training.standing import Listener

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def default_precision(device: torch.device) -> str:
    """The fastest arithmetic that learns as well: bfloat16, where it is not emulated.

    Two Zen 4 cores made an LSTM's products 1.6 to 1.8 times as fast with it, and Muon's twice.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def choose_device(config: TrainingConfig, listener: Listener, ranks: Ranks = ALONE) -> torch.device:
    """The device to train on, set to the config's precision; `auto` says which it took.

    Raises ConfigError where a device asked for by name is not there, or lacks the precision.
    """
    name = config.device
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and ranks.count == 1,
        "cpu": True,
    }
    if name == "auto":
        name = next(each for each, is_there in there.items() if is_there)
        count = torch.get_num_threads()
        threads = f", {count} thread{'' if count == 1 else 's'}" if name == "cpu" else ""
        processes = f", {ranks.count} processes" if ranks.count > 1 else ""
        listener.say(f"training on {name}{threads}{processes}")
    if not there[name]:
        raise ConfigError(f"there is no {name} device here; use --device auto or --device cpu.")
    if config.precision == "tf32" and name != "cuda":
        raise ConfigError(f"{name} has no tf32; use --precision float32 or bfloat16.")
    # Both ways: torch lets cuDNN round to TF32 unless it is told not to.
    torch.set_float32_matmul_precision("high" if config.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = config.precision == "tf32"
    if config.deterministic:
        # cuBLAS keeps to one order of adding up only with a workspace of a fixed size.
        os.environ.setdefault(WORKSPACE, ":4096:8")
        _compute_exactly(2, compiling=config.compile)
    if name != "cuda" or ranks.count == 1:
        return torch.device(name)
    if ranks.local >= torch.cuda.device_count():
        raise ConfigError(
            f"this machine has {torch.cuda.device_count()} GPUs, and more processes than that;"
            " give torchrun a lower --nproc-per-node."
        )
    torch.cuda.set_device(ranks.local)
    return torch.device("cuda", ranks.local)


@contextmanager
def settings_kept() -> Iterator[None]:
    """What `choose_device` and a resumed run set in torch and around it is afterwards as before."""
    threads = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    tf32 = torch.backends.cudnn.allow_tf32
    mode = torch.get_deterministic_debug_mode()
    workspace = os.environ.get(WORKSPACE)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
        _compute_exactly(mode, compiling="torch._inductor.config" in sys.modules)
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


def _compute_exactly(mode: int, *, compiling: bool) -> None:
    """Sets torch's deterministic mode, of 0 to 2, and its compiler's where that is in use."""
    if compiling:  # else this would import the compiler, which takes seconds
        torch.use_deterministic_algorithms(mode > 0)
    torch.set_deterministic_debug_mode(mode)


def arithmetic(precision: str | None, device: torch.device) -> str:
    """How products are made, in words; bfloat16 without a unit for it comes to other roundings."""
    if precision == "bfloat16" and default_precision(device) != precision:
        return "bfloat16, emulated"
    return precision or "float32"


def place(device: str, threads: int, arithmetic: str, processes: int) -> str:
    """Where a run is trained, in words: what must be the same for it to go on bit for bit."""
    shared = f", {processes} processes" if processes > 1 else ""
    return f"{device}, {threads} threads, {arithmetic}{shared}"
