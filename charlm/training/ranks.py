"""What a process is among those that train one network together; alone, unless torchrun began it.

Every rank has the whole network and makes the same updates, each from the gradient of its own rows
of the same batch; the sums are torch's (gloo on the CPU, NCCL on GPUs). What only one can say, the
time and a validation's figure, the first rank says for all.
"""

import os
import socket
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor

from charlm.errors import TrainingError

# How long ranks wait for one another until all are there, while they train, and at the end. While
# they train longer than the first alone may take to prepare a text or to validate.
MEETING = timedelta(minutes=10)
TIMEOUT = timedelta(hours=6)
PARTING = timedelta(seconds=30)
POLL_S = 0.05


class LostError(TrainingError):
    """Another rank has ended, so this one cannot go on either."""


class Ranks:
    """One process alone: the first rank, of one."""

    rank = 0
    count = 1
    local = 0  # the process's number on its machine
    job: int | None = None  # what is begun again after a rank was lost has the same one
    parting = False  # whether all ranks have come to the end of their training

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    def rows(self, total: int) -> slice:
        """Which of a batch's rows are this rank's. Law: each row is of one rank."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def wait(self) -> None:
        """Returns when every rank has come here."""

    def highest(self, *numbers: float) -> tuple[float, ...]:
        """The highest that any rank gives of each number."""
        return numbers

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """The first rank's numbers; those of the others do not count."""
        return numbers

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Puts in the place of each float32 tensor its sum over all ranks, the same on each."""

    def whole(self, rows: Tensor, total: int) -> Tensor:
        """The rows of all ranks (total, ...) from this one's."""
        return rows

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails on one rank in here fails on the others, as for want of memory."""
        yield


class Joined(Ranks):
    """A process that torchrun has begun, in touch with the others."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.local = int(os.environ["LOCAL_RANK"])
        (job,) = self.from_first(zlib.crc32(_job().encode()))
        self.job = int(job)

    def wait(self) -> None:
        """Returns when every rank has come here."""
        self.highest(0.0)

    def highest(self, *numbers: float) -> tuple[float, ...]:
        """The highest that any rank gives of each number."""
        tensor = torch.tensor(numbers, dtype=torch.float64)
        with _others():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tuple(tensor.tolist())

    def from_first(self, *numbers: float) -> tuple[float, ...]:
        """The first rank's numbers; those of the others do not count."""
        tensor = torch.tensor(numbers, dtype=torch.float64)
        with _others():
            dist.broadcast(tensor, 0)
        return tuple(tensor.tolist())

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Puts in the place of each float32 tensor its sum over all ranks, the same on each."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _others():
            dist.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, found in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(found.view_as(tensor))

    def whole(self, rows: Tensor, total: int) -> Tensor:
        """The rows of all ranks (total, ...) from this one's."""
        found = rows.new_zeros(total, *rows.shape[1:])
        found[self.rows(total)] = rows
        with _others():
            dist.all_reduce(found)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails on one rank in here fails on the others, as for want of memory."""
        failed = 1.0
        try:
            yield
            failed = 0.0
        finally:
            (somewhere,) = self.highest(failed)
        if somewhere:
            raise MemoryError("another rank lacks memory")


ALONE = Ranks()
_joined: Joined | None = None  # what this process is among others, once it is


def join() -> Ranks:
    """This process among the others, when all of them are there; alone where there are none."""
    if not dist.is_torchelastic_launched():
        return ALONE
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    with _others():
        store, rank, count = next(dist.rendezvous("env://", timeout=MEETING))
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RUN_ID"], store)  # of this job alone
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if nccl else "gloo",
            store=dist.PrefixStore(meet(store, rank, count), store),
            rank=rank,
            world_size=count,
            timeout=MEETING,
        )
        dist.distributed_c10d._set_pg_timeout(TIMEOUT)
    global _joined
    _joined = Joined()
    return _joined


def meet(store: dist.Store, rank: int, count: int, within: timedelta = MEETING) -> str:
    """A name for the ranks that are there now: the same for all of them, and for no others.

    torchrun keeps what processes that are no more have left in its store, their addresses too, so
    the ranks of each start need a part of the store to themselves; and each machine has its own
    count of starts. The first rank chooses the name, and answers with it whoever asks.
    Raises RuntimeError where they do not all come.
    """
    mine = uuid4().hex
    if rank:
        store.set(f"ask/{rank}", mine)
        store.wait([f"answer/{mine}"], within)
        name = store.get(f"answer/{mine}").decode()
        store.set(f"{name}/{rank}", "here")
        return name
    until = time.monotonic() + within.total_seconds()
    missing = set(range(1, count))
    while missing:
        for other in sorted(missing):
            # What asks may be one that is no more, until the one that is there has asked, too.
            if store.check([f"ask/{other}"]):
                store.set(f"answer/{store.get(f'ask/{other}').decode()}", mine)
            if store.check([f"{mine}/{other}"]):
                missing.remove(other)
        if time.monotonic() > until:
            raise RuntimeError(f"of {count} processes {len(missing)} did not come")
        time.sleep(POLL_S)
    return mine


def leave(status: int) -> None:
    """Ends a process that has joined others, at once and with that status.

    An exception that ends it is shown first. Not as Python ends: the engine's threads are still
    there then, and now and then abort it.
    """
    if not dist.is_initialized():
        return
    if error := sys.exc_info()[1]:
        traceback.print_exception(error)
    if _joined is not None and _joined.parting:
        # So that none ends while another is still to read what it has sent.
        with suppress(RuntimeError):
            dist.all_reduce(torch.zeros(1), async_op=True).wait(PARTING)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def _others() -> Iterator[None]:
    """Raises LostError where another rank does not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostError(
            "a process that trained together with this one has ended, or cannot be reached; what"
            " was saved last is still good, and --resume goes on from there."
        ) from error


def _job() -> str:
    """The same for all that torchrun begins of one command, at once or after another, only."""
    run = os.environ["TORCHELASTIC_RUN_ID"]
    if run == "none":  # torchrun was given no name for it
        run = f"{socket.gethostname()} {os.getppid()}"
    return "\n".join([run, *sys.argv[1:]])
