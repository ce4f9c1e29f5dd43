"""A client, and the bus beside it, on a real server without any service."""

from collections.abc import AsyncIterator

import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.client import Billow
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def billow(nats_server: NatsServer) -> AsyncIterator[Billow]:
    """A client of the default tenant."""
    async with Billow(nats_server.url) as client:
        yield client


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """What the services would say is said here by the test."""
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected
