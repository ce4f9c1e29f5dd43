# pyright: reportUnknownMemberType=false
"""Taking documents back, on a real server where the test itself says the outcomes."""

import asyncio

import pytest
from nats.aio.client import Client

from billow.bus.connection import Bus
from billow.bus.publish import latest_event, publish_event
from billow.client import Billow
from billow.schemas import codec
from billow.schemas.events import Cancelled
from billow.schemas.record import Failure
from billow.testkit.events import make_completed, make_failed

REASON = Failure(code="cancelled", message="It was cancelled.", stage="receipt")


async def test_who_works_on_it_is_told_and_who_waits_for_it_gets_the_record(
    billow: Billow, bus: Bus, nats_client: Client
) -> None:
    heard = await nats_client.subscribe("cancelled.>")
    await nats_client.flush()
    await billow.submit(b"photo", document_id="doc-1")
    waiting = asyncio.create_task(billow.result("doc-1", timeout=60))
    cancelling = asyncio.create_task(billow.cancel("doc-1", reason="The wrong photo.", timeout=60))
    message = await heard.next_msg(timeout=60)
    # It was safe before anybody was told.
    stated = await latest_event(bus, Cancelled, "default", "doc-1")
    assert stated is not None
    assert codec.decode(message.data, Cancelled) == stated
    assert (stated.revision, stated.reason) == (1, "The wrong photo.")
    outcome = make_failed("doc-1", status="cancelled", error=REASON)
    await publish_event(bus, outcome)
    assert await cancelling == await waiting == outcome.record
    assert await billow.get("doc-1") == outcome.record
    # Again, and nobody has to answer.
    assert await billow.cancel("doc-1") == outcome.record


async def test_what_ended_before_stays_as_it_is(billow: Billow, bus: Bus) -> None:
    await billow.submit(b"photo", document_id="doc-1")
    completed = make_completed("doc-1")
    await publish_event(bus, completed)
    assert await billow.cancel("doc-1") == completed.record
    assert await latest_event(bus, Cancelled, "default", "doc-1") is None


async def test_the_revision_handed_in_last_is_meant_unless_another_is_named(billow: Billow, bus: Bus) -> None:
    await billow.submit(b"one", document_id="doc-1")
    await billow.submit(b"two", document_id="doc-1", revision=2)
    for given, meant in ((None, 2), (1, 1)):
        with pytest.raises(TimeoutError, match="is cancelled, but nothing recorded it"):
            await billow.cancel("doc-1", revision=given, timeout=0.1)
        stated = await latest_event(bus, Cancelled, "default", "doc-1")
        assert stated is not None
        assert stated.revision == meant


async def test_there_is_nothing_to_cancel_where_nothing_was_handed_in(billow: Billow, bus: Bus) -> None:
    assert await billow.cancel("never-seen") is None
    await billow.submit(b"photo", document_id="doc-1")
    assert await billow.cancel("doc-1", revision=2) is None
    assert await latest_event(bus, Cancelled, "default", "never-seen") is None


async def test_a_bad_id_and_a_reason_that_is_a_novel_are_refused(billow: Billow) -> None:
    with pytest.raises(ValueError, match="document_id"):
        await billow.cancel("A.B")
    with pytest.raises(ValueError, match="1,024"):
        await billow.cancel("doc-1", reason="x" * 1025)
