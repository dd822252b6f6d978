"""What stands before the routes: names, tokens, the size of a body, and a count of the answers."""

import hmac
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from charlm.serving import answers
from charlm.serving.metrics import Metrics
from charlm.serving.request import RequestError

HEADER_BYTES = 1 << 16
PATIENCE = 4  # times as much as may be sent is read, as who is still sending may not hear an answer


class Json(Response):
    """A value as JSON in ASCII."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return answers.dumped(content)


class Guard:
    """The application `app`, for those who may use it; `metrics` counts what all are answered.

    With a `token` all paths but the `free` ones want it. Where it is `local` and has none, only
    requests to this machine's own names are let through: a page elsewhere might have a name of its
    own lead here.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, token: str | None, free: set[str], *, local: bool
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._token = None if token is None else token.encode()
        self._free = free
        self._local = local and token is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answers[message["status"]] += 1
            await send(message)

        error = self._refusal(scope)
        app = self._app if error is None else Json(error.body, error.status, error.headers)
        await app(scope, receive, counting)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
            return RequestError(f"the headers have more than {HEADER_BYTES} bytes", status=431)
        if self._local and not _is_here(headers.get("host", "")):
            message = "without a token (--token) only requests to localhost are served"
            return RequestError(message, status=403, code="unknown_host")
        if self._token is None or scope["path"] in self._free:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() == "bearer" and known:
            return None
        return RequestError(
            "the token is missing or wrong; send it as Authorization: Bearer TOKEN",
            status=401,
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request. Raises RequestError where it is too long, or is not said to be JSON.

    A page elsewhere can have a browser send a form or a text here, but JSON only if it is allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError("send Content-Type: application/json", status=415)
    body, size = bytearray(), 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size <= most:
                body += piece
            elif size > PATIENCE * most:
                break
    except ClientDisconnect:
        raise RequestError("the request has no end") from None
    if size > most:
        message = f"the request has more than {most} bytes"
        raise RequestError(message, status=413, headers={"Connection": "close"})
    return bytes(body)


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine itself."""
    name = host.rpartition(":")[0] if host[-1:].isdigit() and ":" in host else host
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"
