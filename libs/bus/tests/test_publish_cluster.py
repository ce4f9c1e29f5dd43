"""Stating an event where each message has three copies, which takes a moment."""

import asyncio
import contextlib

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.runtime.errors import TransientError
from billow.testkit.cluster import NODES, Hub
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from billow.testkit.workstation import DOMAIN


async def test_what_is_said_again_while_it_is_being_stored_is_stored_once_and_nobody_is_refused(hub: Hub) -> None:
    """As a redelivery does that overtakes an attempt whose acknowledgement was lost with a leader."""
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN) as bus:

        async def provisioned() -> bool:
            with contextlib.suppress(TransientError):
                await provision(bus, replicas=NODES)
                return True
            return False

        await until(provisioned, 60)
        for number in range(10):
            event = make_submitted(f"doc-{number}")
            sequences = await asyncio.gather(*(publish_event(bus, event) for _ in range(20)))
            assert len(set(sequences)) == 1
