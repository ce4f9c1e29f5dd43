"""Where records are kept: one row a tenant, document, revision and run, written as often as you like."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any, Self

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from billow.runtime.errors import UsageError
from billow.schemas.labels import Status
from billow.schemas.record import Item, Record
from billow.services.receipt.database import open_engine, passing_errors
from billow.services.receipt.migrate import migrate
from billow.services.receipt.tables import ItemRow, RecordRow

_KEY = ("tenant", "document_id", "revision", "run_id")
_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Store:
    """The records of all tenants in one database.

    Every method raises `TransientError` where the database is locked or away; the call may then be repeated.
    """

    def __init__(self, engine: AsyncEngine, url: str) -> None:
        self._engine = engine
        self._url = url
        self._insert = _INSERTS[engine.dialect.name]

    @classmethod
    def create(cls, url: str, *, wait: float = 10.0) -> Self:
        """A store on `url`; connects on first use. Call `migrate` before anything else.

        Args:
            url: SQLAlchemy URL with an async driver; an SQLite database has to be a file.
            wait: seconds to wait for a lock or a free connection.

        Raises:
            UsageError: a database of another kind.
        """
        backend = url.partition(":")[0].partition("+")[0]
        if backend not in _INSERTS:
            raise UsageError(
                f"no records in a database of kind {backend!r}; use sqlite+aiosqlite or postgresql+asyncpg"
            )
        return cls(open_engine(url, wait=wait), url)

    @property
    def engine(self) -> AsyncEngine:
        """For what else is kept in this database."""
        return self._engine

    async def migrate(self) -> None:
        """Create or upgrade the tables; several processes may do so at once."""
        await asyncio.to_thread(migrate, self._url)

    async def close(self) -> None:
        """Give back all connections. Safe to call twice."""
        await self._engine.dispose()

    async def save(self, record: Record, *, promoted_sequence: int = 0) -> Record:
        """Insert the record or replace an older state of it; returns the one that is there now.

        The same record again changes nothing, also if only its timings differ, as when an event is delivered twice:
        the first ones stay. A completed record is never replaced by one that failed or was cancelled, and what was
        cancelled stays so, as does what had failed before it was cancelled.

        A promoted record replaces whatever is there, unless that was promoted later; `promoted_sequence` is the place
        of its promotion in the stream, from 1.
        """
        values = record_values(record) | {"promoted_sequence": promoted_sequence}
        with passing_errors():
            async with self._engine.begin() as connection:
                # The first statement writes, so that SQLite takes its lock at once and can wait for it.
                added = await connection.execute(
                    self._insert(RecordRow)
                    .values(**values, created_at=values["updated_at"])
                    .on_conflict_do_nothing(index_elements=_KEY)
                    .returning(RecordRow.id)
                )
                row_id = added.scalar_one_or_none()
                if row_id is None:
                    return await self._replace(connection, record, values)
                await _add_items(connection, row_id, record)
        return record

    async def _replace(self, connection: AsyncConnection, record: Record, values: dict[str, Any]) -> Record:
        """Update the row that is there, unless its record is to stay; returns the one that is there now."""
        found = await connection.execute(
            select(RecordRow.id, RecordRow.record, RecordRow.promoted_sequence)
            .filter_by(**{key: values[key] for key in _KEY})
            .with_for_update()
        )
        row_id, stored_json, stored_sequence = found.one()
        stored = msgspec.convert(stored_json, Record)
        sequence: int = values["promoted_sequence"]
        if not replaces(record, sequence, stored, stored_sequence):
            return stored
        await connection.execute(update(RecordRow).where(RecordRow.id == row_id).values(**values))
        await connection.execute(delete(ItemRow).where(ItemRow.record_id == row_id))
        await _add_items(connection, row_id, record)
        return record

    async def get(
        self, tenant: str, document_id: str, revision: int | None = None, *, run_id: str | None = None
    ) -> Record | None:
        """The record of a document, of its latest revision unless one is given; None if there is none."""
        query = (
            select(RecordRow.record)
            .filter_by(tenant=tenant, document_id=document_id, run_id=run_id or "")
            .order_by(RecordRow.revision.desc())
            .limit(1)
        )
        if revision is not None:
            query = query.filter_by(revision=revision)
        with passing_errors():
            async with self._engine.connect() as connection:
                found = (await connection.execute(query)).scalar_one_or_none()
        return None if found is None else msgspec.convert(found, Record)

    async def count(self, tenant: str | None = None, *, status: str | None = None) -> int:
        """How many rows there are: all revisions and runs, of one tenant and in one status if given."""
        query = select(func.count()).select_from(RecordRow)
        if tenant is not None:
            query = query.filter_by(tenant=tenant)
        if status is not None:
            query = query.filter_by(status=status)
        with passing_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).scalar_one()


def replaces(record: Record, sequence: int, stored: Record, stored_sequence: int) -> bool:
    """Whether a record takes the place of the one that is there; the sequences are those of their promotions, or 0."""
    if sequence or stored_sequence:
        return sequence > stored_sequence
    return not _is_same(stored, record) and _outranks(record.status, stored.status)


def _is_same(stored: Record, record: Record) -> bool:
    return msgspec.structs.replace(stored, timings_ms={}) == msgspec.structs.replace(record, timings_ms={})


def _outranks(status: Status, stored: Status) -> bool:
    """A document may complete, or fail otherwise, after it failed. One is cancelled only if nothing came before."""
    if "cancelled" in (status, stored):
        return False
    return status in {stored, "completed"}


def record_values(record: Record) -> dict[str, Any]:
    """The columns of a record's row, but for its id and when it was created."""

    def value(name: str) -> str | None:
        field = record.fields.get(name)
        return field.value if field else None

    day, total = value("date"), value("total")
    return {
        "tenant": record.tenant,
        "document_id": record.document_id,
        "revision": record.revision,
        "run_id": record.run_id or "",
        "status": record.status,
        "kind": record.kind,
        "source": _storable(record.source),
        "straight_through": record.straight_through,
        "store_name": _storable(value("store_name")),
        "date": date.fromisoformat(day) if day else None,
        "currency": value("currency"),
        "total": float(total) if total else None,
        "record": record,
        "updated_at": datetime.now(UTC),
    }


async def _add_items(connection: AsyncConnection, record_id: int, record: Record) -> None:
    if not record.items:
        return
    rows = [
        {"record_id": record_id, "position": position, **item_values(item)}
        for position, item in enumerate(record.items)
    ]
    await connection.execute(insert(ItemRow), rows)


def item_values(item: Item) -> dict[str, str | float | None]:
    """The columns of an item's row, but for its place."""
    return {
        "name": _text(item.name),
        "code": _text(item.code),
        "quantity": _number(item.quantity),
        "unit_price": _number(item.unit_price),
        "amount": _number(item.amount),
        "discount": _number(item.discount),
    }


def _text(value: str | UnsetType) -> str | None:
    return _storable(None if value is UNSET else value)


def _storable(value: str | None) -> str | None:
    """Without NUL, which the text layer of a PDF may hold and PostgreSQL refuses."""
    return None if value is None else value.replace("\x00", "")


def _number(value: str | UnsetType) -> float | None:
    return None if value is UNSET else float(value)
