"""Brings a database to the newest schema; safe when several processes start at once."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from billow.runtime.errors import BillowError
from billow.runtime.settings import load
from billow.services.receipt.database import make_engine, make_folder, passing_errors, set_pragmas, within_schema

SCRIPTS = Path(__file__).parent / "migrations"
"""Beside this module, so that an installed wheel finds them."""

_LOCK_KEY = 0x62696C6C6F77
"""Advisory lock of PostgreSQL under which migrations run ("billow" in ASCII)."""

# Alembic's `context` is one module for the whole process.
_alembic = threading.Lock()


def migrate(url: str, *, wait: float = 60.0, schema: str = "") -> None:
    """Upgrade to the head revision; a no-op on a database that is there. Blocks, and needs a thread of its own.

    The whole upgrade is one transaction that begins with a lock, so of several processes one does the work and the
    others wait, `wait` seconds at most, and then find it done. `schema` is where PostgreSQL keeps the tables, if not
    where the server looks by default.

    Raises:
        TransientError: the database cannot be reached, or stayed locked.
    """
    make_folder(url)
    asyncio.run(_migrate(url, wait, schema))


async def _migrate(url: str, wait: float, schema: str) -> None:
    engine = make_engine(url, poolclass=NullPool, connect_args=within_schema(url, schema))
    if engine.dialect.name == "sqlite":
        set_pragmas(engine.sync_engine, wait)
        _begin_immediate(engine)
    try:
        with passing_errors():
            async with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    # In ms, for this transaction.
                    patience = {"ms": str(int(wait * 1000))}
                    await connection.execute(text("SELECT set_config('lock_timeout', :ms, true)"), patience)
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
                await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _begin_immediate(engine: AsyncEngine) -> None:
    """Leave BEGIN to us, so that DDL is in the transaction, take the write lock with it, and switch to WAL before."""

    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)


def _upgrade(connection: Connection) -> None:
    config = Config()
    # A percent sign would start an interpolation.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")


def main() -> int:
    """Migrate the database of `BILLOW_DATABASE_URL`, for a job before services start; returns the exit code."""
    from billow.services.receipt.settings import ReceiptSettings

    try:
        migrate(load(ReceiptSettings).database_url)
    except BillowError as e:
        sys.stderr.write(f"{e}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
