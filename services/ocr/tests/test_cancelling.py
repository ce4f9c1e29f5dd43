# pyright: reportUnknownMemberType=false
"""A document that is cancelled before it is read, or meanwhile: the OCR service on a real server, with no worker."""

import asyncio
from collections.abc import AsyncIterator

import cv2
import numpy as np
import pytest_asyncio

from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.guard import guarding
from billow.bus.images import ImageStore
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import DEADLETTERS, INFERENCE, OCR
from billow.schemas.events import Recognized
from billow.services.ocr.handlers import OcrHandler
from billow.services.ocr.reading import Reader
from billow.services.ocr.settings import OcrSettings
from billow.testkit.consuming import settled, until
from billow.testkit.events import make_cancelled, make_submitted
from billow.testkit.plugin import NatsServer

PHOTO = cv2.imencode(".png", np.full((90, 160, 3), 255, np.uint8))[1].tobytes()


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """With the service behind it, which has all the time of the world to wait for a model."""
    settings = OcrSettings()
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        inference = InferenceClient(bus, wait=600)
        images = ImageStore(bus.client)
        await images.put("default", "doc-1/original", PHOTO)
        async with guarding(bus, OCR, Recognized, inference) as guard:
            handler = OcrHandler(bus, images, Reader(inference, settings), guard, max_bytes=settings.max_bytes)
            consumer = EventConsumer(bus, OCR, handler.on_submitted, concurrency=1)
            await consumer.start()
            stopping = asyncio.Event()
            running = asyncio.create_task(consumer.run(stopping))
            yield bus
            stopping.set()
            await running


async def asked(bus: Bus) -> int:
    """How many requests to models were ever sent."""
    return (await bus.js.stream_info(INFERENCE.name)).state.last_seq


async def nothing_waits(bus: Bus) -> bool:
    return (await bus.js.stream_info(INFERENCE.name)).state.messages == 0


async def nothing_came_of_it(bus: Bus) -> None:
    assert await latest_event(bus, Recognized, "default", "doc-1") is None
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.messages == 0


async def test_a_document_cancelled_before_it_is_read_asks_no_model(bus: Bus) -> None:
    await publish_event(bus, make_cancelled("doc-1"))
    await publish_event(bus, make_submitted("doc-1"))
    await until(lambda: settled(bus), timeout=60)
    assert await asked(bus) == 0
    await nothing_came_of_it(bus)


async def test_a_document_cancelled_while_a_model_is_asked_frees_its_slot(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))

    async def waiting() -> bool:
        return await asked(bus) > 0

    await until(waiting)
    assert not await settled(bus)
    cancelled = make_cancelled("doc-1")
    await publish_event(bus, cancelled)
    await announce(bus, cancelled)
    await until(lambda: settled(bus), timeout=60)
    await nothing_came_of_it(bus)
    # The absent model will not find it either, when it comes.
    await until(lambda: nothing_waits(bus))
