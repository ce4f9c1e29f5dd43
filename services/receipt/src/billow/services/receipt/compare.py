"""Two databases of records, row by row."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, Text, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from billow.services.receipt.database import passing_errors
from billow.services.receipt.rebuild import KEY_COLUMNS, Key, parts, utc
from billow.services.receipt.tables import ItemRow, RecordRow

_PAGE = 1_000
_PLACES = 4
"""Decimals that PostgreSQL keeps of an amount; SQLite keeps a float."""
_NOT_COMPARED = {"id", "created_at", "updated_at"}
"""Ids are each database's own; the stream knows when an outcome was said, a moment after it was stored."""
_COMPARED = tuple(column for column in RecordRow.__table__.columns if column.key not in _NOT_COMPARED)
# The record as text where that can be had: it is only decoded where it differs.
_SELECTED = tuple(
    type_coerce(column, Text).label(column.key) if column.key == "record" else column for column in _COMPARED
)
_ITEM_COLUMNS = tuple(column for column in ItemRow.__table__.columns if column.key != "record_id")


class Seen(NamedTuple):
    """A row of one database."""

    columns: tuple[Any, ...]
    """what is compared, as the driver gives it"""
    items: list[tuple[Any, ...]]
    """their columns without the record's id, in their order"""
    updated_at: datetime


async def rows_of(engine: AsyncEngine, keys: Iterable[Key]) -> dict[Key, Seen]:
    """The official records of some documents, with their items. Raises TransientError."""
    found: dict[Key, Seen] = {}
    with passing_errors():
        async with engine.connect() as connection:
            for part in parts(sorted(keys)):
                query = select(RecordRow.id, RecordRow.updated_at, *_SELECTED).where(tuple_(*KEY_COLUMNS).in_(part))
                rows = (await connection.execute(query.where(RecordRow.run_id == ""))).all()
                found |= await _with_items(connection, rows)
    return found


async def pages(engine: AsyncEngine) -> AsyncGenerator[dict[Key, Seen]]:
    """All official records, a thousand at a time. Raises TransientError."""
    last = 0
    while True:
        query = select(RecordRow.id, RecordRow.updated_at, *_SELECTED).where(RecordRow.id > last)
        with passing_errors():
            async with engine.connect() as connection:
                rows = (await connection.execute(query.order_by(RecordRow.id).limit(_PAGE))).all()
                page = await _with_items(connection, [row for row in rows if not row.run_id])
        if not rows:
            return
        last = rows[-1].id
        yield page


class Named(NamedTuple):
    """That there is a row, and since when it is as it is."""

    key: Key
    run_id: str
    updated_at: datetime


async def names(engine: AsyncEngine) -> AsyncGenerator[list[Named]]:
    """All rows without what they hold, a thousand at a time. Raises TransientError."""
    last = 0
    while True:
        query = select(RecordRow.id, RecordRow.run_id, RecordRow.updated_at, *KEY_COLUMNS).where(RecordRow.id > last)
        with passing_errors():
            async with engine.connect() as connection:
                rows = (await connection.execute(query.order_by(RecordRow.id).limit(_PAGE))).all()
        if not rows:
            return
        last = rows[-1].id
        yield [Named((r.tenant, r.document_id, r.revision), r.run_id, utc(r.updated_at)) for r in rows]


