# pyright: reportUnknownMemberType=false
"""Cancellations on a real server, said by a stock NATS client."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client

from billow.bus import cancellations as module
from billow.bus.cancellations import Cancellations, announce
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.publish import find_event, latest_event, publish_event
from billow.schemas import codec, subjects
from billow.schemas.events import Cancelled
from billow.testkit.consuming import until
from billow.testkit.events import make_cancelled, make_submitted


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 14, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, **by: float) -> None:
        self.time += timedelta(**by)


@contextlib.asynccontextmanager
async def listening(bus: Bus, clock: Callable[[], datetime] = module.utc_now) -> AsyncGenerator[Cancellations]:
    cancellations = Cancellations(bus, now=clock)
    await cancellations.start()
    try:
        yield cancellations
    finally:
        await cancellations.stop()


async def say(client: Client, event: Cancelled) -> None:
    await client.publish(subjects.cancelled(event.tenant, event.document_id), codec.encode(event))


async def test_what_a_stock_client_says_is_heard_for_its_revision_alone(bus: Bus, stock: Client) -> None:
    async with listening(bus) as heard:
        assert not heard.is_cancelled("default", "doc-1", 2)
        await stock.publish(
            "cancelled.default.doc-1",
            b'{"type": "document.cancelled.v1", "tenant": "default", "document_id": "doc-1", "event_id": "mine",'
            b' "occurred_at": "2026-03-14T12:30:00Z", "revision": 2}',
        )
        await until(lambda: heard.is_cancelled("default", "doc-1", 2))
        assert not heard.is_cancelled("default", "doc-1", 1)
        assert not heard.is_cancelled("default", "doc-1", 2, "run-1")
        assert not heard.is_cancelled("other", "doc-1", 2)


async def test_what_makes_no_sense_is_passed_over(bus: Bus, stock: Client) -> None:
    async with listening(bus) as heard:
        await stock.publish("cancelled.default.doc-1", b"nonsense")
        await stock.publish("cancelled.default.doc-1", codec.encode(make_cancelled("doc-2")))
        await say(stock, make_cancelled("doc-3"))
        await until(lambda: heard.is_cancelled("default", "doc-3", 1))
        assert not heard.is_cancelled("default", "doc-1", 1)
        assert not heard.is_cancelled("default", "doc-2", 1)


async def test_the_stream_is_asked_only_where_memory_cannot_tell(bus: Bus) -> None:
    clock = Clock()
    await publish_event(bus, make_cancelled("doc-1"))
    async with listening(bus, clock) as heard:
        event, before, after = make_submitted("doc-1"), clock() - timedelta(1), clock() + timedelta(seconds=10)
        assert await heard.is_settled(event, since=before, again=False)
        assert await heard.is_settled(event, since=after, again=True)
        # Whoever was submitted while we listened was not cancelled, or we would have heard.
        assert not await heard.is_settled(event, since=after, again=False)
        assert not await heard.is_settled(make_submitted("doc-2"), since=before, again=True)
        assert not await heard.is_settled(make_submitted("doc-1", revision=2), since=before, again=True)


async def test_what_was_only_heard_is_stated_before_a_document_is_dropped(bus: Bus, stock: Client) -> None:
    async with listening(bus) as heard:
        # An id that the stream would drop as a repetition.
        submitted = make_submitted("doc-1")
        await publish_event(bus, submitted)
        await say(stock, make_cancelled("doc-1", event_id=submitted.event_id, reason="No."))
        await until(lambda: heard.heard(submitted))
        for _ in range(2):
            assert await heard.is_settled(submitted, since=module.utc_now(), again=False)
        stated = await latest_event(bus, Cancelled, "default", "doc-1")
        assert stated is not None
        assert (stated.reason, stated.event_id) == ("No.", "doc-1.1.cancelled")
        info = await bus.js.stream_info("DOCUMENTS", subjects_filter="documents.*.cancelled.*")
        assert info.state.subjects == {"documents.default.cancelled.doc-1": 1}


async def test_after_a_lost_connection_the_stream_is_asked_again(bus: Bus, embedded_server: EmbeddedServer) -> None:
    clock = Clock()
    async with listening(bus, clock) as heard:
        submitted, since = make_submitted("doc-1"), clock() + timedelta(seconds=10)
        clock.turn(minutes=1)
        await publish_event(bus, make_cancelled("doc-1"))
        assert not await heard.is_settled(submitted, since=since, again=False)
        back = asyncio.Event()
        bus.on_reconnect(back.set)
        await embedded_server.restart()
        await asyncio.wait_for(back.wait(), 20)
        assert await heard.is_settled(submitted, since=since, again=False)
        # And after it one hears again.
        await announce(bus, make_cancelled("doc-2"))
        await until(lambda: heard.is_cancelled("default", "doc-2", 1))


async def test_memory_is_bounded_and_what_was_forgotten_is_asked_for(
    bus: Bus, stock: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    clock = Clock()
    async with listening(bus, clock) as heard:
        clock.turn(minutes=1)
        since = clock()
        for number in range(3):
            clock.turn(minutes=1)
            await publish_event(bus, make_cancelled(f"doc-{number}"))
            await say(stock, make_cancelled(f"doc-{number}"))
            await until(lambda name=f"doc-{number}": heard.is_cancelled("default", name, 1))
        assert [heard.is_cancelled("default", f"doc-{number}", 1) for number in range(3)] == [False, True, True]
        assert await heard.is_settled(make_submitted("doc-0"), since=since, again=False)
        clock.turn(hours=2)
        await say(stock, make_cancelled("doc-3"))
        await until(lambda: heard.is_cancelled("default", "doc-3", 1))
        assert not heard.is_cancelled("default", "doc-2", 1)
        assert await heard.is_settled(make_submitted("doc-2"), since=since, again=False)


async def test_a_watcher_is_told_at_once_and_when_it_comes(bus: Bus, stock: Client) -> None:
    async with listening(bus) as heard:
        told: list[str] = []
        with heard.watch(make_submitted("doc-1"), lambda: told.append("first")):
            await say(stock, make_cancelled("doc-1"))
            await until(lambda: told == ["first"])
            with heard.watch(make_submitted("doc-1"), lambda: told.append("second")):
                assert told == ["first", "second"]
        await say(stock, make_cancelled("doc-1"))
        await say(stock, make_cancelled("doc-2"))
        await until(lambda: heard.is_cancelled("default", "doc-2", 1))
        assert told == ["first", "second"]


async def test_nothing_is_stated_for_a_document_that_nobody_cancelled(bus: Bus) -> None:
    async with listening(bus) as heard:
        assert not await heard.is_settled(make_submitted("doc-1"), since=module.utc_now(), again=True)
        assert await find_event(bus, Cancelled, "default", "doc-1", 1) is None
