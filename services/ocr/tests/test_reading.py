# pyright: reportUnknownMemberType=false
"""What is noted of a document that was read: who read it, and what that cost on the link."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import cv2
import numpy as np

from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.routes import RouteBook
from billow.bus.work import WorkQueue
from billow.runtime.timing import Stopwatch
from billow.schemas.inference import Detections, InferenceResult, Recognitions, RecognizeCrops
from billow.schemas.labels import Task
from billow.schemas.routing import Route
from billow.services.ocr.reading import Reader, Reading
from billow.services.ocr.settings import OcrSettings
from billow.testkit.events import MOMENT, make_submitted
from billow.testkit.plugin import NatsServer

NOISE = np.random.default_rng(7).integers(0, 255, (200, 300, 3), np.uint8)
PHOTO = cv2.imencode(".png", NOISE)[1].tobytes()
LINE = (20.0, 30.0, 200.0, 30.0, 200.0, 60.0, 20.0, 60.0)


@contextlib.asynccontextmanager
async def serving(bus: Bus, task: Task, model: str) -> AsyncGenerator[None]:
    queue = WorkQueue(bus, task=task, model=model, max_batch=8, max_wait_ms=0)
    await queue.start()

    async def loop() -> None:
        while batch := await queue.take():
            for item in batch:
                if isinstance(item.work.payload, RecognizeCrops):
                    output = Recognitions(texts=("Total",), confidences=(0.9,))
                else:
                    output = Detections(quads=(LINE,), scores=(0.9,))
                await queue.answer(
                    item, InferenceResult(request_id=item.work.request_id, model=model, output=output, run_ms=1)
                )

    running = asyncio.create_task(loop())
    try:
        yield
    finally:
        await queue.stop()
        await running
        queue.close()


async def read(bus: Bus, client: InferenceClient) -> Reading:
    settings = OcrSettings(detection_model="det_1-0-0", recognition_model="rec_1-0-0")
    return await Reader(client, settings).read(make_submitted(), PHOTO, Stopwatch(), again=False)


async def test_the_models_that_answered_are_named_and_the_bytes_that_they_got(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        async with (
            serving(bus, "text-detection", "det_1-0-0"),
            serving(bus, "text-recognition", "rec_2-0-0"),
            InferenceClient(bus, wait=60) as client,
        ):
            book = RouteBook(bus)
            await book.put(Route(task="text-recognition", default="rec_2-0-0", changed_at=MOMENT), expected=0)
            reading = await read(bus, client)
    assert [line.text for line in reading.lines] == ["Total"]
    assert reading.models == {"text-detection": "det_1-0-0", "text-recognition": "rec_2-0-0"}
    sent = reading.link_bytes
    assert sent["original"] == len(PHOTO)
    # A small original goes to the detector as it is; the line is a tenth of its pixels.
    assert len(PHOTO) <= sent["text-detection"] < 1.1 * len(PHOTO)
    assert 0 < sent["text-recognition"] < len(PHOTO) / 2
