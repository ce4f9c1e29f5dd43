"""`python -m billow.services.ocr`: settings -> composition -> handlers."""

import contextlib
import sys

from billow.bus.connection import Bus
from billow.bus.consume import run_consumers, with_runs
from billow.bus.guard import guarding
from billow.bus.images import ImageStore
from billow.bus.inference import InferenceClient
from billow.bus.lane import submitted_lane
from billow.bus.provision import provision
from billow.bus.topology import OCR, OCR_RUNS
from billow.runtime.process import Lifecycle, run_service
from billow.schemas.events import Recognized
from billow.services.ocr.handlers import OcrHandler
from billow.services.ocr.reading import Reader
from billow.services.ocr.settings import OcrSettings


async def serve(settings: OcrSettings, lifecycle: Lifecycle) -> None:
    """Connect, read documents until told to stop, drain."""
    async with await Bus.connect(
        settings.nats_url, name="ocr", domain=settings.nats_domain or None, timeout=settings.connect_timeout
    ) as bus:
        await provision(bus, replicas=settings.replicas)
        inference = InferenceClient(bus, wait=settings.inference_wait, retry_delay=settings.inference_retry_delay)
        with contextlib.closing(Reader(inference, settings)) as reader:
            async with inference, guarding(bus, OCR, Recognized, inference) as guard:
                images = ImageStore(bus.client, bus.domain)
                handler = OcrHandler(bus, images, reader, guard, max_bytes=settings.max_bytes)
                consumers = with_runs(
                    bus,
                    (OCR, OCR_RUNS),
                    handler.on_submitted,
                    concurrency=(settings.ocr_concurrency, settings.ocr_run_concurrency),
                    lookahead=settings.ocr_lookahead,
                    lane_of=submitted_lane,
                )
                await run_consumers(consumers, lifecycle)


def main() -> int:
    """Run the service until it is told to stop; returns the exit code."""
    return run_service("ocr", OcrSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
