# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Workers that come and go, on a real server."""

import asyncio
import json
import tempfile

import msgspec
import nats.js.errors
import pytest
from nats.js.kv import KeyValue

from billow.bus import presence
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.presence import Announcer, present_workers, queue_depth
from billow.bus.provision import ensure_consumer, provision
from billow.bus.topology import inference_consumer
from billow.schemas.presence import ModelPresence
from billow.testkit.consuming import until
from billow.testkit.events import MOMENT

HERE = ModelPresence(
    model="fake_1-0-0",
    worker="w1",
    task="text-detection",
    version="1.0.0",
    device="cpu",
    host="here",
    started_at=MOMENT,
)


async def test_a_worker_is_listed_while_it_is_there(bus: Bus) -> None:
    assert await present_workers(bus) == []
    announcer = Announcer(bus, lambda: HERE)
    await announcer.start()
    assert await present_workers(bus) == [HERE]
    await announcer.stop()
    assert await present_workers(bus) == []


async def test_a_worker_is_listed_though_its_announcement_is_late(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    announcer = Announcer(bus, lambda: HERE)
    await announcer.start()
    keys, looks = KeyValue.keys, 0

    async def overtaken(self: KeyValue) -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise nats.js.errors.NoKeysError
        return await keys(self)

    monkeypatch.setattr(KeyValue, "keys", overtaken)
    assert await present_workers(bus) == [HERE]
    assert looks == 2
    await announcer.stop()


async def test_each_worker_of_a_model_is_listed_with_its_latest_state(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "ANNOUNCE_SECONDS", 0.05)
    done = 0

    def describe() -> ModelPresence:
        return msgspec.structs.replace(HERE, requests=done)

    one = Announcer(bus, describe)
    two = Announcer(bus, lambda: msgspec.structs.replace(HERE, worker="w2"))
    await one.start()
    await two.start()
    done = 7
    async with asyncio.timeout(60):
        while [worker.requests for worker in await present_workers(bus)] != [7, 0]:
            await asyncio.sleep(0.02)
    await one.stop()
    assert [worker.worker for worker in await present_workers(bus)] == ["w2"]
    await two.stop()


async def test_stock_nats_tools_find_it(bus: Bus) -> None:
    announcer = Announcer(bus, lambda: HERE)
    await announcer.start()
    info = json.loads((await bus.client.request("$SRV.INFO.fake_1-0-0", timeout=60)).data)
    assert (info["name"], info["version"], info["metadata"]["device"]) == ("fake_1-0-0", "1.0.0", "cpu")
    await announcer.stop()


async def test_the_announcement_reaches_a_hub_with_a_domain() -> None:
    with tempfile.TemporaryDirectory() as store:
        async with (
            await EmbeddedServer.start(store, domain="hub") as server,
            await Bus.connect(server.url, name="test", domain="hub") as bus,
        ):
            await provision(bus)
            announcer = Announcer(bus, lambda: HERE)
            await announcer.start()
            assert await present_workers(bus) == [HERE]
            await announcer.stop()
            assert await present_workers(bus) == []


async def test_the_queue_counts_what_waits_on_both_lanes(bus: Bus) -> None:
    assert await queue_depth(bus, "text-detection", "fake_1-0-0") == 0
    for lane in ("interactive", "bulk"):
        await ensure_consumer(bus, inference_consumer("text-detection", "fake_1-0-0", lane))
        await bus.js.publish(f"inference.text-detection.fake_1-0-0.{lane}.default", b"x")

    async def both_wait() -> bool:
        # What was stored just now may not be counted as pending yet.
        return await queue_depth(bus, "text-detection", "fake_1-0-0") == 2

    await until(both_wait)
