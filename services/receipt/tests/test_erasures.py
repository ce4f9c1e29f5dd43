# pyright: reportUnknownMemberType=false
"""After an erasure nothing about the document is found anywhere, and nothing that is late brings it back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.erasure import (
    document_erasure,
    find_report,
    preview,
    state_erasure,
    tenant_erasure,
    wait_for_report,
)
from billow.bus.erasure.messages import subjects_of
from billow.bus.images import ImageStore
from billow.bus.outcome import latest_record
from billow.bus.provision import provision
from billow.bus.publish import find_event, publish_event
from billow.bus.tenants import ensure_tenants, set_policy
from billow.bus.topology import (
    DEADLETTERS,
    DOCUMENTS,
    RECEIPT,
    RECEIPT_CANCELLATIONS,
    RECEIPT_ERASURES,
    RECEIPT_FAILURES,
    RECEIPT_PROMOTIONS,
    RECEIPT_RUNS,
    REPLAYS_BUCKET,
)
from billow.schemas import codec
from billow.schemas.events import Erased, Recognized, Submitted, event_id
from billow.schemas.tenants import TenantPolicy
from billow.services.receipt.erasures import Erasures
from billow.services.receipt.forgetting import forgetting
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.retention import sweep
from billow.services.receipt.store import Store
from billow.services.receipt.tombstones import Tombstones
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import (
    make_analyzed,
    make_cancelled,
    make_promoted,
    make_recognized,
    make_record,
    make_submitted,
)
from billow.testkit.traces import TENANT, files_with, hand_in, keep_replay_report, say, traces

MARK = "Zq7MarkOfDocumentOne"
OTHER = "Wx9MarkOfDocumentTwo"
CONSUMERS = (RECEIPT, RECEIPT_RUNS, RECEIPT_PROMOTIONS, RECEIPT_CANCELLATIONS, RECEIPT_FAILURES)


@pytest_asyncio.fixture
async def bus(embedded_server: EmbeddedServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(embedded_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@pytest_asyncio.fixture
async def erasures(bus: Bus, store: Store) -> AsyncIterator[Erasures]:
    """The second look comes soon."""
    async with forgetting(bus, store.engine, again=0.2, sweep=0) as erasures:
        yield erasures


@pytest_asyncio.fixture
async def service(bus: Bus, store: Store, erasures: Erasures) -> AsyncIterator[None]:
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with AsyncExitStack() as stack:
        for spec, on_event in (
            (RECEIPT, handler.on_analyzed),
            (RECEIPT_RUNS, handler.on_analyzed),
            (RECEIPT_PROMOTIONS, handler.on_promoted),
            (RECEIPT_CANCELLATIONS, handler.on_cancelled),
        ):
            await stack.enter_async_context(consuming(bus, erasures.guarded(on_event), spec))
        dead = erasures.guarded(handler.on_dead_letter)
        await stack.enter_async_context(consuming(bus, dead, RECEIPT_FAILURES, buries=False))
        await stack.enter_async_context(consuming(bus, erasures.on_erased, RECEIPT_ERASURES))
        yield


async def settle(bus: Bus) -> None:
    for spec in (*CONSUMERS, RECEIPT_ERASURES):
        await until(lambda spec=spec: settled(bus, spec), timeout=60)


async def places(bus: Bus, sequence: int, tenant: str = TENANT) -> dict[str, int]:
    report = await find_report(bus, tenant, sequence)
    assert report is not None
    return {each.place: each.count for each in report.removed if each.count}


async def test_after_an_erasure_nothing_of_the_document_is_found_in_streams_files_and_database(
    bus: Bus, store: Store, service: None, embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    await hand_in(bus, "doc-1", MARK)
    await hand_in(bus, "doc-2", OTHER)
    await keep_replay_report(bus, ("doc-1", MARK), ("doc-2", OTHER))
    await settle(bus)
    assert len({subject.split(".")[0] for subject in await traces(bus, MARK)}) >= 7
    assert await store.get(TENANT, "doc-1", 1) is not None
    others = set(await traces(bus, OTHER))
    sequence = await state_erasure(bus, document_erasure(TENANT, "doc-1", reason="ticket 12"))
    report = await wait_for_report(bus, TENANT, sequence, 60)
    assert report is not None
    assert report.state == "done"
    await settle(bus)
    counted = await places(bus, sequence)
    assert counted == {
        "inference work": 1,
        "images": 2,
        "records": 3,
        "runs": 2,
        "dead letters": 4,
        "shadows": 1,
        "results": 2,
        "replay reports": 1,
        "events": counted["events"],
    }
    assert counted["events"] >= 8
    assert await traces(bus, MARK) == []
    assert await store.count(TENANT) == 3
    assert not files_with(tmp_path, MARK)
    # Answers of models do not name their document, so all of the tenant's go; the rest of others stays.
    assert set(await traces(bus, OTHER)) == {each for each in others if not each.startswith("results.")}
    assert list(await subjects_of(bus, DOCUMENTS.name, f"documents.{TENANT}.*.doc-1")) == [
        f"documents.{TENANT}.erased.doc-1"
    ]
    await embedded_server.restart()
    await until(lambda: bus.client.is_connected)
    assert await traces(bus, MARK) == []
    # The report of a replay is replaced, not overwritten; see what is said of files that wait for their compaction.
    report = f"KV_{REPLAYS_BUCKET}"
    await until(lambda: {path.parts[-3] for path in files_with(embedded_server.store_dir, MARK)} <= {report})


async def test_erasing_twice_is_safe_and_the_second_finds_nothing(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    first = await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    await settle(bus)
    second = await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    await settle(bus)
    assert "events" in await places(bus, first)
    assert await places(bus, second) == {}
    assert await traces(bus, MARK) == []


async def test_a_backend_in_any_language_erases_with_one_plain_message(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    row = {
        "type": "document.erased.v1",
        "tenant": TENANT,
        "document_id": "doc-1",
        "event_id": "mine-1",
        "occurred_at": "2026-03-14T12:30:00+01:00",
    }
    await say(bus, DOCUMENTS.name, f"documents.{TENANT}.erased.doc-1", msgspec.json.encode(row))
    await settle(bus)
    assert await traces(bus, MARK) == []
    assert await store.count() == 0


async def test_what_comes_late_brings_nothing_back(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    await settle(bus)
    await publish_event(bus, make_recognized("doc-1", event_id="late-0", language=MARK))
    await publish_event(bus, make_analyzed("doc-1", event_id="late-1", language=MARK))
    await publish_event(bus, make_analyzed("doc-1", run_id="run-2", language=MARK))
    await publish_event(bus, make_cancelled("doc-1", event_id="late-3", reason=MARK))
    await publish_event(bus, make_promoted("doc-1", record=make_record("doc-1", source=MARK)))
    dead = {"Billow_Dead_Subject": f"documents.{TENANT}.submitted.doc-1"}
    data = codec.encode(make_submitted("doc-1", source=MARK))
    await say(bus, DEADLETTERS.name, f"deadletters.{TENANT}.ocr.submitted", data, **dead)
    await settle(bus)
    assert await store.count() == 0
    assert await latest_record(bus, TENANT, "doc-1") is None
    assert await traces(bus, MARK) == []


async def test_the_same_id_submitted_after_its_erasure_is_a_new_document(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    await settle(bus)
    images = ImageStore(bus.client)
    await images.put(TENANT, "doc-1/original", b"new bytes")
    moment = datetime.now(UTC)
    await publish_event(bus, make_submitted("doc-1", event_id="new-1", occurred_at=moment, source="new.jpg"))
    new = make_analyzed("doc-1", event_id="new-2")
    origin = msgspec.structs.replace(new.origin, submitted_at=moment, source="new.jpg")
    # Of the old one, from a service that had it in its hands.
    await publish_event(bus, make_analyzed("doc-1", event_id="old", language="vi"))
    await publish_event(bus, msgspec.structs.replace(new, origin=origin))
    await settle(bus)
    record = await store.get(TENANT, "doc-1")
    assert record is not None
    assert (record.source, record.language) == ("new.jpg", "en")
    assert await store.count() == 1
    assert await images.get(TENANT, "doc-1/original") == b"new bytes"
    # Also where the erasure is looked at once more.
    await settle(bus)
    assert await find_event(bus, Submitted, TENANT, "doc-1", 1) is not None


async def test_what_was_in_hand_is_told_to_stop(bus: Bus, store: Store, service: None) -> None:
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.client.subscribe("cancelled.>", cb=heard.put)
    await publish_event(bus, make_submitted("doc-1"))
    await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    message = await asyncio.wait_for(heard.get(), 60)
    assert message.subject == f"cancelled.{TENANT}.doc-1"
    await settle(bus)


async def test_an_erasure_that_nobody_carried_out_is_done_when_the_service_is_back(
    bus: Bus, store: Store, erasures: Erasures
) -> None:
    await hand_in(bus, "doc-1", MARK)
    sequence = await state_erasure(bus, document_erasure(TENANT, "doc-1"))
    assert await wait_for_report(bus, TENANT, sequence, 0.3) is None
    async with consuming(bus, erasures.on_erased, RECEIPT_ERASURES):
        await until(lambda: settled(bus, RECEIPT_ERASURES), timeout=60)
    assert await traces(bus, MARK) == []


@pytest.mark.parametrize("erase", [document_erasure(TENANT, "doc-1"), tenant_erasure(TENANT)])
async def test_what_is_submitted_after_a_restore_is_new_also_where_the_stream_ended_later_once(
    bus: Bus, store: Store, erase: Erased
) -> None:
    # Erased at a place that the stream does not have any more, since it comes from a backup of before.
    await Tombstones(store.engine).bury(erase, 5_000, datetime.now(UTC) - timedelta(hours=1))
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with (
        forgetting(bus, store.engine, again=0.2, sweep=0) as erasures,
        consuming(bus, erasures.guarded(handler.on_analyzed), RECEIPT),
    ):
        moment = datetime.now(UTC)
        await publish_event(bus, make_submitted("doc-1", occurred_at=moment))
        analyzed = make_analyzed("doc-1")
        origin = msgspec.structs.replace(analyzed.origin, submitted_at=moment)
        await publish_event(bus, msgspec.structs.replace(analyzed, origin=origin))
        await until(lambda: settled(bus, RECEIPT), timeout=60)
    assert await store.get(TENANT, "doc-1") is not None
    assert await find_event(bus, Submitted, TENANT, "doc-1", 1) is not None


async def test_a_tenant_goes_whole_and_another_stays(
    bus: Bus, store: Store, service: None, embedded_server: EmbeddedServer
) -> None:
    await hand_in(bus, "doc-1", MARK)
    await hand_in(bus, "doc-2", MARK)
    await hand_in(bus, "doc-9", OTHER, tenant="other")
    await settle(bus)
    others = sorted(await traces(bus, OTHER))
    event = tenant_erasure(TENANT)
    would = {each.place: each.count for each in await preview(bus, event) if each.count}
    sequence = await state_erasure(bus, event)
    await settle(bus)
    counted = await places(bus, sequence)
    assert counted["records"] == 6
    assert counted["images"] == 4
    assert {place: number for place, number in counted.items() if place != "records"} == would
    assert await traces(bus, MARK) == []
    assert sorted(await traces(bus, OTHER)) == others
    assert await store.count() == await store.count("other") == 3
    # The bucket stays, empty: an original that is handed in meanwhile has its place.
    assert (await bus.js.stream_info(f"OBJ_IMAGES_{TENANT}")).state.bytes == 0
    bucket = embedded_server.store_dir / "jetstream" / "$G" / "streams" / f"OBJ_IMAGES_{TENANT}"
    # What is purged whole the server puts aside first, and deletes in the background.
    await until(lambda: not files_with(bucket, MARK))
    await publish_event(bus, make_submitted("doc-3"))
    await publish_event(bus, make_analyzed("doc-3"))
    await settle(bus)
    assert await store.get(TENANT, "doc-3") is not None


async def test_only_what_was_submitted_before_goes(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    border = datetime.now(UTC)
    await hand_in(bus, "doc-2", OTHER)
    await settle(bus)
    others = sorted(await traces(bus, OTHER))
    await state_erasure(bus, tenant_erasure(TENANT, before=border))
    await settle(bus)
    # Answers of models are gone within the hour by themselves.
    assert [each for each in await traces(bus, MARK) if not each.startswith("results.")] == []
    assert sorted(await traces(bus, OTHER)) == others
    assert await store.get(TENANT, "doc-1") is None
    assert await store.get(TENANT, "doc-2") is not None
    # Submitted before, and stated now.
    await publish_event(bus, make_analyzed("doc-1", event_id="late", language=MARK))
    await settle(bus)
    assert await store.get(TENANT, "doc-1") is None
    assert await find_event(bus, Recognized, TENANT, "doc-1", 1) is None


async def test_the_retention_of_each_tenant_is_applied_and_without_a_policy_all_stays(
    bus: Bus, store: Store, service: None
) -> None:
    await hand_in(bus, "doc-1", MARK)
    await hand_in(bus, "doc-9", OTHER, tenant="other")
    await settle(bus)
    tombstones = Tombstones(store.engine)
    await ensure_tenants(bus)
    await set_policy(bus, TENANT, TenantPolicy(retention_s=3600))
    assert await sweep(bus, tombstones, step=0.001) == 0
    await set_policy(bus, TENANT, TenantPolicy(retention_s=0.001))
    assert await sweep(bus, tombstones, step=0.001) == 1
    await settle(bus)
    assert [each for each in await traces(bus, MARK) if not each.startswith("results.")] == []
    assert await store.count(TENANT) == 0
    assert await store.count("other") == 3
    assert await traces(bus, OTHER)
    assert await sweep(bus, tombstones, step=0.001) == 0


async def test_a_preview_changes_nothing(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1", MARK)
    await settle(bus)
    before = await traces(bus, MARK)
    removed = {each.place: each.count for each in await preview(bus, document_erasure(TENANT, "doc-1")) if each.count}
    assert removed["images"] == 2
    assert removed["dead letters"] == 4
    assert await traces(bus, MARK) == before


async def test_tombstones_are_forgotten_once_the_stream_cannot_hold_anything_older(store: Store) -> None:
    tombstones = Tombstones(store.engine)
    now = datetime.now(UTC)
    await tombstones.bury(document_erasure(TENANT, "doc-1"), 5, now - timedelta(days=100))
    await tombstones.bury(document_erasure(TENANT, "doc-2"), 6, now)
    await tombstones.forget_old()
    assert await tombstones.names() == {(TENANT, "doc-2")}


def test_events_are_named_so_that_two_erasures_are_two() -> None:
    names = {document_erasure(TENANT, "doc-1").event_id for _ in range(100)}
    assert len(names) == 100
    assert event_id("erased", "doc-1", 1) not in names
