"""Puts what was rebuilt in the place of what is there, in one transaction and while services run.

Rows are copied and tables stay: grants, views and open connections do, and a service waits for the lock as it waits for
any other writer. A file that is renamed away under a service would take along what the service writes.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Insert,
    MetaData,
    and_,
    delete,
    event,
    exists,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from billow.runtime.errors import UsageError
from billow.services.receipt.database import passing_errors
from billow.services.receipt.places import REBUILT, Place
from billow.services.receipt.proof import RECENT
from billow.services.receipt.tables import Base

_REBUILT = MetaData(schema=REBUILT)
for _table in Base.metadata.sorted_tables:
    _table.to_metadata(_REBUILT, schema=REBUILT)


async def exchange(old: Place, built: Place, *, started: datetime, window: datetime | None, keep_older: bool) -> None:
    """Make the records of `old` those of `built`. All or nothing; safe to repeat.

    What a service has stored since `started` stays as it is, also what it has not told the stream yet. Rows of replays
    stay.

    Args:
        old: the database in use.
        built: what was rebuilt beside it; stays there.
        started: when the rebuild began.
        window: when the oldest event that was read was stored.
        keep_older: keep rows from before the window that the stream says nothing of.

    Raises:
        TransientError: the database does not answer or stayed locked; nothing has changed.
        UsageError: the two do not lie together.
    """
    if (old.file is None) != (built.file is None) or (old.file is None and (old.url, REBUILT) != built):
        raise UsageError(f"{built} does not lie beside {old}: rebuild without --database-url to replace it")
    records = Base.metadata.tables["records"]
    async with _both(old, built) as connection:
        await connection.execute(_forget(started, window if keep_older else None))
        offset = (await connection.execute(select(func.coalesce(func.max(records.c.id), 0)))).scalar_one()
        for statement in _copies(offset):
            await connection.execute(statement)
        if old.file is None:
            await connection.execute(
                text("SELECT setval(pg_get_serial_sequence('records', 'id'), coalesce(max(id), 1)) FROM records")
            )


def _forget(started: datetime, keep_before: datetime | None) -> Delete:
    records, rebuilt = Base.metadata.tables["records"], _built("records")
    is_untold = ~exists().where(_same(records, rebuilt, "tenant", "document_id", "revision", "run_id"))
    stays: list[ColumnElement[bool]] = [
        records.c.updated_at >= started,
        and_(records.c.updated_at >= started - RECENT, is_untold),
    ]
    if keep_before is not None:
        stays.append(and_(records.c.updated_at < keep_before, is_untold))
    return delete(records).where(records.c.run_id == "", ~or_(*stays))


def _built(name: str) -> FromClause:
    # Of its own name: two tables are called the same.
    return _REBUILT.tables[f"{REBUILT}.{name}"].alias(f"built_{name}")


def _copies(offset: int) -> list[Insert]:
    """What fills the tables; new ids lie behind those that are there."""
    here = Base.metadata.tables
    records, new_records = here["records"], _built("records")
    items, new_items = here["items"], _built("items")
    erasures, new_erasures = here["erasures"], _built("erasures")
    return [
        _copy(
            new_records,
            records,
            {"id": new_records.c.id + offset},
            ~exists().where(_same(records, new_records, "tenant", "document_id", "revision", "run_id")),
        ),
        _copy(
            new_items,
            items,
            {"record_id": new_items.c.record_id + offset},
            exists().where(records.c.id == new_items.c.record_id + offset),
        ),
        _copy(
            new_erasures, erasures, {}, ~exists().where(_same(erasures, new_erasures, "tenant", "document_id", "scope"))
        ),
    ]


def _copy(
    source: FromClause, target: Any, changed: dict[str, ColumnElement[int]], condition: ColumnElement[bool]
) -> Insert:
    columns = [changed.get(column.name, column) for column in source.c]
    names = [column.name for column in source.c]
    return insert(target).from_select(names, select(*columns).select_from(source).where(condition))


def _same(one: FromClause, other: FromClause, *columns: str) -> ColumnElement[bool]:
    return and_(*(one.c[name] == other.c[name] for name in columns))


@asynccontextmanager
async def _both(old: Place, built: Place) -> AsyncGenerator[AsyncConnection]:
    """A transaction on the old database in which nobody else writes and the new one can be read."""
    engine = old.engine()
    if built.file is not None:
        _attach(engine.sync_engine, str(built.file))
    try:
        with passing_errors():
            async with engine.begin() as connection:
                if built.file is None:
                    await connection.execute(text("LOCK TABLE records, items, erasures IN SHARE ROW EXCLUSIVE MODE"))
                yield connection
    finally:
        await engine.dispose()


def _attach(engine: Any, file: str) -> None:
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"ATTACH DATABASE ? AS {REBUILT}", (file,))
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
