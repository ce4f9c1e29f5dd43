"""Where a database of records lies, and the empty one that a rebuild fills."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from billow.runtime.errors import UsageError
from billow.services.receipt.database import DRIVERS, open_engine, passing_errors
from billow.services.receipt.migrate import migrate

REBUILT = "billow_rebuild"
"""PostgreSQL: the schema that a rebuild fills. SQLite: the name under which its file is attached."""
WAIT_SECONDS = 60.0
"""Statements of a rebuild touch thousands of rows, and wait for who holds a lock."""


_BUILT = ".rebuild"


class Place(NamedTuple):
    """A database, or with PostgreSQL a schema of one."""

    url: str
    schema: str = ""
    """empty for where the server looks by default"""

    @property
    def file(self) -> Path | None:
        """Of SQLite; None for PostgreSQL."""
        return Path(make_url(self.url).database or "") if self.url.startswith(DRIVERS["sqlite"]) else None

    def __str__(self) -> str:
        """For people, without the password."""
        if self.file is not None:
            return str(self.file)
        shown = make_url(self.url).render_as_string(hide_password=True)
        return f"{shown}, schema {self.schema}" if self.schema else shown

    def engine(self) -> AsyncEngine:
        """Connects on first use."""
        engine = open_engine(self.url, wait=WAIT_SECONDS, schema=self.schema)
        if self.file is not None and self.file.name.endswith(_BUILT):
            # What a power cut breaks here is built anew.
            event.listen(engine.sync_engine, "connect", _without_syncing)
        return engine

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[AsyncEngine]:
        """An engine until the end of the block."""
        engine = self.engine()
        try:
            yield engine
        finally:
            await engine.dispose()

    async def has_records(self) -> bool:
        """Whether there is a database with a table of records. Never creates a file.

        Raises:
            TransientError: it does not answer.
        """
        if self.file is not None and not await asyncio.to_thread(self.file.exists):
            return False
        async with self.opened() as engine:
            with passing_errors():
                async with engine.connect() as connection:
                    return await connection.run_sync(lambda sync: engine.dialect.has_table(sync, "records"))

    async def migrate(self) -> None:
        """Bring it to the newest schema. Raises TransientError."""
        await asyncio.to_thread(migrate, self.url, wait=WAIT_SECONDS, schema=self.schema)


def _without_syncing(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


def beside(place: Place) -> Place:
    """Where a rebuild of a database is made: a file beside it, or a schema in it."""
    if place.file is None:
        return Place(place.url, REBUILT)
    built = place.file.with_name(f"{place.file.name}{_BUILT}")
    return Place(f"{DRIVERS['sqlite']}:///{built}")


async def clear(place: Place) -> None:
    """Remove what an earlier rebuild left at `beside(...)`; a no-op if there is nothing.

    Raises:
        TransientError: the database does not answer.
    """
    if place.file is not None:
        for end in ("", "-wal", "-shm", "-journal"):
            await asyncio.to_thread(Path(f"{place.file}{end}").unlink, missing_ok=True)
        return
    if place.schema != REBUILT:
        raise UsageError(f"{place} is not a rebuild's own; name an empty database")
    async with Place(place.url).opened() as engine:
        with passing_errors():
            async with engine.begin() as connection:
                await connection.execute(text(f"DROP SCHEMA IF EXISTS {REBUILT} CASCADE"))


async def prepare(place: Place) -> None:
    """Make the tables of an empty database.

    Raises:
        TransientError: the database does not answer.
        UsageError: there are records already.
    """
    if place.schema:
        async with Place(place.url).opened() as engine:
            with passing_errors():
                async with engine.begin() as connection:
                    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {place.schema}"))
    await place.migrate()
    async with place.opened() as engine:
        with passing_errors():
            async with engine.connect() as connection:
                found = (await connection.execute(text("SELECT count(*) FROM records"))).scalar_one()
    if found:
        raise UsageError(f"{place} holds {found:,} records already; a rebuild needs an empty database")
