"""Consumes: `submitted`. Publishes: `recognized`.

Idempotent by: the event id; on redelivery an outcome that was stated before is not worked out again, and answers of
models are found in `RESULTS`.
On failure: an unreadable document becomes a dead letter, which the receipt service turns into a failed record.
"""

from datetime import UTC, datetime

import structlog

from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.images import ImageStore
from billow.bus.publish import already_stated, publish_event
from billow.runtime.errors import PermanentError
from billow.runtime.timing import Stopwatch
from billow.schemas.events import Origin, Recognized, Submitted, event_id
from billow.services.ocr.errors import too_late
from billow.services.ocr.reading import Reader

log = structlog.get_logger()


class OcrHandler:
    """Turns submitted documents into recognized ones."""

    def __init__(self, bus: Bus, images: ImageStore, reader: Reader, *, max_bytes: int) -> None:
        self._bus = bus
        self._images = images
        self._reader = reader
        self._max_bytes = max_bytes

    async def on_submitted(self, delivery: Delivery) -> None:
        """Read the document. Raises PermanentError for one that cannot be read, TransientError to wait."""
        event = delivery.event(Submitted)
        again = delivery.deliveries > 1
        if again and await already_stated(self._bus, Recognized, event):
            return
        now = datetime.now(UTC)
        if event.deadline is not None and event.deadline <= now:
            raise too_late(event.deadline)
        if again:
            await self._reader.still_waiting(event)
        clock = Stopwatch()
        clock.add("queue", max(0.0, (now - event.occurred_at).total_seconds() * 1000))
        with clock.stage("ocr"):
            with clock.stage("fetch"):
                data = await self._fetch(event)
            reading = await self._reader.read(event, data, clock, again=again)
        await publish_event(
            self._bus,
            Recognized(
                tenant=event.tenant,
                document_id=event.document_id,
                event_id=event_id("recognized", event.document_id, event.revision, event.run_id),
                occurred_at=datetime.now(UTC),
                revision=event.revision,
                deadline=event.deadline,
                run_id=event.run_id,
                origin=Origin(source=event.source, submitted_at=event.occurred_at, lane=event.lane),
                pages=reading.pages,
                lines=reading.lines,
                kind=event.kind,
                language=event.language,
                models=reading.models,
                timings_ms=clock.ms,
            ),
        )
        log.info("recognized", document=event.document_id, lines=len(reading.lines), ms=clock.ms["ocr"])

    async def _fetch(self, event: Submitted) -> bytes:
        try:
            return await self._images.get(
                event.tenant, event.image.key, sha256=event.image.sha256, max_bytes=self._max_bytes
            )
        except PermanentError as e:
            if e.code == "image_too_large":
                raise PermanentError(str(e), code="file_too_large") from e
            raise
