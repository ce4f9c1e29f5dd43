"""Consumes: `analyzed`, `cancelled`, `promoted`, dead letters of document events. Publishes: `completed`, `failed`.

What belongs to a replay stays under its run and never touches the database, until it is promoted.
Idempotent by: the unique key of the database (tenant, document, revision, run) and the event id.
On failure: a record that cannot be built becomes a dead letter, which comes back here as a failed record; while the
database is away everything waits.
"""

from datetime import UTC, datetime
from typing import cast

import msgspec
import structlog

from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.deadletters import DeadLetter, read_dead_letter
from billow.bus.headers import CONTENT_TYPE
from billow.bus.publish import already_stated, find_event, publish_event
from billow.runtime.errors import PermanentError
from billow.runtime.timing import Stopwatch
from billow.schemas import codec
from billow.schemas.events import (
    EVENT_NAMES,
    Analyzed,
    Cancelled,
    Completed,
    DocumentEvent,
    Event,
    Failed,
    Promoted,
    Submitted,
    event_id,
)
from billow.schemas.record import Record
from billow.schemas.tokens import is_token
from billow.services.receipt.domain import build_record, cancelled_record, failed_record
from billow.services.receipt.metrics import observe_record
from billow.services.receipt.store import Store

log = structlog.get_logger()

ENGINE_STAGES = ("text-detection", "text-recognition", "token-classification")


class ReceiptHandler:
    """Turns analyzed documents, and those that failed, into stored records."""

    def __init__(self, bus: Bus, store: Store, *, min_confidence: float) -> None:
        self._bus = bus
        self._store = store
        self._min_confidence = min_confidence

    async def on_analyzed(self, delivery: Delivery) -> None:
        """Build, store, publish. Raises TransientError while the database or the bus is away."""
        event = delivery.event(Analyzed)
        if event.run_id is not None and delivery.deliveries > 1 and await already_stated(self._bus, Completed, event):
            return
        clock = Stopwatch()
        with clock.stage("receipt"):
            record = build_record(event, min_confidence=self._min_confidence)
        engines = sum(event.timings_ms.get(stage, 0.0) for stage in ENGINE_STAGES)
        clock.add("engines", engines)
        if event.run_id is None:
            total = (datetime.now(UTC) - event.origin.submitted_at).total_seconds() * 1000
            clock.add("total", max(0.0, total))
        await self._keep(msgspec.structs.replace(record, timings_ms=record.timings_ms | clock.ms))

    async def on_dead_letter(self, delivery: Delivery) -> None:
        """Fail the document of an event that nobody could process. Raises TransientError while the database is away."""
        letter = read_dead_letter(delivery.subject, dict(delivery.headers))
        if not all(map(is_token, (letter.tenant, letter.document_id, letter.run_id or "none"))):
            log.warning("dead letter without a document we could name", subject=delivery.subject)
            return
        event = _read(delivery, letter)
        await self._keep(failed_record(event, letter.failure))

    async def on_cancelled(self, delivery: Delivery) -> None:
        """Keep the document as cancelled, unless it ended before. Raises TransientError while database or bus is away.

        One that nobody handed in is kept too: whoever hears of it early drops it when it comes, and so it has a record.
        """
        event = delivery.event(Cancelled)
        # Who cancels need not say it twice: here the workers hear it too, again if they did.
        await announce(self._bus, event)
        submitted = await find_event(
            self._bus, Submitted, event.tenant, event.document_id, event.revision, event.run_id
        )
        await self._keep(cancelled_record(event, submitted))

    async def on_promoted(self, delivery: Delivery) -> None:
        """Make another record the official one. Raises TransientError while database or bus is away.

        Idempotent, and right in any order: of several promotions the last in the stream stays. What is stored is
        stated again each time, so the last statement is about it too.
        """
        event = delivery.event(Promoted)
        if event.run_id is not None or not _is_about(event.record, event):
            raise PermanentError(
                f"The promotion {event.promotion} carries a record of another document, revision or run. Promote with "
                "`billow replay promote`.",
                code="misaddressed_event",
            )
        try:
            stored = await self._store.save(event.record, promoted_sequence=delivery.sequence)
        except ValueError as e:
            raise PermanentError(
                f"The record of promotion {event.promotion} holds what is no date or no number: {e}. Promote with "
                "`billow replay promote`.",
                code="invalid_record",
            ) from e
        await self._state(stored, promotion=event.promotion)

    async def _keep(self, record: Record) -> None:
        if record.run_id is None:
            # What the database says is what is published: after a redelivery the first timings, and the first outcome
            # of a document that was cancelled as well.
            record = await self._store.save(record)
        await self._state(record)

    async def _state(self, record: Record, *, promotion: str | None = None) -> None:
        type_ = Completed if record.status == "completed" else Failed
        name = event_id(EVENT_NAMES[type_], record.document_id, record.revision, record.run_id)
        await publish_event(
            self._bus,
            type_(
                tenant=record.tenant,
                document_id=record.document_id,
                event_id=name if promotion is None else f"{promotion}.{name}",
                occurred_at=datetime.now(UTC),
                revision=record.revision,
                run_id=record.run_id,
                record=record,
                promotion=promotion,
            ),
        )
        if promotion is None:
            observe_record(record)
        # A replay of everything would drown the rest.
        say = log.info if record.run_id is None else log.debug
        say(record.status, document=record.document_id, fields=len(record.fields), items=len(record.items))


def _is_about(record: Record, event: Event) -> bool:
    return (record.tenant, record.document_id, record.revision, record.run_id) == (
        event.tenant,
        event.document_id,
        event.revision,
        event.run_id,
    )


def _read(delivery: Delivery, letter: DeadLetter) -> Event:
    """The event that died; a bare one with the names of its subject where it cannot be read or names another."""
    try:
        # A union is not a `type` to the type checker, though it decodes to its members.
        event = codec.decode(delivery.data, cast("type[Event]", DocumentEvent), delivery.headers.get(CONTENT_TYPE))
    except codec.CodecError:
        event = None
    named = (letter.tenant, letter.document_id, letter.run_id)
    if event is not None and (event.tenant, event.document_id, event.run_id) == named:
        return event
    return Event(
        tenant=letter.tenant,
        document_id=letter.document_id,
        run_id=letter.run_id,
        event_id="unreadable",
        occurred_at=datetime.now(UTC),
    )
