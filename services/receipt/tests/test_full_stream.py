# pyright: reportUnknownMemberType=false
"""The receipt service while the stream has no room for its outcome."""

import asyncio
from pathlib import Path

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.outcome import latest_record
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, DOCUMENTS, RECEIPT
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.testkit.consuming import settled, until
from billow.testkit.events import make_analyzed
from billow.testkit.plugin import NatsServer


async def _messages(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.messages


async def _room_for(bus: Bus, messages: int) -> None:
    config = (await bus.js.stream_info(DOCUMENTS.name)).config
    config.max_msgs = messages
    await bus.js.update_stream(config)


async def test_an_outcome_waits_for_room_and_is_no_dead_letter(nats_server: NatsServer, tmp_path: Path) -> None:
    store = Store.create(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    await store.migrate()
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        for name in ("doc-1", "doc-2"):
            await publish_event(bus, make_analyzed(name))
        await _room_for(bus, 2)
        handler = ReceiptHandler(bus, store, min_confidence=0.7)
        consumer = EventConsumer(bus, RECEIPT, handler.on_analyzed, concurrency=2)
        await consumer.start()
        stopping = asyncio.Event()
        running = asyncio.create_task(consumer.run(stopping))

        async def handed_out_again() -> bool:
            info = await bus.js.consumer_info(DOCUMENTS.name, RECEIPT.durable)
            return (info.num_redelivered or 0) >= 2

        await until(handed_out_again, timeout=90)
        assert await _messages(bus, DOCUMENTS.name) == 2
        assert await latest_record(bus, "default", "doc-1") is None
        await _room_for(bus, -1)
        await until(lambda: settled(bus, RECEIPT), timeout=60)
        for name in ("doc-1", "doc-2"):
            record = await latest_record(bus, "default", name)
            assert record is not None
            assert record.status != "failed"
        assert await _messages(bus, DOCUMENTS.name) == 4
        assert await _messages(bus, DEADLETTERS.name) == 0
        stopping.set()
        await running
    await store.close()
