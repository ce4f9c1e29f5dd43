"""Engines set up for SQLite or PostgreSQL, and which database errors may pass."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from billow.runtime.errors import TransientError, UsageError

_POOL_SIZE = 4
_LEAST_COMMAND_SECONDS = 10.0
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
_PASSING_SQLSTATES = ("08", "25006", "40", "53", "55P03", "57014", "57P")
"""PostgreSQL: connection lost, read-only while a standby takes over, rolled back (serialization, deadlock), out of
resources (disk, memory, connections), lock not available, cancelled, shutting down or not up yet."""
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
"""Kind of database -> how its URL begins."""


def open_engine(url: str, *, wait: float, schema: str = "") -> AsyncEngine:
    """An engine with a small pool; nothing connects before its first use.

    SQLite connections wait `wait` seconds for a lock, enforce foreign keys, and sync at checkpoints only: in WAL mode
    a power cut may lose the last commits, which the events in the stream still tell, but never breaks the file.
    """
    options: dict[str, Any] = {"pool_size": _POOL_SIZE, "pool_timeout": wait, "pool_pre_ping": True}
    if url.startswith(DRIVERS["postgresql"]):
        # A server that went without a word, as behind a cut network, must not keep an event for ever.
        options["connect_args"] = {"timeout": wait, "command_timeout": max(wait, _LEAST_COMMAND_SECONDS)}
        options["connect_args"] |= within_schema(url, schema)
    engine = make_engine(url, json_serializer=_to_json, json_deserializer=msgspec.json.decode, **options)
    if engine.dialect.name == "sqlite":
        set_pragmas(engine.sync_engine, wait)
    return engine


def within_schema(url: str, schema: str) -> dict[str, Any]:
    """Arguments to connect with, so that tables without a schema mean those of `schema`; PostgreSQL only."""
    is_named = bool(schema) and url.startswith(DRIVERS["postgresql"])
    return {"server_settings": {"search_path": schema}} if is_named else {}


def make_engine(url: str, **options: Any) -> AsyncEngine:
    """An engine as SQLAlchemy makes it, without the advice that its errors lack.

    Raises:
        UsageError: the URL cannot be used: another kind of database, another driver, or one that is not installed.
    """
    kind = url.partition(":")[0].partition("+")[0]
    if kind not in DRIVERS:
        raise UsageError(f"no records in a database of kind {kind!r}; use {' or '.join(DRIVERS.values())}")
    if not url.startswith(f"{DRIVERS[kind]}:"):
        raise UsageError(f"the URL of the database begins with {url.partition(':')[0]!r}; write {DRIVERS[kind]!r}")
    try:
        return create_async_engine(url, **options)
    except ImportError as e:
        driver = DRIVERS[kind].partition("+")[2]
        raise UsageError(f"{DRIVERS[kind]} needs the package {driver}: install it, e.g. `pip install {driver}`") from e
    except (ArgumentError, InvalidRequestError, NoSuchModuleError, ValueError) as e:
        raise UsageError(f"the URL of the database cannot be used: {e}") from e


def set_pragmas(engine: Engine, wait: float) -> None:
    """Have every new SQLite connection of `engine` set up; `wait` in seconds."""

    def on_connect(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        # What is deleted or replaced is overwritten in the file too.
        settings = (f"busy_timeout={int(wait * 1000)}", "foreign_keys=ON", "synchronous=NORMAL", "secure_delete=ON")
        for pragma in settings:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", on_connect)


def make_folder(url: str) -> None:
    """Create the folder of an SQLite file; no-op for other databases. Raises UsageError where it cannot be."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(
                f"no records can be kept in {folder}: {e.strerror or e}. Make it writable, or choose another file with "
                "BILLOW_DATABASE_URL"
            ) from e


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@contextmanager
def passing_errors() -> Generator[None]:
    """Turn errors that may pass by themselves into `TransientError`; all others go through."""
    try:
        yield
    except (PoolTimeoutError, OSError) as e:
        # No route, no name, refused, reset, timed out, no socket yet.
        raise TransientError(f"the database cannot be reached ({e or type(e).__name__}); it is tried again") from e
    except DBAPIError as e:
        if not _may_pass(e):
            raise
        raise TransientError(f"the database is busy or gone ({e.orig}); it is tried again") from e
    except Exception as e:
        # While it connects, asyncpg's errors come as they are.
        if not _is_passing_state(getattr(e, "sqlstate", None)):
            raise
        raise TransientError(f"the database lets nobody in now ({e}); it is tried again") from e


def _may_pass(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _PASSING_SQLITE
    return _is_passing_state(getattr(error.orig, "sqlstate", None))


def _is_passing_state(state: object) -> bool:
    return isinstance(state, str) and state.startswith(_PASSING_SQLSTATES)
