"""Following an order until all its texts have ended, or nobody waits for them any more."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from charlm.serving import answers
from charlm.serving.request import RequestError
from charlm.serving.texts import Order, Told
from charlm.serving.worker import Worker

PART_TOKENS = 512  # of a text that are told in one event
FULL_BYTES = 1 << 16  # of events that are sent together

T = TypeVar("T")


async def whole(receive: Receive, order: Order) -> list[Told] | None:
    """All that is told of an order, or None where the client goes away before that."""

    async def follow() -> list[Told]:
        return [told async for some in _pieces(order) for told in some]

    return await _unless_gone(receive, follow())


class Stream(Response):
    """The texts of an order as they are drawn, as server-sent events, until `deadline`."""

    media_type = "text/event-stream"

    def __init__(
        self, worker: Worker, order: Order, answer: answers.Answer, deadline: float
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._worker = worker
        self._order = order
        self._answer = answer
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            async with asyncio.timeout_at(self._deadline):
                await send(start)
                await _unless_gone(receive, self._send(send))
        except TimeoutError:
            await self._break_off(
                send, RequestError("it took too long", status=408, code="timeout")
            )
        except RequestError as error:
            await self._break_off(send, error)
        finally:
            self._worker.cancel(self._order)

    async def _break_off(self, send: Send, error: RequestError) -> None:
        # Before it is told: who does not read holds up the telling.
        self._worker.cancel(self._order)
        await _say(send, answers.event(error.body), more=False)

    async def _send(self, send: Send) -> None:
        async for some in _pieces(self._order):
            events = b""
            for part in (part for told in some for part in told.parts(PART_TOKENS)):
                events += answers.event(self._answer.piece(part))
                if len(events) > FULL_BYTES:
                    await _say(send, events)
                    events = b""
            if events:
                await _say(send, events)
        usage = answers.event(self._answer.end()) if self._order.asked.include_usage else b""
        await _say(send, usage + answers.DONE, more=False)


async def _pieces(order: Order) -> AsyncIterator[list[Told]]:
    """What is told of an order, as much at a time as there is."""
    left = order.asked.n * len(order.beginnings)
    while left:
        some = [await order.told.get()]
        while not order.told.empty():
            some.append(order.told.get_nowait())
        told = [one for one in some if isinstance(one, Told)]
        if len(told) < len(some):
            raise RequestError("the server broke down", status=500)
        left -= sum(one.finish is not None for one in told)
        yield told


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns, or None where the client goes away before that."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _say(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
