# pyright: reportUnknownMemberType=false
"""What belongs to a replay never touches the record, until it is promoted; a promotion can be undone."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.outcome import latest_record
from billow.bus.publish import find_event, publish, publish_event
from billow.bus.topology import (
    DEADLETTERS,
    DOCUMENTS,
    RECEIPT,
    RECEIPT_FAILURES,
    RECEIPT_PROMOTIONS,
    RECEIPT_RUNS,
    RUNS,
)
from billow.schemas.events import Completed, Failed, Promoted
from billow.schemas.record import Record
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_analyzed, make_promoted, make_record

RUN = "run-1"


@pytest_asyncio.fixture(autouse=True)
async def service(bus: Bus, store: Store) -> AsyncIterator[None]:
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with AsyncExitStack() as stack:
        for spec, on_event in (
            (RECEIPT, handler.on_analyzed),
            (RECEIPT_RUNS, handler.on_analyzed),
            (RECEIPT_PROMOTIONS, handler.on_promoted),
        ):
            await stack.enter_async_context(consuming(bus, on_event, spec))
        await stack.enter_async_context(consuming(bus, handler.on_dead_letter, RECEIPT_FAILURES, buries=False))
        yield


async def count(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.messages


async def settle(bus: Bus) -> None:
    for spec in (RECEIPT, RECEIPT_RUNS, RECEIPT_PROMOTIONS, RECEIPT_FAILURES):
        await until(lambda spec=spec: settled(bus, spec), timeout=60)


async def make_official(bus: Bus) -> Record:
    await publish_event(bus, make_analyzed())
    await settle(bus)
    record = await latest_record(bus, "default", "doc-1")
    assert record is not None
    return record


def promotion(record: Record, before: Record | None, name: str = "promote-run-1") -> Promoted:
    event = make_promoted(record=record)
    return msgspec.structs.replace(event, promotion=name, event_id=f"{name}.doc-1.1", before=before)


async def test_the_result_of_a_run_lies_under_the_run_and_nowhere_else(bus: Bus, store: Store) -> None:
    official = await make_official(bus)
    documents = await count(bus, DOCUMENTS.name)
    await publish_event(bus, make_analyzed(run_id=RUN, language="de"))
    await settle(bus)
    completed = await find_event(bus, Completed, "default", "doc-1", 1, RUN)
    assert completed is not None
    assert (completed.record.language, completed.record.run_id) == ("de", RUN)
    assert "total" not in completed.record.timings_ms
    assert await count(bus, DOCUMENTS.name) == documents
    assert await store.get("default", "doc-1") == official
    assert await store.count() == 1


async def test_what_fails_in_a_run_fails_there(bus: Bus, store: Store) -> None:
    await publish(bus, f"runs.default.{RUN}.analyzed.doc-1", b"{", message_id=None, stream=RUNS.name, extra={})
    await until(lambda: _is_there(bus, Failed))
    failed = await find_event(bus, Failed, "default", "doc-1", 1, RUN)
    assert failed is not None
    assert failed.record.error is not None
    assert failed.record.error.code == "undecodable_event"
    assert await store.count() == 0


async def _is_there(bus: Bus, type_: type[Failed]) -> bool:
    return await find_event(bus, type_, "default", "doc-1", 1, RUN) is not None


async def test_an_event_under_another_run_than_it_says_is_refused(bus: Bus) -> None:
    event = make_analyzed(run_id="run-2")
    await publish(
        bus, f"runs.default.{RUN}.analyzed.doc-1", msgspec.json.encode(event), message_id=None, stream="RUNS", extra={}
    )
    await until(lambda: _is_there(bus, Failed))
    failed = await find_event(bus, Failed, "default", "doc-1", 1, RUN)
    assert failed is not None
    assert failed.record.error is not None
    assert failed.record.error.code == "misaddressed_event"


async def test_a_promoted_record_is_the_official_one_and_can_be_taken_back(bus: Bus, store: Store) -> None:
    official = await make_official(bus)
    better = msgspec.structs.replace(official, language="de", promoted_from=RUN)
    await publish_event(bus, promotion(better, official))
    await settle(bus)
    assert await store.get("default", "doc-1") == better
    assert await latest_record(bus, "default", "doc-1") == better

    undone = msgspec.structs.replace(promotion(official, better, "undo-run-1"), undoes="promote-run-1")
    await publish_event(bus, undone)
    await settle(bus)
    assert await store.get("default", "doc-1") == official
    assert await latest_record(bus, "default", "doc-1") == official


async def test_undoing_brings_a_failed_record_back(bus: Bus, store: Store) -> None:
    record = make_record()
    failed = msgspec.structs.replace(record, status="failed", fields={}, items=(), taxes=())
    await publish_event(bus, promotion(record, failed))
    await settle(bus)
    await publish_event(bus, promotion(failed, record, "undo-run-1"))
    await settle(bus)
    assert await store.get("default", "doc-1") == failed
    assert await latest_record(bus, "default", "doc-1") == failed


async def test_what_comes_again_after_a_promotion_changes_nothing(bus: Bus, store: Store) -> None:
    official = await make_official(bus)
    better = msgspec.structs.replace(official, language="de", promoted_from=RUN)
    await publish_event(bus, promotion(better, official))
    await settle(bus)
    await publish_event(bus, make_analyzed(event_id="after-the-duplicate-window"))
    again = msgspec.structs.replace(promotion(better, official), event_id="also-after-the-window")
    await publish_event(bus, again)
    await settle(bus)
    assert await store.get("default", "doc-1") == better
    assert await latest_record(bus, "default", "doc-1") == better
    assert await count(bus, DEADLETTERS.name) == 0


async def test_the_last_promotion_in_the_stream_stays_in_whatever_order_they_are_stored(store: Store) -> None:
    first, second = (make_record(language=language) for language in ("de", "fr"))
    assert await store.save(second, promoted_sequence=20) == second
    assert await store.save(first, promoted_sequence=10) == second
    assert await store.save(make_record()) == second
    assert await store.get("default", "doc-1") == second


async def test_a_promotion_of_another_documents_record_is_refused(bus: Bus, store: Store) -> None:
    official = await make_official(bus)
    event = promotion(make_record("doc-2"), official)
    await publish_event(bus, msgspec.structs.replace(event, document_id="doc-1"))
    await settle(bus)
    assert await count(bus, DEADLETTERS.name) == 1
    assert await store.get("default", "doc-1") == official
