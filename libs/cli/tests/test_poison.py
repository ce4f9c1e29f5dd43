# pyright: reportUnknownMemberType=false
"""An event that kills the service's process ends as a dead letter after its attempts, and the others go on.

The services are real processes, started again whenever they die, as whoever supervises them does.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import letters
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.redrive import redrive
from billow.bus.topology import MAX_DELIVERIES
from billow.schemas.events import Analyzed
from billow.testkit.consuming import dead_letters, until
from billow.testkit.events import make_recognized, make_submitted
from billow.testkit.plugin import NatsServer

pytestmark = [pytest.mark.component, pytest.mark.timeout(400)]

SERVICE = """
import ctypes, os, sys
import msgspec
import billow.services.{name}.__main__ as service
from billow.services.{name} import handlers

# What a dead process held comes back at once.
service.{spec} = msgspec.structs.replace(service.{spec}, ack_wait=1)
real = handlers.{handler}.{work}

async def deadly(self, clock, event, again):
    if event.document_id == "poison":
        {death}
    await real(self, clock, event, again)

handlers.{handler}.{work} = deadly
sys.exit(service.main())
"""
OCR = SERVICE.format(name="ocr", spec="OCR", handler="OcrHandler", work="_recognize", death="os._exit(9)")
LAYOUT = SERVICE.format(
    name="layout", spec="LAYOUT", handler="LayoutHandler", work="_analyze", death="ctypes.string_at(0)"
)


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


async def supervise(code: str, url: str, log: Path) -> int:
    """Start it again whenever it ends, until this is cancelled; returns how often it died."""
    deaths = 0
    while True:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, env=os.environ | {"BILLOW_NATS_URL": url}, stdout=out, stderr=out
            )
        try:
            await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            return deaths
        deaths += 1


async def test_a_segmentation_fault_takes_one_document_and_no_other(
    bus: Bus, nats_server: NatsServer, tmp_path: Path
) -> None:
    names = ["before", "poison", "beside", "after"]
    for name in names:
        # Without words no model is asked.
        await publish_event(bus, make_recognized(name, lines=()))
    service = asyncio.create_task(supervise(LAYOUT, nats_server.url, tmp_path / "layout.log"))

    async def is_over() -> bool:
        return await dead_letters(bus) == 1

    await until(is_over, timeout=300)
    for name in names:
        analyzed = name != "poison"
        await until(lambda name=name, analyzed=analyzed: is_analyzed(bus, name, analyzed), timeout=60)
    service.cancel()
    deaths = await service
    (letter,) = [letter async for letter in letters(bus)]
    assert (letter.document_id, letter.code, letter.service) == ("poison", "too_many_deliveries", "layout")
    assert letter.deliveries >= MAX_DELIVERIES
    assert 1 <= deaths <= MAX_DELIVERIES, "each of its attempts, the trial included"
    assert (await redrive(bus, letter.sequence)).outcome == "sent", "when the cause is mended"


async def is_analyzed(bus: Bus, name: str, expected: bool) -> bool:
    return (await latest_event(bus, Analyzed, "default", name) is not None) is expected


async def test_a_process_that_ends_without_a_word_takes_one_document_and_no_other(
    bus: Bus, nats_server: NatsServer, tmp_path: Path
) -> None:
    for name in ("before", "poison", "after"):
        await publish_event(bus, make_submitted(name))
    service = asyncio.create_task(supervise(OCR, nats_server.url, tmp_path / "ocr.log"))

    async def all_ended() -> bool:
        return await dead_letters(bus) == 3

    await until(all_ended, timeout=300)
    service.cancel()
    assert await service >= 1
    codes = {letter.document_id: letter.code async for letter in letters(bus)}
    # Nobody put the photos of the others there, which is how one sees that they were looked at.
    assert codes == {"before": "image_missing", "poison": "too_many_deliveries", "after": "image_missing"}
