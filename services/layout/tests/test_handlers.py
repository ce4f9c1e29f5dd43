# pyright: reportUnknownMemberType=false
"""The layout service on a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, LAYOUT
from billow.services.layout.handlers import LayoutHandler
from billow.testkit.events import make_recognized
from billow.testkit.plugin import NatsServer


async def test_a_document_whose_deadline_passed_fails_instead_of_waiting_for_a_model(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        handler = LayoutHandler(bus, InferenceClient(bus, wait=60), model="absent_1-0-0")
        consumer = EventConsumer(bus, LAYOUT, handler.on_recognized, service="layout", concurrency=1)
        await consumer.start()
        stopping = asyncio.Event()
        running = asyncio.create_task(consumer.run(stopping))
        await publish_event(bus, make_recognized(deadline=datetime.now(UTC) - timedelta(seconds=1)))
        async with asyncio.timeout(20):
            while not (await bus.js.stream_info(DEADLETTERS.name)).state.messages:
                await asyncio.sleep(0.01)
        letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.layout.recognized", direct=True)
        assert (letter.headers or {})[headers.DEAD_CODE] == "deadline_exceeded"
        stopping.set()
        await running
