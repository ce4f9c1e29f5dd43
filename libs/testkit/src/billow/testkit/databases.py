"""Fixtures with databases, loaded by `billow.testkit.plugin`.

The tests of whatever keeps records ask for `database_url` and so run on SQLite and on a real PostgreSQL. That one is a
server of the tests' own, one a session, unless `BILLOW_TEST_DATABASE_URL` names another. Only where there is neither a
server nor anything to start do the tests on PostgreSQL skip, and say so; with the URL set none skips.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from billow.testkit.postgres import NoPostgresError, PostgresServer, fresh_database, running_postgres
from billow.testkit.settings import TestSettings


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session's own; a test that stops it has it started again by `postgres`."""
    try:
        running = running_postgres()
        server = running.__enter__()
    except NoPostgresError as e:
        pytest.skip(f"no PostgreSQL: {e}")
    try:
        yield server
    finally:
        running.__exit__(None, None, None)


@pytest_asyncio.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[PostgresServer]:
    """The session's own server, for tests that stop, kill and start it (in a thread: its calls block)."""
    yield postgres_server
    await asyncio.to_thread(postgres_server.start)


@pytest_asyncio.fixture
async def own_postgres_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """An empty database of this test's own on the server `postgres`."""
    async with fresh_database(postgres.url()) as url:
        yield url
        await asyncio.to_thread(postgres.start)


@pytest_asyncio.fixture
async def postgres_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An empty PostgreSQL database of this test's own, at `BILLOW_TEST_DATABASE_URL` if that is set."""
    server_url = TestSettings.from_environment().test_database_url
    if not server_url:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        server_url = server.url()
    async with fresh_database(server_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that is not there yet, nor its folder."""
    return f"sqlite+aiosqlite:///{tmp_path / 'new folder' / '100% records.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, SQLite and PostgreSQL in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
