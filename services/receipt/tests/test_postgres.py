"""What only a real PostgreSQL does: it is restarted, killed, full, and refuses with states of its own."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from billow.bus.connection import Bus
from billow.bus.outcome import latest_record
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, RECEIPT, RECEIPT_FAILURES
from billow.runtime.errors import TransientError
from billow.services.receipt.database import open_engine, passing_errors
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.migrate import migrate
from billow.services.receipt.places import Place, beside, clear
from billow.services.receipt.proof import Proof
from billow.services.receipt.store import Store
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_analyzed, make_record
from billow.testkit.postgres import PostgresServer

PASSING = ("08006", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03")
LASTING = ("22P02", "23505", "42P01", "42501")


@pytest_asyncio.fixture
async def store(own_postgres_url: str) -> AsyncIterator[Store]:
    store = Store.create(own_postgres_url, wait=30)
    await store.migrate()
    yield store
    await store.close()


async def refused_with(url: str, state: str) -> None:
    engine = open_engine(url, wait=30)
    order = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
    try:
        with passing_errors():
            async with engine.begin() as connection:
                await connection.execute(text(order))
    finally:
        await engine.dispose()


@pytest.mark.parametrize("state", PASSING)
async def test_a_state_that_passes_is_worth_another_try(postgres_url: str, state: str) -> None:
    with pytest.raises(TransientError):
        await refused_with(postgres_url, state)


@pytest.mark.parametrize("state", LASTING)
async def test_a_state_that_stays_is_not(postgres_url: str, state: str) -> None:
    with pytest.raises(DBAPIError):
        await refused_with(postgres_url, state)


async def test_too_many_connections_are_worth_another_try(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, poolclass=NullPool)
    name = f"narrow_{make_url(postgres_url).database}"
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'x' CONNECTION LIMIT 0"))
    narrow = make_url(postgres_url).set(username=name, password="x").render_as_string(hide_password=False)
    store = Store.create(narrow, wait=30)
    try:
        with pytest.raises(TransientError, match="too many connections"):
            await store.count()
    finally:
        await store.close()
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP ROLE {name}"))
        await engine.dispose()


async def test_a_connection_that_an_administrator_ends_is_made_again(postgres_url: str) -> None:
    store = Store.create(postgres_url, wait=30)
    await store.migrate()
    await store.save(make_record())
    engine = create_async_engine(postgres_url, poolclass=NullPool)
    async with engine.begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        await connection.execute(text(f"{others} AND datname = current_database()"))
    await engine.dispose()
    assert await store.count() == 1
    await store.close()


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash, PostgresServer.kill])
async def test_a_statement_under_way_when_the_server_goes_is_worth_another_try(
    postgres: PostgresServer, own_postgres_url: str, end: Callable[[PostgresServer], None]
) -> None:
    engine = open_engine(own_postgres_url, wait=120)
    begun = asyncio.Event()

    async def sleep() -> None:
        with passing_errors():
            async with engine.begin() as connection:
                await connection.execute(text("SELECT 1"))
                begun.set()
                await connection.execute(text("SELECT pg_sleep(100)"))

    sleeping = asyncio.create_task(sleep())
    await begun.wait()
    await asyncio.to_thread(end, postgres)
    with pytest.raises(TransientError):
        await sleeping
    with pytest.raises(TransientError, match="cannot be reached"), passing_errors():
        async with engine.connect():
            pass
    await engine.dispose()


def test_two_services_may_migrate_at_once(postgres_url: str) -> None:
    code = "import sys; from billow.services.receipt.migrate import migrate; migrate(sys.argv[1])"
    command = [sys.executable, "-c", code, postgres_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors


async def test_a_migration_does_not_wait_for_ever(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, poolclass=NullPool)
    store = Store.create(postgres_url)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x62696C6C6F77})
        with pytest.raises(TransientError):
            await asyncio.to_thread(migrate, postgres_url, wait=0.1)
    await engine.dispose()
    await store.migrate()
    await store.close()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill])
async def test_documents_stored_while_the_server_goes_and_comes_are_all_there_once(
    bus: Bus, store: Store, postgres: PostgresServer, own_postgres_url: str, end: Callable[[PostgresServer], None]
) -> None:
    count = 200
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with (
        consuming(bus, handler.on_analyzed, RECEIPT, concurrency=8),
        consuming(bus, handler.on_dead_letter, RECEIPT_FAILURES, buries=False),
    ):
        for number in range(count):
            await publish_event(bus, make_analyzed(f"doc-{number}"))
            if number in {60, 130}:
                # In the midst of it.
                await until(lambda: at_least(store, 5), timeout=60)
                await asyncio.to_thread(end, postgres)
                await asyncio.to_thread(postgres.start)
        await until(lambda: settled(bus, RECEIPT), timeout=240)
    assert await store.count() == count
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.messages == 0
    for number in range(count):
        said = await latest_record(bus, "default", f"doc-{number}")
        assert said is not None
        assert said == await store.get("default", f"doc-{number}")
    place = Place(own_postgres_url)
    await clear(beside(place))
    report = await Proof(bus, beside(place), place, patience=1).run()
    assert (report.proven, report.equal) == (True, count)


async def at_least(store: Store, count: int) -> bool:
    try:
        return await store.count() >= count
    except TransientError:
        return False


async def test_rebuilding_beside_sqlite_is_compared_too(bus: Bus, postgres_url: str, sqlite_url: str) -> None:
    """The new database need not be of the same kind."""
    store = Store.create(postgres_url)
    await store.migrate()
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with consuming(bus, handler.on_analyzed, RECEIPT):
        for number in range(10):
            await publish_event(bus, make_analyzed(f"doc-{number}"))
        await until(lambda: settled(bus, RECEIPT), timeout=60)
    changed = msgspec.structs.replace(make_record("doc-3"), kind="invoice")
    await store.save(changed)
    report = await Proof(bus, Place(sqlite_url), Place(postgres_url), patience=1).run()
    assert (report.equal, [difference.document_id for difference in report.differences]) == (9, ["doc-3"])
    await store.close()
