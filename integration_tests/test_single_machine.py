"""`deploy/nats/single.conf`: one server, no cluster, every message on the disk before it is acknowledged."""

import asyncio
import json
from pathlib import Path

import pytest

from billow.bus.connection import Bus
from billow.bus.embedded import MAX_PAYLOAD
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.testkit.events import make_submitted
from integration_tests.cluster.docker import Container, Network
from integration_tests.images import NATS

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[1]


async def test_it_takes_all_streams_and_keeps_what_it_acknowledged_when_it_is_killed(engine: None) -> None:
    network = Network()
    server = Container(
        NATS,
        name="single",
        network=network,
        address=network.address(0),
        command=["-c", "/etc/nats/single.conf"],
        environ={
            "BILLOW_NATS_LISTEN": "0.0.0.0:4222",
            "BILLOW_NATS_MONITOR": "0.0.0.0:8222",
            "BILLOW_NATS_STORE": "/data",
            "BILLOW_NATS_FILE_STORE": "1TB",
        },
        files={ROOT / "deploy" / "nats" / "single.conf": "/etc/nats/single.conf"},
    )
    try:
        server.start()
        async with await Bus.connect(f"nats://{server.address}:4222", name="test", timeout=60) as bus:
            assert bus.client.max_payload == MAX_PAYLOAD
            await provision(bus)
            sequence = await publish_event(bus, make_submitted())
            back = asyncio.Event()
            bus.on_reconnect(back.set)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(back.wait(), 120)
            kept = await bus.js.get_msg("DOCUMENTS", sequence)
            assert kept.data is not None
            assert json.loads(kept.data)["document_id"] == make_submitted().document_id
    finally:
        server.remove()
        network.remove()
