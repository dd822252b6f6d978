"""Every public call of the library, each with a result that can be compared; and its host."""

import ctypes
import itertools
import locale
import os
import random
import signal
import sys
import warnings
from dataclasses import asdict
from types import FunctionType
from uuid import uuid4

import numpy as np

import charlm
from charlm import Model


def public() -> set[str]:
    """The names of all that a program can call, but for errors; methods as Model.sample."""
    found = set()
    for name in charlm.__all__:
        value = getattr(charlm, name)
        if isinstance(value, FunctionType):
            found.add(name)
        elif not issubclass(value, Exception):
            found |= {f"{name}.{method}" for method in vars(value) if method[0] != "_"}
    return found


def _arrays(place):
    return [array.tobytes() for array in (place.logits, *itertools.chain(*place.state))]


def _pieces(model):
    pieces = []
    for piece in model.stream("the ", length=60, seed=1):
        pieces.append(piece)
        assert HOST_IN_BETWEEN()
    return pieces


def HOST_IN_BETWEEN():  # noqa: N802 a test sets another
    """Whether the host is as it was, while a stream is read."""
    return True


def _prepared(folder):
    corpus = charlm.prepare(folder / "book.txt", folder / f"data-{uuid4()}", val=0.1)
    return corpus.tokenizer.hash, corpus.ids("train").tobytes()


def _trained(folder):
    run = folder / f"run-{uuid4()}"
    knobs = {"width": 16, "batch": 4, "context": 16, "seed": 1, "device": "cpu"}
    return charlm.train(
        folder / "book.txt", run, steps=3, deterministic=True, **knobs
    ).contents.hash


# What gets a model and a folder that has it, as `run`, and a book.txt.
CALLS = {
    "Model.load": lambda model, folder: Model.load(folder / "run").contents.hash,
    "Model.sample": lambda model, folder: model.sample("the ", length=120, seed=1),
    "Model.samples": lambda model, folder: model.samples("the ", 3, length=40, seed=1),
    "Model.stream": lambda model, folder: _pieces(model),
    "Model.score": lambda model, folder: asdict(model.score("the king\nand my lord " * 3)),
    "Model.next": lambda model, folder: model.next("what say y"),
    "Model.state": lambda model, folder: _arrays(model.state("i know not; the n")),
    "prepare": lambda model, folder: _prepared(folder),
    "train": lambda model, folder: _trained(folder),
}


def host() -> dict[str, object]:
    """What a process has of which a library must leave it as it was."""
    found = {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "path": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
        "warnings": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "random": random.getstate(),
        "numpy random": repr(np.random.get_state()),
        "numpy errors": np.geterr(),
        "mapped": _is_mapped(),
    }
    if "threadpoolctl" in sys.modules:
        import threadpoolctl

        pools = threadpoolctl.threadpool_info()
        found["threads"] = {pool["filepath"]: pool["num_threads"] for pool in pools}
    if "torch" in sys.modules:
        import torch

        found |= {
            "torch threads": torch.get_num_threads(),
            "torch precision": torch.get_float32_matmul_precision(),
            "torch tf32": torch.backends.cudnn.allow_tf32,
            "torch exactly": torch.are_deterministic_algorithms_enabled(),
            "torch random": torch.get_rng_state().tolist(),
            "torch gradients": torch.is_grad_enabled(),
            "torch type": torch.get_default_dtype(),
        }
    return found


def changed(before: object, after: object) -> object:
    """What differs between two values of one kind."""
    if isinstance(before, dict):
        return {
            k: (before.get(k), after.get(k))
            for k in {*before, *after}
            if before.get(k) != after.get(k)
        }
    if isinstance(before, list):
        return [x for x in before if x not in after], [x for x in after if x not in before]
    return before, after


def _is_mapped() -> bool | None:
    """Whether glibc maps large memory, as it does unless it was set otherwise; None elsewhere."""

    class Info(ctypes.Structure):
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = Info
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = libc.mallinfo2().hblks
    memory = libc.malloc(ctypes.c_size_t(1 << 27))
    mapped = libc.mallinfo2().hblks - before
    libc.free(memory)
    return bool(mapped)
