"""A server from its start to its end: sockets, signals, and a drain before it stops."""

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from charlm.errors import CharlmError, ConfigError
from charlm.model_file import MODEL_NAME
from charlm.serving import answers
from charlm.serving.app import application
from charlm.serving.desk import Desk
from charlm.serving.limits import CONNECTIONS, HEADERS_S, Limits
from charlm.serving.metrics import Metrics
from charlm.serving.request import RequestError
from charlm.serving.worker import Worker
from charlm.signals import ENDING

LINGER_S = 1.0
STEP_S = 5.0  # that the worker may take for the step that it is in at the end

Tell = Callable[[str], None]


def serve(
    paths: Sequence[Path], limits: Limits, *, host: str, port: int, token: str | None, tell: Tell
) -> None:
    """Serves the models at `paths` until SIGINT, SIGTERM or SIGHUP, and then what has been begun.

    `tell` gets a line where it listens, and one where it stops. Raises ConfigError for models
    whose names are the same or an address that cannot be had, and CharlmError where requests had
    to be cut off at the end.
    """
    names = names_of(paths)
    with _bound(host, port) as listener:  # before models are loaded, which takes longer
        desks = [Desk(name, path, limits) for name, path in zip(names, paths, strict=True)]
        asyncio.run(_serve(desks, limits, listener, token, tell))


def names_of(paths: Sequence[Path]) -> list[str]:
    """What each model is called: the last part of its path, or all of it where that is not enough.

    Raises ConfigError where one is given twice.
    """
    names = [_name(path) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice; give each model once.")
    return names


def _name(path: Path) -> str:
    whole = Path(os.path.abspath(path))
    if whole.name == MODEL_NAME:
        whole = whole.parent
    return whole.name.removesuffix(".safetensors")


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at that address, to which nobody can connect until it listens."""
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )[0]
            bound = stack.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({error.strerror or error});"
                " give another --port or --host."
            ) from error
        yield bound


async def _serve(
    desks: list[Desk], limits: Limits, listener: socket.socket, token: str | None, tell: Tell
) -> None:
    metrics = Metrics()
    worker = Worker(desks, limits, metrics, asyncio.get_running_loop())
    local = ip_address(listener.getsockname()[0]).is_loopback
    app = application(desks, worker, metrics, limits, token=token, local=local)
    config = uvicorn.Config(
        app,
        http=functools.partial(_Protocol, limits.timeout),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        backlog=CONNECTIONS,
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=limits.drain,  # type: ignore[arg-type]
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    server = _Server(config, worker, tell)
    worker.start()
    try:
        await server.serve(sockets=[listener])
    finally:
        worker.stop()
        worker.join(STEP_S)
    if worker.fault is not None:
        raise worker.fault
    if server.cut_off:
        why = "a second signal" if server.force_exit else f"--drain {limits.drain:g}s"
        raise CharlmError(f"requests that were cut off ({why}): {server.cut_off}.")


class _Server(uvicorn.Server):
    """Stops at a signal or when the worker breaks down; `cut_off` counts what it did not finish."""

    def __init__(self, config: uvicorn.Config, worker: Worker, tell: Tell) -> None:
        super().__init__(config)
        self.cut_off = 0
        self._worker = worker
        self._say = tell
        self._asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port, *_ = listener.getsockname()
            self._say(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._worker.fault is not None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops at a signal, and leaves it at that: what was drained has ended well."""
        numbers = [n for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """At the first signal nothing more is taken in; at a second one nothing is finished."""
        self.should_exit = self._worker.draining = True
        # A terminal that goes away sends SIGHUP more than once, and beside SIGTERM.
        if number != signal.SIGHUP:
            self.force_exit, self._asked = self._asked, True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        pending = self._worker.pending
        if pending:
            self._say(f"finishing {pending} texts; a second signal cuts them off")
        # It would show a traceback for each request that is cut off; how many that are is told.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        self.cut_off = len(self.server_state.tasks)


class _Protocol(H11Protocol):
    """HTTP whose errors have OpenAI's form, and which does not wait for ever for a client.

    A request must have come HEADERS_S after its first byte, and a client that lets what it is sent
    lie for `timeout` seconds is cut off.
    """

    def __init__(self, timeout: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeout = timeout
        self._refused = False
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADERS_S, self._give_up)
        if len(self.connections) > CONNECTIONS:
            message = "there are too many connections; try again later"
            headers = {"Retry-After": "1"}
            self._refuse(RequestError(message, status=503, headers=headers))

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._go_on_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._refused:
            return
        if not self._is_idle:
            self._timer.cancel()
        elif self._timer.cancelled():
            self._timer = self.loop.call_later(HEADERS_S, self._give_up)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on_writing()

    def _go_on_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        self._refuse(RequestError(msg.rstrip(".")))

    def _give_up(self) -> None:
        if self._is_idle and not self.transport.is_closing():
            self._refuse(RequestError("no request came", status=408, code="timeout"))

    def _refuse(self, error: RequestError) -> None:
        """Answers what is no request, and closes when who is still sending can have heard it."""
        if not self._is_idle:
            # The application knows of a beginning of it, and would answer that.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = answers.dumped(error.body)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **error.headers,
        }
        head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self._refused = True
        self.transport.write_eof()
        self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)
