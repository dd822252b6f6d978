"""The one thread that steps: orders come in and leave between two steps of all that is drawn."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from charlm.serving.desk import Desk
from charlm.serving.limits import Limits
from charlm.serving.metrics import Metrics
from charlm.serving.request import RequestError
from charlm.serving.texts import Order

TELL_EVERY_S = 0.05  # a text that has begun: telling it costs as much as drawing a few tokens


class Worker(threading.Thread):
    """Draws what is ordered of `desks`; everything it tells is told on `loop`.

    `submit` and `cancel` are called there. Where a step breaks down all orders are told so, `fault`
    is what happened, and nothing is taken in any more.
    """

    def __init__(
        self,
        desks: Sequence[Desk],
        limits: Limits,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(name="worker", daemon=True)
        self.fault: BaseException | None = None
        self.draining = False
        self._desks = {desk.name: desk for desk in desks}
        self._limits = limits
        self._metrics = metrics
        self._loop = loop
        self._orders: set[Order] = set()  # of the loop's thread alone
        self._changed = threading.Condition()
        self._arrived: list[Order] = []
        self._stopping = False
        self._told = 0.0

    @property
    def pending(self) -> int:
        """How many texts have been asked for and have not ended."""
        return sum(order.left for order in self._orders)

    def submit(self, order: Order) -> None:
        """Takes an order in. Raises RequestError where there is no room for it."""
        if self.draining or self.fault is not None:
            raise RequestError(
                "the server is about to stop", status=503, headers={"Connection": "close"}
            )
        room = self._limits.rows + self._limits.queue - self.pending
        if order.left > room:
            raise RequestError(
                "too many texts are asked for at once; try again later",
                status=429,
                code="rate_limit_exceeded",
                headers={"Retry-After": "1"},
            )
        self._orders.add(order)
        self._hand(order)

    def cancel(self, order: Order) -> None:
        """Nobody waits for that order any more: its places are free for others."""
        if order in self._orders:
            self._orders.discard(order)
            order.gone = True
            self._hand(order)

    def stop(self) -> None:
        """Ends the thread after the step that it is in."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Steps while there is something to draw."""
        try:
            while self._wait():
                for desk in self._desks.values():
                    desk.turn()
                self._tell()
        except BaseException as error:
            self.fault = error
            self._on_loop(self._fail, error)

    def _hand(self, order: Order) -> None:
        with self._changed:
            self._arrived.append(order)
            self._changed.notify()

    def _wait(self) -> bool:
        """Takes in what has come, waiting where there is nothing to do; False at the end."""
        with self._changed:
            while not (self._arrived or self._stopping or self._busy()):
                self._changed.wait()
            arrived, self._arrived = self._arrived, []
        for order in arrived:
            desk = self._desks[order.asked.model]
            if order.gone:
                desk.drop(order)
            else:
                desk.take(order)
        return not self._stopping

    def _busy(self) -> bool:
        return any(desk.running or desk.waiting or desk.fresh for desk in self._desks.values())

    def _tell(self) -> None:
        """Hands what is new to the loop: what ends or begins at once, the rest now and then."""
        fresh = [text for desk in self._desks.values() for text in desk.fresh]
        if not fresh:
            return
        now = time.monotonic()
        is_due = now - self._told >= TELL_EVERY_S
        told = [text for text in fresh if is_due or text.finish or not text.is_told]
        if not told:
            return
        if is_due:
            self._told = now
        for text in told:
            if not text.is_told:
                text.is_told = True
                self._metrics.first_s.observe(now - text.order.began)
            self._desks[text.order.asked.model].fresh.pop(text)
        news = [(text.order, text.new()) for text in told]
        self._on_loop(self._deliver, news)

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            # It has been closed: at the end nobody waited for a step that took long.
            if not self._stopping:
                raise

    def _deliver(self, news: list) -> None:
        for order, told in news:
            order.told.put_nowait(told)
            if told.finish is not None:
                order.left -= 1
                if not order.left:
                    self._orders.discard(order)

    def _fail(self, error: BaseException) -> None:
        for order in self._orders:
            order.told.put_nowait(error)
        self._orders.clear()
