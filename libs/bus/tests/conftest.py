"""A provisioned bus on a real server."""

from collections.abc import AsyncIterator

import pytest_asyncio
from blockbuster import blockbuster_ctx

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision


@pytest_asyncio.fixture
async def bus(embedded_server: EmbeddedServer) -> AsyncIterator[Bus]:
    """Connected to a server of this test's own, with all streams. A call of ours that blocks the loop is an error."""
    with blockbuster_ctx("billow.bus") as guard:
        # A logged traceback looks for its source files.
        guard.functions["os.stat"].deactivate()
        async with await Bus.connect(embedded_server.url, name="test") as connected:
            await provision(connected)
            yield connected
