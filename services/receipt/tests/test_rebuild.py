"""The database made anew from the stream, beside the one that a real service filled; on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from billow.bus.connection import Bus
from billow.bus.history import History
from billow.bus.outcome import latest_record
from billow.bus.publish import publish, publish_event
from billow.bus.topology import DOCUMENTS, RECEIPT, RECEIPT_CANCELLATIONS, RECEIPT_FAILURES, RECEIPT_PROMOTIONS
from billow.bus.window import stream_window
from billow.runtime.errors import UsageError
from billow.schemas.events import Event
from billow.schemas.record import Record
from billow.services.receipt.exchange import exchange
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.places import Place, beside, clear
from billow.services.receipt.proof import Proof, Report
from billow.services.receipt.store import Store
from billow.services.receipt.tombstones import Tombstones
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import (
    make_analyzed,
    make_cancelled,
    make_completed,
    make_erased,
    make_failed,
    make_promoted,
    make_record,
    make_submitted,
)


@pytest.fixture
def place(database_url: str) -> Place:
    return Place(database_url)


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    store = Store.create(database_url)
    await store.migrate()
    yield store
    await store.close()


@pytest_asyncio.fixture
async def service(bus: Bus, store: Store) -> AsyncIterator[None]:
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(consuming(bus, handler.on_analyzed, RECEIPT))
        await stack.enter_async_context(consuming(bus, handler.on_promoted, RECEIPT_PROMOTIONS))
        await stack.enter_async_context(consuming(bus, handler.on_cancelled, RECEIPT_CANCELLATIONS))
        await stack.enter_async_context(consuming(bus, handler.on_dead_letter, RECEIPT_FAILURES, buries=False))
        yield


async def say(bus: Bus, *events: Event) -> None:
    """State events and wait until the service has done with them."""
    for event in events:
        await publish_event(bus, event)
    for spec in (RECEIPT, RECEIPT_PROMOTIONS, RECEIPT_CANCELLATIONS, RECEIPT_FAILURES):
        await until(lambda spec=spec: settled(bus, spec), timeout=60)


async def mixed_history(bus: Bus, store: Store) -> None:
    """Two tenants with what may happen to a document: revisions, failures, both orders of both, and promotions."""
    for tenant, name in (("default", "doc"), ("other", "their")):
        await say(bus, *(make_submitted(f"{name}-{n}", tenant=tenant) for n in range(8)))
        await say(bus, *(make_analyzed(f"{name}-{n}", tenant=tenant) for n in range(5)))
    # doc-1 is handed in anew, doc-5 is taken back before and doc-2 after it ended.
    await say(bus, make_analyzed("doc-1", revision=2), make_cancelled("doc-5"), make_cancelled("doc-2"))
    # doc-6 fails, as its event cannot be read, and completes after all.
    broken = b"{"
    await publish(bus, "documents.default.analyzed.doc-6", broken, message_id=None, stream=DOCUMENTS.name, extra={})
    await until(lambda: has_record(store, "doc-6"))
    await say(bus, make_analyzed("doc-6"))
    # A replay's records become the official ones of doc-3 and doc-4; doc-4's is taken back.
    before = await official(bus, "doc-4")
    for name in ("doc-3", "doc-4"):
        await say(bus, promotion(await official(bus, name), "promote-run-1", language="de", promoted_from="run-1"))
    await say(bus, promotion(before, "undo-run-1"))
    # Delivered once more, long after.
    await say(bus, msgspec.structs.replace(make_analyzed("doc-3"), event_id="again"))


async def has_record(store: Store, document_id: str) -> bool:
    return await store.get("default", document_id) is not None


async def official(bus: Bus, document_id: str) -> Record:
    record = await latest_record(bus, "default", document_id)
    assert record is not None
    return record


def promotion(record: Record, name: str, **changes: object) -> Event:
    event = make_promoted(record.document_id, record=msgspec.structs.replace(record, **changes))
    return msgspec.structs.replace(event, promotion=name, event_id=f"{name}.{record.document_id}.1.promoted")


async def rebuilt(bus: Bus, place: Place, *, lost: bool = False) -> Report:
    """As the command does it."""
    await clear(beside(place))
    return await Proof(bus, beside(place), None if lost else place, patience=1).run()


async def execute(url: str, *statements: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


async def everything(place: Place) -> list[tuple[object, ...]]:
    """All that is compared, in an order of its own."""
    async with place.opened() as engine, engine.connect() as connection:
        query = (
            "SELECT r.tenant, r.document_id, r.revision, r.status, r.kind, r.source, r.promoted_sequence,"
            " CAST(r.record AS VARCHAR), i.position, i.name, CAST(i.amount AS FLOAT)"
            " FROM records r LEFT JOIN items i ON i.record_id = r.id"
            " ORDER BY r.tenant, r.document_id, r.revision, i.position"
        )
        return [tuple(row) for row in await connection.execute(text(query))]


@pytest.mark.usefixtures("service")
async def test_what_is_rebuilt_after_all_that_may_happen_is_the_same(bus: Bus, store: Store, place: Place) -> None:
    await mixed_history(bus, store)
    report = await rebuilt(bus, place)
    assert report.differences == []
    assert report.proven
    # Of tenant `default` doc-0 to doc-6 and doc-1 once more, of `other` doc-0 to doc-4.
    assert (report.equal, report.records) == (13, 13)
    assert report.waiting == 1 + 3
    assert await everything(beside(place)) == await everything(place)


@pytest.mark.usefixtures("service")
async def test_a_row_that_was_changed_by_hand_is_found_and_named(bus: Bus, store: Store, place: Place) -> None:
    await mixed_history(bus, store)
    await execute(
        place.url,
        "UPDATE records SET total = 99.5 WHERE document_id = 'doc-0'",
        "DELETE FROM items WHERE position = 1 AND record_id IN (SELECT id FROM records WHERE document_id = 'doc-2')",
        "DELETE FROM records WHERE document_id = 'doc-1' AND revision = 2",
    )
    await store.save(make_record("stray"))
    report = await rebuilt(bus, place)
    assert not report.proven
    found = {(d.kind, d.tenant, d.document_id, d.revision): d.columns for d in report.differences}
    assert found == {
        ("different", "default", "doc-0", 1): ("total",),
        ("different", "default", "doc-2", 1): ("items",),
        ("only in the stream", "default", "doc-1", 2): (),
        ("only in the old database", "default", "stray", 1): (),
    }
    assert (report.equal, report.different, report.only_stream, report.only_old) == (10, 2, 1, 1)


@pytest.mark.usefixtures("service")
async def test_a_changed_part_of_the_record_is_named(bus: Bus, store: Store, place: Place) -> None:
    await say(bus, make_analyzed())
    record = await store.get("default", "doc-1")
    assert record is not None
    other = msgspec.structs.replace(record, language="fr")
    changed = msgspec.json.encode(other).decode().replace("'", "''")
    engine = create_async_engine(place.url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE records SET record = '{changed}'")
    await engine.dispose()
    report = await rebuilt(bus, place)
    assert [d.columns for d in report.differences] == [("record.language",)]


@pytest.mark.usefixtures("service")
async def test_replacing_mends_what_was_broken_and_keeps_what_is_new(bus: Bus, store: Store, place: Place) -> None:
    await mixed_history(bus, store)
    before = await everything(place)
    await execute(
        place.url,
        "UPDATE records SET updated_at = '2026-01-01 00:00:00', total = 1 WHERE document_id = 'doc-0'",
        "UPDATE records SET updated_at = '2026-01-01 00:00:00' WHERE document_id = 'doc-2'",
        "DELETE FROM items",
        "DELETE FROM records WHERE document_id IN ('doc-1', 'doc-3')",
    )
    await clear(beside(place))
    proof = Proof(bus, beside(place), place, patience=1)
    proof.started = datetime.now(UTC) + timedelta(seconds=1)
    report = await proof.run()
    assert not report.proven
    await exchange(place, beside(place), started=proof.started, window=report.since, keep_older=False)
    assert await everything(place) == before
    assert (await rebuilt(bus, place)).proven
    # Ids go on behind those that were copied.
    await say(bus, make_analyzed("doc-9"))
    assert (await rebuilt(bus, place)).equal == 14


async def test_what_a_service_stores_meanwhile_survives_a_replacement(bus: Bus, store: Store, place: Place) -> None:
    await publish_event(bus, make_completed("told"))
    proof = Proof(bus, beside(place), place, patience=1)
    await proof.run()
    await store.save(make_record("stored-and-not-told-yet"))
    await exchange(place, beside(place), started=proof.started, window=proof.report.since, keep_older=False)
    assert await store.get("default", "stored-and-not-told-yet") is not None
    assert await store.get("default", "told") == make_record("told")


@pytest.mark.parametrize("keep", [True, False])
async def test_rows_from_before_the_stream_are_counted_apart_and_kept_if_asked(
    bus: Bus, store: Store, place: Place, keep: bool
) -> None:
    await store.save(make_record("ancient"))
    await execute(place.url, "UPDATE records SET updated_at = '2020-01-01 00:00:00'")
    await store.save(make_completed("doc-1").record)
    await publish_event(bus, make_completed("doc-1"))
    report = await rebuilt(bus, place)
    assert report.proven
    assert (report.older, report.equal) == (1, 1)
    await exchange(place, beside(place), started=datetime.now(UTC), window=report.since, keep_older=keep)
    assert (await store.get("default", "ancient") is not None) == keep
    assert await store.get("default", "doc-1") is not None


async def test_a_row_that_is_told_a_moment_later_is_looked_at_again(bus: Bus, store: Store, place: Place) -> None:
    await publish_event(bus, make_completed("doc-1"))
    await store.save(make_record("doc-1"))
    late = make_completed("doc-2")
    await store.save(late.record)
    proving = asyncio.create_task(Proof(bus, beside(place), place, patience=60).run())

    async def is_read() -> bool:
        with_rows = await beside(place).has_records()
        return with_rows or proving.done()

    await until(is_read)
    await publish_event(bus, late)
    report = await proving
    assert report.proven
    assert report.equal == 2


async def test_a_lost_database_is_rebuilt_and_nothing_is_claimed(bus: Bus, place: Place) -> None:
    await publish_event(bus, make_completed("doc-1"))
    await publish_event(bus, make_failed("doc-2"))
    assert not await place.has_records()
    report = await rebuilt(bus, place, lost=True)
    assert (report.records, report.proven, report.compared_with) == (2, False, "")


async def test_an_empty_stream_proves_nothing_about_rows(bus: Bus, store: Store, place: Place) -> None:
    await store.save(make_record())
    report = await rebuilt(bus, place)
    assert not report.proven


async def test_what_was_erased_stays_erased_until_it_is_handed_in_again(bus: Bus, store: Store, place: Place) -> None:
    for event in (
        make_submitted("doc-1"),
        make_completed("doc-1"),
        make_completed("doc-2"),
        make_completed("their-1", tenant="other"),
        make_erased("doc-1"),
        # Too late, by whoever had it in hand.
        msgspec.structs.replace(make_completed("doc-1"), event_id="late"),
        make_submitted("doc-1", revision=2),
        make_completed("doc-1", revision=2),
    ):
        await publish_event(bus, event)
    for record in (make_record("doc-2"), make_record("their-1", tenant="other"), make_record("doc-1", revision=2)):
        await store.save(record)
    report = await rebuilt(bus, place)
    assert (report.differences, report.equal, report.erasures) == ([], 3, 1)
    assert report.proven
    # When it was erased the server says, whatever the clock of who asked for it.
    (erased,) = await History(bus).page("documents.default.erased.doc-1")
    async with beside(place).opened() as engine:
        (tombstone,) = await Tombstones(engine).about("default", "doc-1")
    assert (tombstone.sequence, tombstone.erased_at) == (erased.sequence, erased.at)


async def test_an_outcome_out_of_turn_does_not_win(bus: Bus, store: Store, place: Place) -> None:
    """Of two services that store one after the other, the first may be the last to tell."""
    await store.save(make_failed().record)
    await store.save(make_completed().record)
    for event in (make_completed(), make_failed()):
        await publish_event(bus, event)
    report = await rebuilt(bus, place)
    assert (report.proven, report.equal) == (True, 1)


async def test_what_cannot_be_read_is_no_proof(bus: Bus, store: Store, place: Place) -> None:
    await publish_event(bus, make_completed())
    await store.save(make_record())
    await publish(bus, "documents.default.completed.doc-2", b"{", message_id=None, stream=DOCUMENTS.name, extra={})
    report = await rebuilt(bus, place)
    assert (report.unreadable, report.proven) == (1, False)


async def test_interrupted_and_repeated_it_is_the_same(bus: Bus, store: Store, place: Place) -> None:
    count = 60
    for number in range(count):
        event = make_completed(f"doc-{number}")
        await publish_event(bus, event)
        await store.save(event.record)
    await clear(beside(place))

    def interrupt(step: str, done: int, whole: int) -> None:
        raise KeyError(step)

    with pytest.raises(KeyError, match="reading the stream"):
        await Proof(bus, beside(place), place).run(interrupt)
    assert await beside(place).has_records()
    for _ in range(2):
        report = await rebuilt(bus, place)
        assert (report.proven, report.equal, report.records) == (True, count, count)


async def test_a_database_with_records_is_not_built_over(bus: Bus, store: Store, place: Place) -> None:
    await store.save(make_record())
    with pytest.raises(UsageError, match="1 records already"):
        await Proof(bus, place, None).run()


async def test_since_looks_at_what_was_said_from_then_on(bus: Bus, store: Store, place: Place) -> None:
    await publish_event(bus, make_completed("before"))
    await store.save(make_record("before"))
    since = datetime.now(UTC)
    await publish_event(bus, make_completed("after"))
    await store.save(make_record("after"))
    await clear(beside(place))
    report = await Proof(bus, beside(place), place, since=since, patience=1).run()
    assert (report.equal, report.older, report.proven) == (1, 1, True)


async def test_the_window_of_a_stream(bus: Bus) -> None:
    empty = await stream_window(bus)
    assert (empty.messages, empty.last, empty.since) == (0, 0, None)
    before = datetime.now(UTC) - timedelta(seconds=5)
    await publish_event(bus, make_completed())
    window = await stream_window(bus)
    assert (window.messages, window.first, window.last) == (1, 1, 1)
    assert window.since is not None
    assert before < window.since < datetime.now(UTC) + timedelta(seconds=5)
