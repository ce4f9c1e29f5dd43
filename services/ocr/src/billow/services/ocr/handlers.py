"""Consumes: `submitted`. Publishes: `recognized`. What belongs to a replay stays under its run.

Idempotent by: the event id; on redelivery an outcome that was stated before is not worked out again, and answers of
models are found in `RESULTS`.
Not worked on: a document that is cancelled, or whose deadline passed.
On failure: an unreadable document becomes a dead letter, which the receipt service turns into a failed record.
"""

from datetime import UTC, datetime
from functools import partial

import structlog

from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.guard import Guard
from billow.bus.images import ImageStore
from billow.bus.link_bytes import observe_link_bytes
from billow.bus.publish import publish_event
from billow.runtime.errors import PermanentError
from billow.runtime.timing import Stopwatch
from billow.schemas.events import Origin, Recognized, Submitted, event_id
from billow.services.ocr.reading import Reader

log = structlog.get_logger()

MODEL_STAGES = ("text-detection", "text-recognition")
"""What a document is charged for where tenants take turns."""


class OcrHandler:
    """Turns submitted documents into recognized ones."""

    def __init__(self, bus: Bus, images: ImageStore, reader: Reader, guard: Guard, *, max_bytes: int) -> None:
        self._bus = bus
        self._guard = guard
        self._images = images
        self._reader = reader
        self._max_bytes = max_bytes

    async def on_submitted(self, delivery: Delivery) -> None:
        """Read the document. Raises PermanentError for one that cannot be read, TransientError to wait."""
        clock = Stopwatch()
        work = partial(self._recognize, clock)
        try:
            await self._guard.run(delivery.event(Submitted), work, again=delivery.deliveries > 1)
        finally:
            if spent := clock.sum(MODEL_STAGES):
                delivery.charge(spent)

    async def _recognize(self, clock: Stopwatch, event: Submitted, again: bool) -> None:
        if event.run_id is None:
            clock.add("queue", max(0.0, (datetime.now(UTC) - event.occurred_at).total_seconds() * 1000))
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
                link_bytes=reading.link_bytes,
                asked=event.asked,
            ),
        )
        observe_link_bytes(reading.link_bytes)
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
