# pyright: reportUnknownMemberType=false
"""What becomes of a cancelled document: the receipt service on a real server, with its database."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
from nats.aio.client import Client

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.outcome import latest_record
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import DEADLETTERS, RECEIPT, RECEIPT_CANCELLATIONS
from billow.schemas import codec
from billow.schemas.events import Cancelled, Completed, Failed
from billow.schemas.record import Record
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.testkit.consuming import settled, until
from billow.testkit.events import make_analyzed, make_cancelled, make_submitted


@pytest_asyncio.fixture(autouse=True)
async def service(bus: Bus, store: Store) -> AsyncIterator[None]:
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    consumers = [
        EventConsumer(bus, RECEIPT, handler.on_analyzed, concurrency=2),
        EventConsumer(bus, RECEIPT_CANCELLATIONS, handler.on_cancelled, concurrency=2),
    ]
    stopping = asyncio.Event()
    for consumer in consumers:
        await consumer.start()
    running = [asyncio.create_task(consumer.run(stopping)) for consumer in consumers]
    yield
    stopping.set()
    await asyncio.gather(*running)


async def settle(bus: Bus) -> None:
    """Until the service has done with all there is."""
    for spec in (RECEIPT, RECEIPT_CANCELLATIONS):
        await until(lambda spec=spec: settled(bus, spec), timeout=60)


async def outcome(bus: Bus, store: Store, document_id: str = "doc-1", revision: int = 1) -> Record:
    """What event and database say; they must agree."""
    said = await latest_record(bus, "default", document_id, revision=revision)
    assert said is not None
    assert said == await store.get("default", document_id, revision)
    return said


async def test_a_cancelled_document_ends_in_a_record_that_says_why(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_submitted(source="lunch.jpg", kind="receipt", language="en"))
    await publish_event(bus, make_cancelled(reason="It was the wrong photo.", source="the app"))
    await settle(bus)
    record = await outcome(bus, store)
    assert (record.status, record.source, record.kind, record.language) == ("cancelled", "lunch.jpg", "receipt", "en")
    assert record.error is not None
    assert record.error.code == "cancelled"
    assert "by the app: It was the wrong photo." in record.error.message
    assert "higher revision" in record.error.message
    assert await latest_event(bus, Completed, "default", "doc-1") is None


async def test_what_was_completed_before_stays_and_is_said_again(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_analyzed())
    await settle(bus)
    await publish_event(bus, make_cancelled())
    await settle(bus)
    assert (await outcome(bus, store)).status == "completed"
    assert await latest_event(bus, Failed, "default", "doc-1") is None


async def test_what_is_analyzed_after_all_stays_cancelled(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_cancelled())
    await settle(bus)
    await publish_event(bus, make_analyzed())
    await settle(bus)
    assert (await outcome(bus, store)).status == "cancelled"
    assert await latest_event(bus, Completed, "default", "doc-1") is None


async def test_cancelling_twice_changes_nothing(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_cancelled(reason="First."))
    await settle(bus)
    # As long after that the server has forgotten the id of the first.
    await publish_event(bus, make_cancelled(reason="Second.", event_id="another"))
    await settle(bus)
    record = await outcome(bus, store)
    assert record.error is not None
    assert "First." in record.error.message
    assert await store.count() == 1


async def test_another_revision_is_processed_as_ever(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_cancelled(revision=1))
    await publish_event(bus, make_analyzed(revision=2))
    await settle(bus)
    assert (await outcome(bus, store, revision=1)).status == "cancelled"
    assert (await outcome(bus, store, revision=2)).status == "completed"
    newest = await latest_record(bus, "default", "doc-1")
    assert newest is not None
    assert newest.revision == 2


async def test_a_document_that_nobody_handed_in_has_a_record_too(bus: Bus, store: Store) -> None:
    await publish_event(bus, make_cancelled("never-seen"))
    await settle(bus)
    record = await outcome(bus, store, "never-seen")
    assert (record.status, record.source) == ("cancelled", "")


async def test_one_plain_message_on_the_stream_is_enough_and_all_who_work_hear_it(
    bus: Bus, store: Store, nats_client: Client
) -> None:
    heard = await nats_client.subscribe("cancelled.>")
    await nats_client.flush()
    row = {
        "type": "document.cancelled.v1",
        "tenant": "default",
        "document_id": "doc-1",
        "event_id": "mine-1",
        "occurred_at": "2026-03-14T12:30:00+01:00",
    }
    await nats_client.jetstream().publish("documents.default.cancelled.doc-1", msgspec.json.encode(row))
    message = await heard.next_msg(timeout=60)
    assert message.subject == "cancelled.default.doc-1"
    assert codec.decode(message.data, Cancelled).document_id == "doc-1"
    await settle(bus)
    assert (await outcome(bus, store)).status == "cancelled"


async def test_a_cancellation_that_makes_no_sense_cancels_nothing(bus: Bus, store: Store, nats_client: Client) -> None:
    js = nats_client.jetstream()
    await js.publish("documents.default.cancelled.doc-1", b"nonsense")
    await js.publish("documents.default.cancelled.doc-1", codec.encode(make_cancelled("doc-2")))
    await settle(bus)
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.messages == 2
    assert await store.count() == 0


async def test_the_bytes_that_crossed_the_link_are_kept(bus: Bus, store: Store) -> None:
    sent = {"original": 400_000, "text-detection": 180_000}
    await publish_event(bus, make_analyzed(link_bytes=sent))
    await settle(bus)
    assert (await outcome(bus, store)).link_bytes == sent
