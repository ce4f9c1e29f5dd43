# pyright: reportUnknownMemberType=false
"""A backend that goes away and comes back misses nothing."""

import asyncio
from datetime import timedelta

import pytest

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.publish import publish_event
from billow.client import Billow, Subscription
from billow.schemas.events import Completed, Failed
from billow.testkit.consuming import until
from billow.testkit.events import make_completed, make_failed, make_recognized, make_submitted
from billow.testkit.plugin import NatsServer


async def take(subscription: Subscription, count: int) -> list[str]:
    """Documents of the next events."""
    async with asyncio.timeout(60):
        return [(await anext(subscription)).document_id for _ in range(count)]


async def test_what_happens_while_a_backend_is_away_is_told_when_it_is_back(
    nats_server: NatsServer, bus: Bus, billow: Billow
) -> None:
    await publish_event(bus, make_completed("before"))
    async with Billow(nats_server.url) as first, first.subscribe("shop", kinds=["completed", "failed"]) as events:
        await publish_event(bus, make_submitted("doc-1"))
        await publish_event(bus, make_completed("doc-1"))
        async with asyncio.timeout(60):
            event = await anext(events)
        assert isinstance(event, Completed)
        assert (event.document_id, event.record.fields["total"].value) == ("doc-1", "13.14")
    await publish_event(bus, make_completed("doc-2"))
    await publish_event(bus, make_failed("doc-3"))
    async with billow.subscribe("shop", kinds=["completed", "failed"]) as events:
        assert await take(events, 2) == ["doc-2", "doc-3"]
    # All of it is done; a name that is forgotten begins anew.
    assert await billow.unsubscribe("shop")
    assert not await billow.unsubscribe("shop")
    async with billow.subscribe("shop", since=timedelta(hours=1)) as events:
        assert await take(events, 5) == ["before", "doc-1", "doc-1", "doc-2", "doc-3"]


async def test_an_event_whose_handling_fails_comes_again(billow: Billow, bus: Bus) -> None:
    async with billow.subscribe("shop") as events:
        for number in (1, 2, 3):
            await publish_event(bus, make_completed(f"doc-{number}"))
        assert await take(events, 1) == ["doc-1"]
    with pytest.raises(RuntimeError, match="my database"):
        async with billow.subscribe("shop") as events:
            assert await take(events, 1) in (["doc-2"], ["doc-3"])
            raise RuntimeError("my database is away")
    async with billow.subscribe("shop") as events:
        assert sorted(await take(events, 2)) == ["doc-2", "doc-3"]


async def test_two_processes_with_one_name_share_the_events(billow: Billow, nats_server: NatsServer, bus: Bus) -> None:
    async def drain(subscription: Subscription, found: list[str]) -> None:
        async for event in subscription:
            found.append(event.document_id)
            await asyncio.sleep(0.001)

    async def both_ask() -> bool:
        return (await bus.js.consumer_info("DOCUMENTS", "client=default=shop")).num_waiting == 2

    documents = [f"doc-{number}" for number in range(300)]
    shares: list[list[str]] = [[], []]
    async with (
        Billow(nats_server.url) as other,
        billow.subscribe("shop") as one,
        other.subscribe("shop") as two,
    ):
        tasks = [asyncio.create_task(drain(one, shares[0])), asyncio.create_task(drain(two, shares[1]))]
        # Both have asked the server, so that none can take all before the other is heard.
        await until(both_ask)
        await asyncio.gather(*(publish_event(bus, make_completed(name)) for name in documents))
        async with asyncio.timeout(60):
            while len(shares[0]) + len(shares[1]) < len(documents):
                await asyncio.sleep(0.01)
        await one.close()
        await two.close()
        await asyncio.gather(*tasks)
    assert sorted(shares[0] + shares[1]) == sorted(documents)
    assert all(shares)


async def test_a_restart_of_the_server_is_survived(embedded_server: EmbeddedServer) -> None:
    async with (
        Billow(embedded_server.url) as billow,
        await Bus.connect(embedded_server.url, name="test") as bus,
        billow.subscribe("shop") as events,
    ):
        await publish_event(bus, make_completed("doc-1"))
        assert await take(events, 1) == ["doc-1"]
        waiting = asyncio.create_task(take(events, 2))
        await asyncio.sleep(0)
        await embedded_server.restart()
        await publish_event(bus, make_completed("doc-2"))
        await publish_event(bus, make_completed("doc-3"))
        assert await waiting == ["doc-2", "doc-3"]


async def test_a_consumer_that_somebody_deleted_goes_on_where_it_was(billow: Billow, bus: Bus) -> None:
    async with billow.subscribe("shop") as events:
        await publish_event(bus, make_completed("doc-1"))
        assert await take(events, 1) == ["doc-1"]
        waiting = asyncio.create_task(take(events, 2))
        await asyncio.sleep(0.1)
        await publish_event(bus, make_completed("doc-2"))
        # doc-1 is done, doc-2 is in hand or done.
        await bus.js.delete_consumer("DOCUMENTS", "client=default=shop")
        await publish_event(bus, make_completed("doc-3"))
        found = await waiting
        assert found[0] == "doc-2"
        if found[1] == "doc-2":  # its acknowledgement was lost with the consumer
            found = await take(events, 1)
        assert found[-1] == "doc-3"


async def test_nonsense_in_the_stream_is_passed_over_and_other_kinds_are_chosen_later(billow: Billow, bus: Bus) -> None:
    async with billow.subscribe("shop", kinds=["completed"]) as events:
        await bus.js.publish("documents.default.completed.doc-x", b"nonsense")
        await publish_event(bus, make_completed("doc-1"))
        assert await take(events, 1) == ["doc-1"]
    async with billow.subscribe("shop", kinds=["failed", "recognized"]) as events:
        for event in (make_completed("doc-2"), make_recognized("doc-2"), make_failed("doc-3")):
            await publish_event(bus, event)
        assert await take(events, 1) == ["doc-2"]
        async with asyncio.timeout(60):
            assert isinstance(await anext(events), Failed)


@pytest.mark.parametrize("name", ["My Backend", "a.b", ""])
async def test_a_name_is_a_token(billow: Billow, name: str) -> None:
    with pytest.raises(ValueError, match="durable"):
        billow.subscribe(name)
