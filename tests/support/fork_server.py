"""A process that has imported what charlm is slow to import, and forks a child for each command.

`python fork_server.py SOCKET` serves until its stdin is closed. A connection (`forked.py`) sends
the length of a request and which standard streams it has, those streams, and the request: working
directory, arguments, an empty part and the environment, between NULs. It gets the child's pid and
its exit status, a line each; or 0 where only a fresh interpreter would do.
"""

import atexit
import gc
import importlib
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper

import torch

import charlm
from charlm.cli import main

# What the interpreter and its libraries read when they start, and never again.
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_")
# Those are programs of their own.
LEFT_OUT = ("charlm.__main__", "charlm.exporting.charlm_step", "charlm.preparation.worker")


def preload() -> None:
    """Imports every module of charlm, so that a child has nothing but its own work before it."""
    for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
        if module.name not in LEFT_OUT:
            importlib.import_module(module.name)
    torch.set_num_threads(1)
    gc.freeze()  # a collection in a child would copy every page


class Server:
    """Answers connections, and says how the children that they asked for ended."""

    def __init__(self, listener: socket.socket) -> None:
        self.children: dict[int, socket.socket] = {}
        self.ready = selectors.DefaultSelector()
        woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.ready.register(listener, selectors.EVENT_READ, self.accept)
        self.ready.register(woken, selectors.EVENT_READ, self.reap)

    def serve(self) -> None:
        """Until stdin, to which nothing is ever written, is closed."""
        self.ready.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            for key, _ in self.ready.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def accept(self, listener: socket.socket) -> None:
        """Forks the child that a new connection asks for."""
        connection, _ = listener.accept()
        header, streams, _, _ = socket.recv_fds(connection, 32, 3)
        length, _, numbers = header.decode().strip().partition(" ")
        with connection.makefile("rb", buffering=0) as request:
            parts = b""
            while len(parts) < int(length):
                parts += request.read(int(length) - len(parts))
        cwd, *args = os.fsdecode(parts).split("\0")
        cut = len(args) - 1 - args[::-1].index("")
        environment = dict(one.split("=", 1) for one in args[cut + 1 :])
        if at_start(environment) != at_start(os.environ):
            connection.sendall(b"0\n")
            connection.close()
        elif pid := os.fork():
            self.children[pid] = connection
            self.ready.register(connection, selectors.EVENT_READ, self.abandoned)
            connection.sendall(b"%d\n" % pid)
        else:
            run(args[:cut], cwd, environment, dict(zip(map(int, numbers), streams, strict=True)))
        for stream in streams:
            os.close(stream)

    def abandoned(self, connection: socket.socket) -> None:
        """Ends the child of a connection that was closed: its caller was killed."""
        self.ready.unregister(connection)
        for pid, its in self.children.items():
            if its is connection:
                os.kill(pid, signal.SIGKILL)

    def reap(self, woken: socket.socket) -> None:
        """Says of each child that has ended how it did."""
        woken.recv(4096)
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self.children.pop(pid) as connection, suppress(OSError, KeyError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                self.ready.unregister(connection)


def at_start(environment: dict[str, str]) -> dict[str, str]:
    """What a running interpreter cannot take over from another environment."""
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


def run(args: list[str], cwd: str, environment: dict[str, str], streams: dict[int, int]) -> None:
    """The child: does what `python -m charlm ARGS` does, and does not come back."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in range(3):
        if number in streams:
            os.dup2(streams[number], number)
        else:
            os.close(number)
    os.closerange(3, 1024)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["charlm", *args]
    sys.stdin = open(0, closefd=False) if 0 in streams else None  # noqa: SIM115
    sys.stdout, sys.stderr = (written(number) if number in streams else None for number in (1, 2))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    status = 1
    try:
        status = main()
        threading._shutdown()
        atexit._run_exitfuncs()
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    with suppress(OSError, AttributeError):
        sys.stderr.flush()
    os._exit(status)


def written(number: int) -> TextIOWrapper:
    """A standard stream to write to, as the interpreter opens it."""
    raw = FileIO(number, "w", closefd=False)
    by_line = number == 2 or raw.isatty()
    errors = "backslashreplace" if number == 2 else "strict"
    return TextIOWrapper(BufferedWriter(raw), "utf-8", errors, line_buffering=by_line)


if __name__ == "__main__":
    preload()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sys.argv[1])
        listening.listen()
        print("ready", flush=True)
        Server(listening).serve()
