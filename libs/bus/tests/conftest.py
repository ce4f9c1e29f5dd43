# pyright: reportUnknownMemberType=false
"""A provisioned bus, and an image store, on a real server."""

from collections.abc import AsyncIterator

import nats
import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from nats.aio.client import Client
from nats.js import JetStreamContext

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.images import ImageStore
from billow.bus.provision import provision


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds is no outage: nothing here is given up as soon as in production.

    Where giving up is what a test is about, the test says after how long.
    """
    for name in (
        "asking._CLOSING_SECONDS",
        "backlog._ANSWER_SECONDS",
        "clock._ANSWER_SECONDS",
        "images._PURGE_SECONDS",
        "pull._DRAIN_SECONDS",
        "rates._ANSWER_SECONDS",
        "shadows._TAKE_BACK_SECONDS",
    ):
        monkeypatch.setattr(f"billow.bus.{name}", 30.0)


@pytest_asyncio.fixture
async def bus(embedded_server: EmbeddedServer) -> AsyncIterator[Bus]:
    """Connected to a server of this test's own, with all streams. A call of ours that blocks the loop is an error."""
    with blockbuster_ctx("billow.bus") as guard:
        # A logged traceback looks for its source files.
        guard.functions["os.stat"].deactivate()
        async with await Bus.connect(embedded_server.url, name="test") as connected:
            await provision(connected)
            yield connected


@pytest.fixture
def js(nats_client: Client) -> JetStreamContext:
    """The stock client's JetStream."""
    return nats_client.jetstream()


@pytest.fixture
def store(nats_client: Client) -> ImageStore:
    """Ours, on the same connection."""
    return ImageStore(nats_client)


@pytest_asyncio.fixture
async def stock(embedded_server: EmbeddedServer) -> AsyncIterator[Client]:
    """A stock client on the server of `bus`, as any backend has one."""
    async with await nats.connect(embedded_server.url) as client:
        yield client
