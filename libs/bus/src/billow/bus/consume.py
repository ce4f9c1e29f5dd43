"""The loop that every event handler lives in: who is next, in how many slots, until told to stop."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.delivery import Delivery, Handler
from billow.bus.fairness import FairQueue
from billow.bus.keepalive import KeepAlive
from billow.bus.lane import LaneOf
from billow.bus.looks import Ahead
from billow.bus.provision import ensure_consumer
from billow.bus.pull import PullSession
from billow.bus.sharing import Sharing
from billow.bus.topology import ConsumerSpec
from billow.bus.verdict import Verdicts
from billow.runtime import trace
from billow.runtime.process import DRAIN_SECONDS, Lifecycle
from billow.runtime.tasks import end_tasks
from billow.schemas.labels import Lane

__all__ = ["LOOKAHEAD", "Delivery", "EventConsumer", "Handler", "run_consumers", "with_runs"]

LOOKAHEAD = 1_000
"""Messages that a consumer holds at most to find whose turn it is."""

_LAST_SECONDS = 3.0
_HELD_BYTES = 64 * 1024 * 1024
"""Payload that may wait here; events of many pages are large."""
_HOG_SECONDS = 0.005
"""After this a slot whose handler never waits lets others run."""


class _Held(NamedTuple):
    message: Msg
    tenant: str
    lane: Lane


class EventConsumer:
    """Runs a handler for the messages of one durable consumer, several at a time.

    It looks ahead, so that tenants and lanes take turns: what is held beyond the messages in hand waits in a
    `FairQueue`, is kept alive, and goes back when another replica has nothing to do. A tenant with nothing in hand may
    have one slot beyond `concurrency`, one tenant at a time, so that its single document need not wait for a long one.
    """

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        handler: Handler,
        *,
        concurrency: int,
        lookahead: int = LOOKAHEAD,
        lane_of: LaneOf | None = None,
        buries: bool = True,
    ) -> None:
        """`lane_of` tells the lane of an event; without it all are interactive.

        `lookahead` 0 takes messages in the order of the stream. `buries=False` is for the consumer of the dead letters
        themselves: it only ever waits.
        """
        self._concurrency = concurrency
        self._lookahead = lookahead
        self._lane_of = lane_of
        self._bus = bus
        self._queue: FairQueue[_Held] = FairQueue()
        self._queued_bytes = 0
        self._alive = KeepAlive(spec.ack_wait)
        self._verdicts = Verdicts(bus, handler, service=spec.service, buries=buries)
        self._session = PullSession(
            bus,
            spec,
            room=self._room,
            ensure=lambda: ensure_consumer(bus, spec),
            ahead=self._ahead if lookahead else None,
            deliver=self._arrived,
        )
        self._sharing = Sharing(bus, spec, self._session, surplus=self._surplus, give_back=self._give_back)
        self._slots: set[asyncio.Task[None]] = set()
        self._burst: asyncio.Task[float] | None = None
        self._filling = False
        self._draining = False
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Create the consumer and begin to pull. Raises TransientError when the server does not answer."""
        await self._session.start()
        self._alive.start()

    async def run(self, stopping: asyncio.Event, *, drain: float = DRAIN_SECONDS) -> None:
        """Handle messages until `stopping`; then finish what is in hand, for `drain` seconds, and give back the rest.

        Raises:
            BillowError: the connection is gone for good.
        """
        self._stopping = stopping
        waiters: list[asyncio.Task[Any]] = [
            asyncio.create_task(stopping.wait()),
            asyncio.create_task(self._session.ended()),
        ]
        self._sharing.start()
        try:
            done, _ = await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.is_set():
                for waiter in done:
                    waiter.result()
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)
            await self._drain(drain)

    def _room(self) -> int:
        return self._concurrency - len(self._slots) - len(self._queue)

    def _ahead(self) -> Ahead:
        return Ahead(self._lookahead - len(self._queue), _HELD_BYTES - self._queued_bytes, self._lookahead)

    def _arrived(self, message: Msg) -> None:
        lane: Lane = "interactive"
        if self._lane_of is not None:
            lane = self._lane_of(message.data, message.headers or {})
        held = _Held(message, message.subject.split(".", 2)[1], lane)
        self._alive.hold(message)
        self._queue.push(held, tenant=held.tenant, lane=lane)
        self._queued_bytes += len(message.data)
        self._fill_soon()

    def _fill_soon(self) -> None:
        if not self._filling:
            self._filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        """Begin one more message, if one waits and may be begun.

        One at a time, as a slot takes further messages by itself: handlers that never wait need no more than one.
        """
        self._filling = False
        if self._is_over():
            return
        if len(self._slots) < self._concurrency:
            if (held := self._queue.pop()) is not None:
                task = asyncio.create_task(self._slot(held))
                self._slots.add(task)
                task.add_done_callback(self._slot_done)
        elif self._burst is None and (held := self._queue.pop_newcomer()) is not None:
            self._burst = asyncio.create_task(self._handle(held))
            self._burst.add_done_callback(self._burst_done)

    def _slot_done(self, task: asyncio.Task[None]) -> None:
        self._slots.discard(task)
        self._fill_soon()
        self._session.nudge()

    def _burst_done(self, _: asyncio.Task[float]) -> None:
        self._burst = None
        self._fill_soon()

    async def _slot(self, held: _Held | None) -> None:
        resumed = time.perf_counter()
        low = self._concurrency + self._lookahead // 2
        while held is not None:
            waiting = len(self._queue)
            if waiting and not self._filling:
                self._fill_soon()
            if waiting < low:
                self._session.nudge()
            ended = await self._handle(held)
            if ended - resumed > _HOG_SECONDS:
                await asyncio.sleep(0)
                resumed = time.perf_counter()
            held = None if self._is_over() else self._queue.pop()

    async def _handle(self, held: _Held) -> float:
        """Returns when it was over, by `time.perf_counter`."""
        message, tenant, lane = held
        self._queued_bytes -= len(message.data)
        trace.adopt((message.headers or {}).get(trace.HEADER))
        structlog.contextvars.bind_contextvars(subject=message.subject)
        delivery = Delivery(message)
        started = time.perf_counter()
        try:
            await self._verdicts.handle(message, delivery)
        finally:
            ended = time.perf_counter()
            ms = delivery.charged
            self._queue.charge(tenant, (ended - started) * 1000 if ms is None else ms, lane=lane)
            self._alive.release(message)
        return ended

    def _is_over(self) -> bool:
        return self._draining or self._stopping.is_set()

    def _surplus(self) -> tuple[int, int]:
        return len(self._slots), len(self._queue)

    async def _give_back(self, count: int) -> None:
        await self._return(self._queue.shed(count))

    async def _return(self, shed: list[_Held]) -> None:
        self._queued_bytes -= sum(len(held.message.data) for held in shed)
        await self._verdicts.give_back([held.message for held in shed])
        for held in shed:
            self._alive.release(held.message)

    async def _drain(self, seconds: float) -> None:
        self._draining = True
        end = asyncio.get_running_loop().time() + (seconds if self._bus.broken is None else 0)
        await asyncio.gather(self._sharing.stop(), self._session.stop())
        await self._return(self._queue.drain())
        in_hand = {*self._slots, *filter(None, (self._burst,))}
        if in_hand:
            _, late = await asyncio.wait(in_hand, timeout=max(0, end - asyncio.get_running_loop().time()))
            for task in late:
                task.cancel()
            if late:
                # They excuse and give back what they hold; whoever swallows the cancellation is ended for sure.
                _, late = await asyncio.wait(late, timeout=_LAST_SECONDS)
                await end_tasks(late)
        self._alive.stop()


def with_runs(
    bus: Bus,
    specs: tuple[ConsumerSpec, ConsumerSpec],
    handler: Handler,
    *,
    concurrency: tuple[int, int],
    lookahead: int,
    lane_of: LaneOf,
) -> list[EventConsumer]:
    """The consumers of a stage: of the documents themselves, and of replays, which have slots of their own.

    `specs` and `concurrency` are of the documents first. Of replays all is of the bulk lane, so they need no `lane_of`.
    """
    documents, runs = specs
    slots, run_slots = concurrency
    return [
        EventConsumer(bus, documents, handler, concurrency=slots, lookahead=lookahead, lane_of=lane_of),
        EventConsumer(bus, runs, handler, concurrency=run_slots, lookahead=lookahead),
    ]


async def run_consumers(consumers: Sequence[EventConsumer], lifecycle: Lifecycle) -> None:
    """Start them all, say that the process takes work, and run them until it is told to stop.

    Raises:
        TransientError: the server did not answer at the start.
        BillowError: the connection is gone for good.
    """
    for consumer in consumers:
        await consumer.start()
    lifecycle.ready()
    await asyncio.gather(*(consumer.run(lifecycle.stopping, drain=lifecycle.drain) for consumer in consumers))
