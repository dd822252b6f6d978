"""The application: its routes, and errors in OpenAI's form."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from charlm.serving import answers
from charlm.serving.desk import Desk
from charlm.serving.following import Stream, whole
from charlm.serving.guard import Guard, Json, body_of
from charlm.serving.limits import Limits
from charlm.serving.metrics import Metrics
from charlm.serving.request import RequestError, asked
from charlm.serving.worker import Worker

PAGE = {
    "/": ("playground.html", "text/html"),
    "/playground.css": ("playground.css", "text/css"),
    "/playground.js": ("playground.js", "text/javascript"),
}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def application(
    desks: Sequence[Desk],
    worker: Worker,
    metrics: Metrics,
    limits: Limits,
    *,
    token: str | None,
    local: bool,
) -> ASGIApp:
    """The ASGI application over `worker`, which draws what is asked of `desks`.

    All but the page and /healthz want the `token`, where there is one; `local` is Guard's.
    """
    service = _Service(desks, worker, metrics, limits)
    routes = [
        Route("/v1/completions", service.complete, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{name:path}", service.model),
        Route("/healthz", service.health),
        Route("/metrics", service.metrics),
        *(Route(path, _page(*file)) for path, file in PAGE.items()),
    ]
    handlers = {RequestError: _refuse, HTTPException: _no_such_thing, Exception: _broken}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, metrics, token, {*PAGE, "/healthz"}, local=local)


class _Service:
    """What the routes do."""

    def __init__(
        self, desks: Sequence[Desk], worker: Worker, metrics: Metrics, limits: Limits
    ) -> None:
        self._desks = {desk.name: desk for desk in desks}
        self._worker = worker
        self._metrics = metrics
        self._limits = limits

    async def models(self, request: Request) -> Response:
        cards = [answers.model_card(desk) for desk in self._desks.values()]
        return Json({"object": "list", "data": cards})

    async def model(self, request: Request) -> Response:
        return Json(answers.model_card(self._desk(request.path_params["name"])))

    async def health(self, request: Request) -> Response:
        if self._worker.draining or self._worker.fault is not None:
            return Json({"status": "stopping"}, 503)
        return Json({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        page = self._metrics.page(list(self._desks.values()))
        return Response(page, media_type="text/plain; version=0.0.4")

    async def complete(self, request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._limits.timeout
        try:
            async with asyncio.timeout_at(deadline):
                wanted = asked(await body_of(request, self._limits.max_body), self._limits)
                desk = self._desk(wanted.model)
                # Not on this thread: a long prompt of byte pairs takes a while.
                order = await asyncio.to_thread(desk.order, wanted)
            self._worker.submit(order)
            answer = answers.Answer(order, desk)
            if wanted.stream:
                return Stream(self._worker, order, answer, deadline)
            try:
                async with asyncio.timeout_at(deadline):
                    told = await whole(request.receive, order)
            finally:
                self._worker.cancel(order)
        except TimeoutError:
            raise self._late() from None
        # A client that has gone is sent nothing; 499 is what nginx calls that.
        if told is None:
            return Response(status_code=499)
        # Not on this thread, either: there may be many tokens to tell of.
        body = await asyncio.to_thread(answer.whole, told)
        return Response(body, media_type="application/json")

    def _desk(self, name: str) -> Desk:
        if name not in self._desks:
            raise RequestError(
                f"there is no model {name[:80]!r}; /v1/models lists what there is",
                status=404,
                param="model",
                code="model_not_found",
            )
        return self._desks[name]

    def _late(self) -> RequestError:
        # OpenAI's clients would otherwise ask again.
        headers = {"x-should-retry": "false", "Connection": "close"}
        message = f"it took longer than {self._limits.timeout:g} s"
        return RequestError(message, status=408, code="timeout", headers=headers)


def _page(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """A route that gives a file of the playground."""
    text = resources.files("charlm.serving").joinpath("page", name).read_text(encoding="utf-8")

    async def give(request: Request) -> Response:
        return Response(text, media_type=media_type, headers=PAGE_HEADERS)

    return give


async def _refuse(request: Request, error: RequestError) -> Response:
    return Json(error.body, error.status, error.headers)


async def _no_such_thing(request: Request, error: HTTPException) -> Response:
    message = f"{request.method} {request.url.path[:80]} is nothing that is served here"
    if request.url.path == "/v1/chat/completions":
        message += "; charlm's models go on with a text: /v1/completions"
    wrong = RequestError(message, status=error.status_code)
    return Json(wrong.body, wrong.status, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    return Json(RequestError("the server has a bug", status=500).body, 500)
