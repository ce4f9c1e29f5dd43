import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billow.runtime.errors import TransientError
from billow.runtime.settings import load
from billow.services.receipt.migrate import SCRIPTS, migrate
from billow.services.receipt.settings import ReceiptSettings
from billow.services.receipt.store import Store
from billow.services.receipt.tables import Base


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def schema(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")]
    finally:
        connection.close()


async def test_an_empty_database_becomes_what_the_tables_say(database_url: str) -> None:
    await asyncio.to_thread(migrate, database_url)
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), Base.metadata)
        )
    await engine.dispose()
    assert differences == []


def test_migrating_a_database_again_is_safe(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


async def test_a_schema_of_its_own_is_migrated_apart(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA apart"))
    await asyncio.to_thread(migrate, postgres_url, schema="apart")
    async with engine.connect() as connection:
        places = await connection.execute(text("SELECT schemaname FROM pg_tables WHERE tablename = 'records'"))
        assert places.scalars().all() == ["apart"]
    await engine.dispose()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    migrate(url(path))
    before = schema(path)
    migrate(url(path))
    assert schema(path) == before


def test_readers_and_writers_do_not_block_each_other_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    migrate(url(path))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_several_services_may_start_at_once(database_url: str) -> None:
    stores = [Store.create(database_url) for _ in range(5)]
    try:
        await asyncio.gather(*(store.migrate() for store in stores))
        assert [await store.count() for store in stores] == [0] * 5
    finally:
        for store in stores:
            await store.close()


def test_several_processes_may_start_at_once(tmp_path: Path) -> None:
    code = "import sys; from billow.services.receipt.migrate import migrate; migrate(sys.argv[1])"
    command = [sys.executable, "-c", code, url(tmp_path / "records.db")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, errors


def test_a_locked_database_is_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TransientError):
            migrate(url(path), wait=0.05)
    finally:
        blocker.close()
    migrate(url(path))


def test_the_scripts_lie_inside_the_package_with_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
    assert SCRIPTS.parent == Path(sys.modules[migrate.__module__].__file__ or "").parent


def test_the_settings_come_from_the_environment() -> None:
    environ = {"BILLOW_DATABASE_URL": "postgresql+asyncpg://db/billow", "BILLOW_STRAIGHT_THROUGH_CONFIDENCE": "0.9"}
    settings = load(ReceiptSettings, environ=environ)
    assert settings.database_url == "postgresql+asyncpg://db/billow"
    assert settings.straight_through_confidence == 0.9
