"""What was erased, in the database of the records: kept so that nothing late brings it back, and applied to rows."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from billow.bus.erasure import Reach
from billow.bus.topology import DOCUMENTS
from billow.schemas.events import Erased
from billow.services.receipt.database import passing_errors
from billow.services.receipt.tables import ErasureRow, RecordRow

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_KEY = ("tenant", "document_id", "scope")
_AT_ONCE = 500
"""Rows deleted in one transaction, so that nobody waits long for the lock."""
_KEPT = timedelta(seconds=DOCUMENTS.max_age + 24 * 3600)


class Tombstone(NamedTuple):
    """One erasure. `document_id` is empty for a tenant's, `before` None for all that was submitted until then."""

    tenant: str
    document_id: str
    before: datetime | None
    sequence: int
    erased_at: datetime


class Tombstones:
    """The erasures of all tenants. Every method raises `TransientError` where the database is locked or away."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine`: that of the records; the tables are there already."""
        self._engine = engine
        self._insert = _INSERTS[engine.dialect.name]

    async def bury(self, event: Erased, sequence: int, stored_at: datetime) -> None:
        """Note an erasure before anything is deleted for it. Of several of one kind the farthest reaching stays."""
        statement = self._insert(ErasureRow).values(
            tenant=event.tenant,
            document_id=event.document_id if event.scope == "document" else "",
            scope="all" if event.before is None else "before",
            before=None if event.before is None else event.before.astimezone(UTC),
            sequence=sequence,
            erased_at=stored_at.astimezone(UTC),
        )
        new = statement.excluded
        reaches_farther = ErasureRow.sequence < new.sequence if event.before is None else ErasureRow.before < new.before
        with passing_errors():
            async with self._engine.begin() as connection:
                await connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=_KEY,
                        set_={"before": new.before, "sequence": new.sequence, "erased_at": new.erased_at},
                        where=reaches_farther,
                    )
                )

    async def about(self, tenant: str, document_id: str) -> list[Tombstone]:
        """Those of a document and of its whole tenant."""
        query = select(ErasureRow).where(ErasureRow.tenant == tenant, ErasureRow.document_id.in_((document_id, "")))
        with passing_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).all()
        return [
            Tombstone(
                row.tenant,
                row.document_id,
                None if row.before is None else _utc(row.before),
                row.sequence,
                _utc(row.erased_at),
            )
            for row in rows
        ]

    async def names(self) -> set[tuple[str, str]]:
        """Tenant and document of all; the document is empty for a tenant's."""
        with passing_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(select(ErasureRow.tenant, ErasureRow.document_id))).all()
        return {(row.tenant, row.document_id) for row in rows}

    async def forget_old(self) -> None:
        """Drop those that are older than any event in the stream can be."""
        with passing_errors():
            async with self._engine.begin() as connection:
                await connection.execute(delete(ErasureRow).where(ErasureRow.erased_at < datetime.now(UTC) - _KEPT))

    async def has_older(self, tenant: str, before: datetime) -> bool:
        """Whether a row of the tenant was made before then."""
        query = (
            select(RecordRow.id)
            .where(RecordRow.tenant == tenant, RecordRow.created_at < before.astimezone(UTC))
            .limit(1)
        )
        with passing_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).first() is not None

    async def forget_records(self, reach: Reach) -> int:
        """Delete the rows that an erasure reaches, their items too; returns how many. Safe to repeat.

        A row is as old as the first record of its revision. SQLite overwrites what it deletes and moves it out of its
        log; PostgreSQL frees it at its next VACUUM.
        """
        gone = 0
        for condition in self._conditions(reach):
            while deleted := await self._delete_some(condition):
                gone += deleted
        if gone and self._engine.dialect.name == "sqlite":
            await self._empty_log()
        return gone

    def _conditions(self, reach: Reach) -> list[ColumnElement[bool]]:
        mine = RecordRow.tenant == reach.tenant
        older = RecordRow.created_at < reach.time.astimezone(UTC)
        if reach.partial:
            conditions = [and_(mine, older)]
            for document, revisions in reach.old.items():
                named = RecordRow.document_id == document
                conditions.append(and_(mine, named, RecordRow.revision.in_(list(revisions))))
            return conditions
        if reach.document_id is not None:
            mine = and_(mine, RecordRow.document_id == reach.document_id)
        if not reach.new:
            return [mine]
        # Few: those that were submitted again since.
        stays = or_(
            *(
                and_(RecordRow.document_id == document, RecordRow.revision == revision)
                for document, revisions in reach.new.items()
                for revision in revisions
            )
        )
        return [and_(mine, older), and_(mine, ~stays)]

    async def _delete_some(self, condition: ColumnElement[bool]) -> int:
        with passing_errors():
            async with self._engine.begin() as connection:
                chosen = select(RecordRow.id).where(condition).limit(_AT_ONCE)
                gone = await connection.execute(delete(RecordRow).where(RecordRow.id.in_(chosen)))
                return gone.rowcount

    async def _empty_log(self) -> None:
        """Best effort: a reader in the way keeps old pages in the write-ahead log until the next checkpoint."""
        with passing_errors():
            async with self._engine.connect() as connection:
                log = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await log.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
