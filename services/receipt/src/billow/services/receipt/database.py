"""Engines set up for SQLite or PostgreSQL, and which database errors may pass."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from billow.runtime.errors import TransientError

_POOL_SIZE = 4
_PASSING_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_PASSING_SQLSTATES = ("08", "40", "53", "55P03", "57P")
"""PostgreSQL: connection lost, rolled back, out of resources, lock not available, shutting down."""


def open_engine(url: str, *, wait: float) -> AsyncEngine:
    """An engine with a small pool; nothing connects before its first use.

    SQLite connections wait `wait` seconds for a lock, enforce foreign keys, and sync at checkpoints only: in WAL mode
    a power cut may lose the last commits, which the events in the stream still tell, but never breaks the file.
    """
    options: dict[str, Any] = {"pool_size": _POOL_SIZE, "pool_timeout": wait, "pool_pre_ping": True}
    engine = create_async_engine(url, json_serializer=_to_json, json_deserializer=msgspec.json.decode, **options)
    if engine.dialect.name == "sqlite":
        set_pragmas(engine.sync_engine, wait)
    return engine


def set_pragmas(engine: Engine, wait: float) -> None:
    """Have every new SQLite connection of `engine` set up; `wait` in seconds."""

    def on_connect(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={int(wait * 1000)}", "foreign_keys=ON", "synchronous=NORMAL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", on_connect)


def make_folder(url: str) -> None:
    """Create the folder of an SQLite file; no-op for other databases."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@contextmanager
def passing_errors() -> Generator[None]:
    """Turn errors that may pass by themselves into `TransientError`; all others go through."""
    try:
        yield
    except (PoolTimeoutError, ConnectionError, TimeoutError) as e:
        raise TransientError(f"the database cannot be reached ({e}); it is tried again") from e
    except DBAPIError as e:
        if not _may_pass(e):
            raise
        raise TransientError(f"the database is busy or gone ({e.orig}); it is tried again") from e


def _may_pass(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _PASSING_SQLITE
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_PASSING_SQLSTATES)
