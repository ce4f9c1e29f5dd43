import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from billow.runtime.errors import TransientError, UsageError
from billow.schemas.record import Failure, Field, Item, Record
from billow.services.receipt.database import make_folder
from billow.services.receipt.store import Store

RECORD = Record(
    source="quán phở.jpg",
    tenant="default",
    document_id="doc-1",
    kind="receipt",
    status="completed",
    fields={
        "total": Field(value="33.26", text="$33.26", confidence=0.98),
        "date": Field(value="2019-04-01", text="04/01/2019", confidence=0.9),
        "store_name": Field(value="Phở Gà", text="Phở Gà", confidence=0.9),
    },
    items=(Item(name="Phở", quantity="1", amount="8.00"), Item(name="Trà")),
    timings_ms={"total": 300.0},
)
FAILED = Record(
    source="a.jpg",
    tenant="default",
    document_id="doc-1",
    status="failed",
    error=Failure(code="unreadable", message="It is not an image. Send a JPEG, PNG, WebP or PDF."),
)
CANCELLED = Record(
    source="a.jpg",
    tenant="default",
    document_id="doc-1",
    status="cancelled",
    error=Failure(code="cancelled", message="It was cancelled."),
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    store = Store.create(database_url)
    await store.migrate()
    yield store
    await store.close()


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """As the driver gives them, to be compared by value: PostgreSQL has dates where SQLite has text."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = [tuple(row) for row in await connection.execute(text(query))]
    await engine.dispose()
    return found


def file_of(url: str) -> str:
    return make_url(url).database or ""


async def test_a_saved_record_comes_back_whole(store: Store) -> None:
    assert await store.save(RECORD) == RECORD
    assert await store.get("default", "doc-1") == RECORD


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.get("default", "doc-1") is None
    await store.save(RECORD)
    assert await store.get("other", "doc-1") is None
    assert await store.get("default", "doc-1", 2) is None
    assert await store.get("default", "doc-1", run_id="run-1") is None


async def test_saving_again_changes_nothing(store: Store, database_url: str) -> None:
    await store.save(RECORD)
    before = await rows(database_url, "SELECT * FROM records")
    assert await store.save(RECORD) == RECORD
    assert await store.save(msgspec.structs.replace(RECORD, timings_ms={"total": 900.0})) == RECORD
    assert await rows(database_url, "SELECT * FROM records") == before
    assert await store.count() == 1


async def test_a_changed_record_replaces_the_old_one_and_its_items(store: Store, database_url: str) -> None:
    await store.save(RECORD)
    changed = msgspec.structs.replace(RECORD, items=(Item(name="Bún", amount="9.50"),))
    assert await store.save(changed) == changed
    assert await store.get("default", "doc-1") == changed
    assert await rows(database_url, "SELECT name, amount FROM items") == [("Bún", 9.5)]


async def test_columns_can_be_queried(store: Store, database_url: str) -> None:
    await store.save(RECORD)
    query = (
        "SELECT status, kind, source, store_name, CAST(date AS VARCHAR), CAST(total AS FLOAT) FROM records"
        " WHERE total > 30 AND date >= '2019-01-01'"
    )
    found = [("completed", "receipt", "quán phở.jpg", "Phở Gà", "2019-04-01", 33.26)]
    assert await rows(database_url, query) == found
    query = "SELECT position, name, quantity, amount FROM items ORDER BY position"
    assert await rows(database_url, query) == [(0, "Phở", 1, 8), (1, "Trà", None, None)]


async def test_a_completed_record_is_never_replaced_by_a_failure(store: Store) -> None:
    assert await store.save(FAILED) == FAILED
    assert await store.save(RECORD) == RECORD
    assert await store.save(FAILED) == RECORD
    assert await store.save(CANCELLED) == RECORD
    assert await store.get("default", "doc-1") == RECORD


async def test_a_cancelled_record_is_the_first_or_none_and_stays(store: Store) -> None:
    assert await store.save(CANCELLED) == CANCELLED
    for later in (RECORD, FAILED, msgspec.structs.replace(CANCELLED, error=FAILED.error)):
        assert await store.save(later) == CANCELLED
    assert await store.get("default", "doc-1") == CANCELLED
    failed = msgspec.structs.replace(FAILED, document_id="doc-2")
    await store.save(failed)
    assert await store.save(msgspec.structs.replace(CANCELLED, document_id="doc-2")) == failed


async def test_what_save_says_is_what_is_there_also_with_text_that_columns_refuse(store: Store) -> None:
    odd = msgspec.structs.replace(RECORD, source="a\x00b", items=(Item(name="T\x00ea", amount="8.00"),))
    assert await store.save(odd) == odd == await store.get("default", "doc-1")
    later = msgspec.structs.replace(odd, timings_ms={})
    assert await store.save(later) == odd


async def test_revisions_and_runs_are_rows_of_their_own(store: Store) -> None:
    second = msgspec.structs.replace(FAILED, revision=2)
    replayed = msgspec.structs.replace(RECORD, run_id="run-1")
    for record in (RECORD, second, replayed):
        assert await store.save(record) == record
    assert await store.get("default", "doc-1") == second
    assert await store.get("default", "doc-1", 1) == RECORD
    assert await store.get("default", "doc-1", run_id="run-1") == replayed


async def test_count_by_tenant_and_status(store: Store) -> None:
    for record in (
        RECORD,
        msgspec.structs.replace(FAILED, revision=2),
        msgspec.structs.replace(RECORD, tenant="other"),
    ):
        await store.save(record)
    assert await store.count() == 3
    assert await store.count("default") == 2
    assert await store.count("default", status="failed") == 1


async def test_two_services_saving_at_once_leave_one_row(store: Store, database_url: str) -> None:
    other = Store.create(database_url)
    try:
        attempts = [msgspec.structs.replace(RECORD, timings_ms={"total": float(n)}) for n in range(16)]
        saved = await asyncio.gather(*((store, other)[n % 2].save(record) for n, record in enumerate(attempts)))
    finally:
        await other.close()
    first = await store.get("default", "doc-1")
    assert first in attempts
    assert saved == [first] * len(attempts)
    assert await store.count() == 1
    assert await rows(database_url, "SELECT count(*) FROM items") == [(2,)]


async def test_many_documents_at_once_all_arrive(store: Store, database_url: str) -> None:
    other = Store.create(database_url)
    records = [msgspec.structs.replace(RECORD, document_id=f"doc-{n}") for n in range(40)]
    try:
        saved = await asyncio.gather(*((store, other)[n % 2].save(record) for n, record in enumerate(records)))
    finally:
        await other.close()
    assert saved == records
    assert await store.count() == 40


async def test_a_locked_database_is_worth_another_try(sqlite_url: str) -> None:
    impatient = Store.create(sqlite_url, wait=0.05)
    await impatient.migrate()
    blocker = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(TransientError, match="busy"):
            await impatient.save(RECORD)
        blocker.execute("ROLLBACK")
        assert await impatient.save(RECORD) == RECORD
    finally:
        blocker.close()
        await impatient.close()


async def test_readers_do_not_wait_for_a_writer(sqlite_url: str) -> None:
    store = Store.create(sqlite_url)
    await store.migrate()
    await store.save(RECORD)
    blocker = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        assert await store.get("default", "doc-1") == RECORD
    finally:
        blocker.close()
        await store.close()


async def test_a_missing_table_is_not_worth_another_try(database_url: str) -> None:
    make_folder(database_url)
    store = Store.create(database_url)
    try:
        with pytest.raises(Exception, match=r"no such table|does not exist") as caught:
            await store.save(RECORD)
    finally:
        await store.close()
    assert not isinstance(caught.value, TransientError)


async def test_text_that_postgresql_refuses_is_kept_out_of_columns(store: Store, database_url: str) -> None:
    await store.save(msgspec.structs.replace(RECORD, source="a\x00b", items=(Item(name="T\x00ea"),)))
    assert await rows(database_url, "SELECT source FROM records") == [("ab",)]
    assert await rows(database_url, "SELECT name FROM items") == [("Tea",)]


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sqlite:///records.db", "write 'sqlite\\+aiosqlite'"),
        ("postgresql://db/billow", "write 'postgresql\\+asyncpg'"),
        ("postgresql+psycopg://db/billow", "write 'postgresql\\+asyncpg'"),
        ("postgresql+asyncpg://db:port/billow", "cannot be used"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        Store.create(url)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(UsageError, match="pip install asyncpg"):
        Store.create("postgresql+asyncpg://db/billow")


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(UsageError, match="mysql"):
        Store.create("mysql+aiomysql://localhost/billow")


async def test_closing_twice_is_safe(database_url: str) -> None:
    store = Store.create(database_url)
    await store.close()
    await store.close()
