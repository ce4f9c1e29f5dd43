import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.cli.commands.rebuild import Options, database_url, run
from billow.runtime.errors import UsageError
from billow.services.receipt.places import Place
from billow.services.receipt.store import Store
from billow.testkit.events import make_completed, make_record, make_submitted
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@pytest_asyncio.fixture
async def store(bus: Bus, sqlite_url: str) -> AsyncIterator[Store]:
    store = Store.create(sqlite_url)
    await store.migrate()
    for name in ("doc-1", "doc-2"):
        await publish_event(bus, make_completed(name))
        await store.save(make_record(name))
    yield store
    await store.close()


async def said(options: Options, *, table: bool = True) -> tuple[bool, str]:
    out, err = (Console(file=io.StringIO(), width=300) for _ in range(2))
    passed = await run(options, table=table, out=out, err=err)
    return passed, "".join(console.file.getvalue() for console in (out, err) if isinstance(console.file, io.StringIO))


async def tamper(url: str, statement: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.mark.usefixtures("store")
async def test_an_equal_database_is_proven(sqlite_url: str) -> None:
    passed, shown = await said(Options(compare=sqlite_url))
    assert passed
    assert "equal 2, different 0" in shown
    assert "Proven" in shown
    assert "Not compared: ids" in shown


async def test_a_change_is_named_and_only_put_right_by_force(bus: Bus, store: Store, sqlite_url: str) -> None:
    await publish_event(bus, make_submitted("doc-3"))
    await tamper(
        sqlite_url, "UPDATE records SET updated_at = '2026-01-01 00:00:00', total = 1 WHERE document_id = 'doc-2'"
    )
    passed, shown = await said(Options(compare=sqlite_url, replace=True))
    assert not passed
    assert "different: default/doc-2: total" in shown
    assert "1 documents are on their way" in shown
    assert "--force" in shown
    passed, shown = await said(Options(compare=sqlite_url, replace=True, force=True))
    assert passed
    passed, _ = await said(Options(compare=sqlite_url))
    assert passed
    assert await store.get("default", "doc-2") == make_record("doc-2")


async def test_older_rows_are_not_given_up_unasked(store: Store, sqlite_url: str) -> None:
    await store.save(make_record("ancient"))
    await tamper(sqlite_url, "UPDATE records SET updated_at = '2020-01-01 00:00:00' WHERE document_id = 'ancient'")
    passed, shown = await said(Options(compare=sqlite_url, replace=True))
    assert not passed
    assert "--keep-older" in shown
    assert (await said(Options(compare=sqlite_url, replace=True, keep_older=True)))[0]
    assert await store.get("default", "ancient") is not None
    assert (await said(Options(compare=sqlite_url, replace=True, drop_older=True)))[0]
    assert await store.get("default", "ancient") is None


@pytest.mark.usefixtures("store")
async def test_a_lost_database_is_put_in_place_and_nothing_is_claimed(tmp_path: Path) -> None:
    lost = f"sqlite+aiosqlite:///{tmp_path / 'lost' / 'billow.db'}"
    passed, shown = await said(Options(compare=lost))
    assert not passed
    assert "Not proven" in shown
    assert not await Place(lost).has_records()
    assert (await said(Options(compare=lost, replace=True)))[0]
    found = Store.create(lost)
    assert await found.count() == 2
    await found.close()


@pytest.mark.usefixtures("store")
async def test_a_database_of_another_kind_can_be_built_and_compared(sqlite_url: str, postgres_url: str) -> None:
    passed, shown = await said(Options(compare=sqlite_url, into=postgres_url), table=False)
    assert passed
    report = json.loads(shown)
    assert (report["proven"], report["equal"], report["records"]) == (True, 2, 2)
    with pytest.raises(UsageError, match="2 records already"):
        await said(Options(compare=sqlite_url, into=postgres_url))


@pytest.mark.parametrize("url", ["nonsense", "mysql://db/x", "sqlite:///x.db", "postgresql+asyncpg://:notaport:x/y"])
async def test_a_url_that_cannot_be_used_is_said_before_anything_is_done(url: str, sqlite_url: str) -> None:
    with pytest.raises(UsageError, match="database"):
        await said(Options(compare=sqlite_url, into=url))
    with pytest.raises(UsageError, match="database"):
        await said(Options(compare=url))


async def test_replacing_goes_with_no_other_database() -> None:
    with pytest.raises(UsageError, match="leave out --database-url"):
        await said(Options(into="sqlite+aiosqlite:///x.db", replace=True))


def test_the_database_in_use_is_the_services_or_that_of_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BILLOW_DATA", str(tmp_path))
    monkeypatch.delenv("BILLOW_DATABASE_URL", raising=False)
    assert database_url("") == f"sqlite+aiosqlite:///{tmp_path / 'billow.db'}"
    monkeypatch.setenv("BILLOW_DATABASE_URL", "postgresql+asyncpg://db/billow")
    assert database_url("") == "postgresql+asyncpg://db/billow"
    assert database_url("sqlite+aiosqlite:///mine.db") == "sqlite+aiosqlite:///mine.db"
