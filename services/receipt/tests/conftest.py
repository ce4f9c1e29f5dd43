"""A hub and an empty database for the receipt service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.services.receipt.store import Store
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.create(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    await store.migrate()
    yield store
    await store.close()
