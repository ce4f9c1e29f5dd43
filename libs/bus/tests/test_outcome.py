# pyright: reportUnknownMemberType=false
"""Waiting for an outcome on a real server, where looking for it again would come too late."""

import asyncio

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from billow.bus import outcome
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.outcome import Outcomes, latest_record
from billow.bus.publish import publish_event
from billow.runtime.errors import BillowError
from billow.schemas.record import Failure, Record
from billow.testkit.events import make_completed, make_failed


@pytest.fixture(autouse=True)
def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_LOOK_AGAIN_SECONDS", 3600)


async def test_what_comes_later_is_heard_for_its_own_revision_and_run(bus: Bus) -> None:
    async with Outcomes(bus, "default").watch("doc-1", 2) as watch:
        waiting = asyncio.create_task(watch.record(30))
        await publish_event(bus, make_completed("doc-1", revision=1))
        await publish_event(bus, make_completed("doc-1", revision=2, run_id="run-1"))
        expected = make_failed("doc-1", revision=2)
        await publish_event(bus, expected)
        assert await waiting == expected.record


async def test_what_came_while_the_connection_was_away_is_found_when_it_is_back(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async with Outcomes(bus, "default").watch("doc-1", 1) as watch:
        waiting = asyncio.create_task(watch.record(60))
        await asyncio.sleep(0)
        await embedded_server.restart()
        async with await Bus.connect(embedded_server.url, name="other") as other:
            expected = make_completed("doc-1")
            await publish_event(other, expected)
            assert await waiting == expected.record


async def test_a_replay_is_not_taken_for_the_record(bus: Bus) -> None:
    error = Failure(code="cancelled", message="It was cancelled.")
    own = make_failed("doc-1", status="cancelled", error=error)
    await publish_event(bus, own)
    await publish_event(bus, make_completed("doc-1", run_id="run-1"))
    assert await latest_record(bus, "default", "doc-1") == own.record


async def test_thousands_wait_with_two_subscriptions_and_few_looks(bus: Bus, nats_client: Client) -> None:
    requests: list[str] = []

    async def count(message: Msg) -> None:
        requests.append(message.subject)

    await nats_client.subscribe("$JS.API.DIRECT.GET.>", cb=count)
    await nats_client.flush()
    before = await subscriptions(bus)
    outcomes = Outcomes(bus, "default")
    names = [f"doc-{number}" for number in range(2_000)]
    await publish_event(bus, make_completed("doc-7"))

    async def wait(name: str) -> Record:
        async with outcomes.watch(name, 1) as watch:
            return await watch.record(150)

    waiting = [asyncio.create_task(wait(name)) for name in names]
    assert (await waiting[7]).document_id == "doc-7"
    assert await subscriptions(bus) <= before + 5
    await asyncio.gather(*(publish_event(bus, make_completed(name)) for name in names if name != "doc-7"))
    assert [record.document_id for record in await asyncio.gather(*waiting)] == names
    await nats_client.flush()
    # Not one for each: many are asked about at once, and only one had ended before it was waited for.
    assert len(requests) < 100
    # Who waits no more leaves nothing behind but the inboxes of the connection.
    assert await subscriptions(bus) <= before + 2


async def subscriptions(bus: Bus) -> int:
    return len(bus.client._subs)  # pyright: ignore[reportPrivateUsage]


async def test_a_connection_that_is_gone_for_good_ends_the_wait(bus: Bus) -> None:
    async with Outcomes(bus, "default").watch("doc-1", 1) as watch:
        waiting = asyncio.create_task(watch.record(60))
        await asyncio.sleep(0)
        await bus.client.close()
        watch.look_soon()
        with pytest.raises(BillowError, match="for good"):
            await waiting
