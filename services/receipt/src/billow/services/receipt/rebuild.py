"""Makes the records anew from what the stream tells: each `completed` and `failed` says what the database held."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from billow.bus.connection import Bus
from billow.bus.history import History, Stored
from billow.schemas.events import EVENT_NAMES, Completed, DocumentEvent, Erased, Failed, Promoted, Submitted
from billow.schemas.record import Record
from billow.services.receipt.chronicle import chronicle
from billow.services.receipt.database import passing_errors
from billow.services.receipt.store import item_values, record_values, replaces
from billow.services.receipt.tables import ItemRow, RecordRow
from billow.services.receipt.tombstones import Tombstones

T = TypeVar("T")
Key = tuple[str, str, int]
"""tenant, document, revision"""

KEY_COLUMNS = (RecordRow.tenant, RecordRow.document_id, RecordRow.revision)
KEYS_AT_ONCE = 500
"""Of three values each; SQLite takes 32,766 in a statement."""
_BATCH = 2_000
_DECISIVE = {EVENT_NAMES[kind] for kind in (Completed, Failed, Erased)}


@dataclass(slots=True)
class _Row:
    record: Record
    promoted: int
    created_at: datetime
    updated_at: datetime
    id: int
    stored: bool = False
    changed: bool = True


@dataclass(slots=True)
class Told:
    """What a rebuild has read so far."""

    sequence: int = 0
    """of the last message that was read"""
    outcomes: int = 0
    erasures: int = 0
    unreadable: int = 0
    waiting: dict[Key, datetime] = field(default_factory=dict[Key, datetime])
    """Submitted without an outcome after it -> when."""


class Rebuild:
    """Fills an empty database. What the stream tells later may be added by another `read`.

    Where the service would keep what is there, so does this: a failure never takes the place of a completed record,
    and of several promotions the last in the stream counts.
    """

    def __init__(self, bus: Bus, engine: AsyncEngine) -> None:
        """`engine` of a database with empty tables that nobody else uses."""
        self.told = Told()
        self._engine = engine
        self._history = History(bus)
        self._known: set[Key] = set()
        self._promotions: dict[tuple[str, Key], int] = {}
        self._erased: set[Key] = set()
        self._tombstones = Tombstones(engine)
        self._next_id = 1

    async def read(
        self, last: int, *, since: datetime | None = None, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Add all that was said up to the sequence `last`; `progress` is told each sequence that was reached.

        Raises:
            TransientError: NATS or the database does not answer.
        """
        start = self.told.sequence
        async for messages in chronicle(self._history, after=start, last=last, since=since):
            for first in range(0, len(messages), _BATCH):
                await self._add(messages[first : first + _BATCH])
            progress(messages[-1].sequence)
        self.told.sequence = max(start, last)

    async def _add(self, messages: Sequence[Stored]) -> None:
        """One transaction."""
        events = [(stored, event) for stored in messages if (event := self._event(stored)) is not None]
        with passing_errors():
            async with self._engine.begin() as connection:
                pending: list[tuple[Completed | Failed, int]] = []
                erasures: list[tuple[Erased, Stored]] = []
                for stored, event in events:
                    if isinstance(event, Completed | Failed):
                        self._count(event)
                        promoted = self._promotions.get((event.promotion or "", _key(event)), 0)
                        pending.append((event, promoted))
                    elif isinstance(event, Promoted):
                        self._promotions[event.promotion, _key(event)] = stored.sequence
                    elif isinstance(event, Submitted):
                        self._submitted(event)
                    elif isinstance(event, Erased):
                        await self._keep(connection, pending)
                        pending = []
                        await self._erase(connection, event)
                        erasures.append((event, stored))
                await self._keep(connection, pending)
        for event, stored in erasures:
            await self._tombstones.bury(event, stored.sequence, stored.at)

    def _event(self, stored: Stored) -> DocumentEvent | None:
        event = stored.event()
        if event is None:
            # The service could not read the others either, so nothing came of them.
            self.told.unreadable += stored.name in _DECISIVE
            return None
        # A replay's own events do not lie here, and would not be about the record.
        return event if event.run_id is None else None

    def _count(self, event: Completed | Failed) -> None:
        self.told.outcomes += 1
        self.told.waiting.pop(_key(event), None)

    def _submitted(self, event: Submitted) -> None:
        self._erased.discard(_key(event))
        self.told.waiting[_key(event)] = event.occurred_at

    async def _keep(self, connection: AsyncConnection, outcomes: Sequence[tuple[Completed | Failed, int]]) -> None:
        rows = await self._load(connection, {_key(event) for event, _ in outcomes} & self._known)
        for event, promoted in outcomes:
            key, at = _key(event), event.occurred_at.astimezone(UTC)
            if key in self._erased:
                continue
            row = rows.get(key)
            if row is None:
                rows[key] = _Row(event.record, promoted, at, at, self._next_id)
                self._next_id += 1
            elif replaces(event.record, promoted, row.record, row.promoted):
                row.record, row.promoted, row.updated_at, row.changed = event.record, promoted, at, True
        await _write(connection, [row for row in rows.values() if row.changed])
        self._known.update(rows)

    async def _load(self, connection: AsyncConnection, keys: set[Key]) -> dict[Key, _Row]:
        rows: dict[Key, _Row] = {}
        columns = (RecordRow.record, RecordRow.promoted_sequence, RecordRow.created_at, RecordRow.updated_at)
        for part in parts(sorted(keys)):
            query = select(RecordRow.id, *columns).where(tuple_(*KEY_COLUMNS).in_(part))
            for id_, stored, promoted, created, updated in await connection.execute(query):
                record = msgspec.convert(stored, Record)
                row = _Row(record, promoted, utc(created), utc(updated), id_, stored=True, changed=False)
                rows[record.tenant, record.document_id, record.revision] = row
        return rows

    async def _erase(self, connection: AsyncConnection, event: Erased) -> None:
        self.told.erasures += 1
        gone = delete(RecordRow).filter_by(tenant=event.tenant)
        if event.scope == "document":
            gone = gone.filter_by(document_id=event.document_id)
        if event.before is not None:
            gone = gone.where(RecordRow.created_at < event.before.astimezone(UTC))
        for tenant, document_id, revision in await connection.execute(gone.returning(*KEY_COLUMNS)):
            self._erased.add((tenant, document_id, revision))
        for key, submitted_at in list(self.told.waiting.items()):
            is_named = event.scope == "tenant" or key[1] == event.document_id
            if key[0] == event.tenant and is_named and (event.before is None or submitted_at < event.before):
                # What is said of it later does not bring it back, unless it is submitted again before.
                self._erased.add(key)
                del self.told.waiting[key]

    async def waiting(self) -> int:
        """Documents on their way: submitted, and without an outcome, also not one from before they were submitted."""
        keys = set(self.told.waiting)
        with passing_errors():
            async with self._engine.connect() as connection:
                return len(keys) - len(await self._load(connection, keys))

    async def count(self) -> int:
        """Records that are there now."""
        with passing_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(select(func.count()).select_from(RecordRow))).scalar_one()


async def _write(connection: AsyncConnection, rows: Sequence[_Row]) -> None:
    if not rows:
        return
    for part in parts([row.id for row in rows if row.stored]):
        await connection.execute(delete(RecordRow).where(RecordRow.id.in_(part)))
    values: list[dict[str, Any]] = [
        record_values(row.record)
        | {
            "id": row.id,
            "promoted_sequence": row.promoted,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
        for row in rows
    ]
    await connection.execute(insert(RecordRow), values)
    items = [
        {"record_id": row.id, "position": position, **item_values(item)}
        for row in rows
        for position, item in enumerate(row.record.items)
    ]
    if items:
        await connection.execute(insert(ItemRow), items)


def parts(values: Sequence[T]) -> list[Sequence[T]]:
    """Pieces that fit into one statement."""
    return [values[first : first + KEYS_AT_ONCE] for first in range(0, len(values), KEYS_AT_ONCE)]


def utc(value: datetime) -> datetime:
    """As it was written: SQLite keeps no offset."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _key(event: DocumentEvent) -> Key:
    return (event.tenant, event.document_id, event.revision)
