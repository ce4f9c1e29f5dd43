"""A machine whose clock is wrong, on a real server."""

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta

import pytest

from billow.bus import clock as module
from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.bus.topology import OCR
from billow.runtime.errors import TransientError

AN_HOUR = timedelta(hours=1)
NEARLY = timedelta(seconds=20)


def wrong(offset: timedelta) -> datetime:
    return datetime.now(UTC) + offset


@pytest.mark.parametrize("offset", [AN_HOUR, -AN_HOUR])
async def test_a_wrong_clock_is_set_right_by_the_server(bus: Bus, offset: timedelta) -> None:
    clock = ServerClock(bus, OCR, local=lambda: wrong(offset))
    assert not clock.aligned
    assert abs(clock.now() - wrong(offset)) < NEARLY
    await clock.start()
    assert clock.aligned
    assert abs(clock.now() - datetime.now(UTC)) < NEARLY
    clock.stop()


async def test_a_clock_that_is_set_meanwhile_changes_nothing(bus: Bus) -> None:
    offset = timedelta()
    clock = ServerClock(bus, OCR, local=lambda: wrong(offset))
    await clock.align()
    before = clock.now()
    offset = AN_HOUR
    assert timedelta() <= clock.now() - before < NEARLY


async def test_without_an_answer_it_goes_on_by_itself_until_there_is_one(
    embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIGN_SECONDS", 0.05)
    async with await Bus.connect(embedded_server.url, name="test") as bus:
        clock = ServerClock(bus, OCR, local=lambda: wrong(AN_HOUR))
        await clock.start()
        with pytest.raises(TransientError, match="time"):
            await clock.align()
        assert not clock.aligned
        await provision(bus)
        async with asyncio.timeout(30):
            while not clock.aligned:
                await asyncio.sleep(0.01)
        assert abs(clock.now() - datetime.now(UTC)) < NEARLY
        clock.stop()


async def test_it_reaches_a_hub_with_a_domain() -> None:
    with tempfile.TemporaryDirectory() as store:
        async with (
            await EmbeddedServer.start(store, domain="hub") as server,
            await Bus.connect(server.url, name="test", domain="hub") as bus,
        ):
            await provision(bus)
            clock = ServerClock(bus, OCR, local=lambda: wrong(AN_HOUR))
            await clock.align()
            assert abs(clock.now() - datetime.now(UTC)) < NEARLY
