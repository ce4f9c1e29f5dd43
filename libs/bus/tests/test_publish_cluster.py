# pyright: reportUnknownMemberType=false
"""Stating an event where each message has three copies, which takes a moment."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from billow.bus import publish as publishing
from billow.bus.connection import Bus
from billow.bus.publish import publish_event
from billow.bus.topology import DOCUMENTS
from billow.testkit.cluster import Hub, provision_hub
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from billow.testkit.workstation import DOMAIN


@contextlib.asynccontextmanager
async def provisioned(hub: Hub) -> AsyncGenerator[Bus]:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN) as bus:
        await provision_hub(bus)
        yield bus


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be behind for longer than in production: nothing is taken out here."""
    monkeypatch.setattr(publishing, "_BEHIND_SECONDS", 60.0)


async def test_what_is_said_again_while_it_is_being_stored_is_stored_once_and_nobody_is_refused(hub: Hub) -> None:
    """As a redelivery does that overtakes an attempt whose acknowledgement was lost with a leader."""
    async with provisioned(hub) as bus:
        for number in range(10):
            event = make_submitted(f"doc-{number}")
            sequences = await asyncio.gather(*(publish_event(bus, event) for _ in range(20)))
            assert len(set(sequences)) == 1


async def test_what_is_said_again_at_a_server_that_is_behind_is_stored_once(hub: Hub) -> None:
    """As a redelivery does that comes to a process at another server than the first one."""
    async with provisioned(hub) as bus:
        leaders: list[int] = []

        async def led() -> bool:
            cluster = (await bus.js.stream_info(DOCUMENTS.name)).cluster
            if cluster is not None and cluster.leader:
                leaders.append(hub.node(cluster.leader))
            return bool(leaders)

        await until(led)
        (leader,) = leaders
        urls = hub.url.split(",")
        async with (
            await Bus.connect(urls[leader], name="leader", domain=DOMAIN) as first,
            await Bus.connect(urls[leader - 1], name="follower", domain=DOMAIN) as second,
        ):
            for number in range(300):
                event = make_submitted(f"doc-{number}")
                assert await publish_event(first, event) == await publish_event(second, event)