async def _with_items(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[Key, Seen]:
    items: dict[int, list[tuple[Any, ...]]] = {row.id: [] for row in rows}
    for part in parts(list(items)):
        query = select(ItemRow.record_id, *_ITEM_COLUMNS).where(ItemRow.record_id.in_(part))
        for item in await connection.execute(query.order_by(ItemRow.record_id, ItemRow.position)):
            items[item[0]].append(item[1:])
    return {
        (row.tenant, row.document_id, row.revision): Seen(row[2:], items[row.id], utc(row.updated_at)) for row in rows
    }


def differing(one: Seen, other: Seen) -> tuple[str, ...]:
    """Columns in which two rows differ, and `items`; of the record itself its parts, as `record.fields`."""
    found: list[str] = []
    for column, mine, theirs in zip(_COMPARED, one.columns, other.columns, strict=True):
        if mine == theirs or _plain(mine) == _plain(theirs):
            continue
        found += _differing_parts(mine, theirs) if column.key == "record" else [column.key]
    if one.items != other.items and _plain_items(one) != _plain_items(other):
        found.append("items")
    return tuple(found)


def _differing_parts(one: object, other: object) -> list[str]:
    try:
        mine, theirs = _decoded(one), _decoded(other)
    except msgspec.MsgspecError:
        return ["record"]
    return [f"record.{part}" for part in sorted({*mine, *theirs}) if mine.get(part) != theirs.get(part)]


def _decoded(value: object) -> dict[str, Any]:
    """Of SQLite it is text; the driver of PostgreSQL has decoded it."""
    if isinstance(value, str):
        return msgspec.json.decode(value, type=dict[str, Any])
    return msgspec.convert(value, dict[str, Any])


def _plain_items(seen: Seen) -> list[list[object]]:
    return [[_plain(value) for value in item] for item in seen.items]


def _plain(value: object) -> object:
    return round(value, _PLACES) if isinstance(value, float) else value


class Suspects(NamedTuple):
    """Rows that are not the same in both, when they were looked at."""

    different: dict[Key, tuple[str, ...]]
    """-> the columns in which they differ"""
    only_old: dict[Key, datetime]
    """-> when the row was last changed"""
    only_new: set[Key]
    changed_at: dict[Key, datetime]
    """When the old row of a suspect was last changed."""

    @property
    def keys(self) -> set[Key]:
        """All of them."""
        return {*self.different, *self.only_old, *self.only_new}


def judge(keys: Iterable[Key], old: dict[Key, Seen], new: dict[Key, Seen]) -> tuple[int, Suspects]:
    """How many of the rows are equal, and the others; a key in neither database counts as neither."""
    equal, suspects = 0, Suspects({}, {}, set(), {})
    for key in keys:
        mine, theirs = old.get(key), new.get(key)
        if mine is not None:
            suspects.changed_at[key] = mine.updated_at
        if mine is None and theirs is not None:
            suspects.only_new.add(key)
        elif mine is not None and theirs is None:
            suspects.only_old[key] = mine.updated_at
        elif mine is not None and theirs is not None:
            if columns := differing(mine, theirs):
                suspects.different[key] = columns
            else:
                equal += 1
    return equal, suspects


class Comparison(NamedTuple):
    """What one look at all rows found."""

    equal: int
    suspects: Suspects
    older: int
    """rows of the old database from before the window, of which the stream says nothing"""
    of_runs: int
    """rows of replays, which no rebuild makes"""


async def compare(
    old: AsyncEngine,
    new: AsyncEngine,
    window: datetime | None,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Look at every row of both. `window`: when the oldest event that is left was stored; None leaves nothing out.

    `progress` is told how many more rows were looked at. Raises TransientError.
    """
    equal, all_suspects = 0, Suspects({}, {}, set(), {})
    async for page in pages(new):
        count, suspects = judge(page, await rows_of(old, page), page)
        equal += count
        all_suspects.different.update(suspects.different)
        all_suspects.only_new.update(suspects.only_new)
        all_suspects.changed_at.update(suspects.changed_at)
        progress(len(page))
    older = of_runs = 0
    limit = window or datetime.min.replace(tzinfo=UTC)
    async for named in names(old):
        of_runs += sum(1 for row in named if row.run_id)
        there = await known(new, [row.key for row in named])
        for row in named:
            if row.run_id or row.key in there:
                continue
            if row.updated_at < limit:
                older += 1
            else:
                all_suspects.only_old[row.key] = row.updated_at
                all_suspects.changed_at[row.key] = row.updated_at
        progress(len(named))
    return Comparison(equal, all_suspects, older, of_runs)


async def known(engine: AsyncEngine, keys: Sequence[Key]) -> set[Key]:
    """Which of the keys have an official record. Raises TransientError."""
    found: set[Key] = set()
    with passing_errors():
        async with engine.connect() as connection:
            for part in parts(keys):
                query = select(*KEY_COLUMNS).where(tuple_(*KEY_COLUMNS).in_(part), RecordRow.run_id == "")
                found.update((row[0], row[1], row[2]) for row in await connection.execute(query))
    return found
