"""Consumes: `erased`. Publishes: word to whoever works on the document now, and the report of what is gone.

Idempotent by: what is there decides what there is to do, so doing it again removes what is left.
On failure: while the database or the bus is away it waits and comes again, as often as it takes.

What other handlers are given about an erased document is dropped, and taken out wherever it came from.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import structlog

from billow.bus.connection import Bus
from billow.bus.consume import Delivery, Handler
from billow.bus.deadletters import read_dead_letter
from billow.bus.delivery import place_of
from billow.bus.erasure import Removed, erase, find_report, is_new, keep_report, new_report, stored_at, submitted_at
from billow.bus.erasure.watch import ErasureWatch, Name
from billow.bus.headers import CONTENT_TYPE
from billow.bus.topology import DEADLETTERS
from billow.runtime.errors import TransientError
from billow.schemas import codec
from billow.schemas.events import DocumentEvent, Erased, Event
from billow.schemas.tokens import is_token
from billow.services.receipt.tombstones import Tombstone, Tombstones

log = structlog.get_logger()

_SKEW = timedelta(days=1)
"""By how much a submitter's clock may be wrong; within it the stream is asked what came first."""


class Erasures:
    """Carries erasures out, and keeps what is late from bringing anything back."""

    def __init__(self, bus: Bus, tombstones: Tombstones, watch: ErasureWatch, *, again: float = 60.0) -> None:
        """`again`: seconds after which a second look takes out what was in somebody's hands at the first."""
        self._bus = bus
        self._tombstones = tombstones
        self._watch = watch
        self._again = again

    async def on_erased(self, delivery: Delivery) -> None:
        """Remove all that is kept, look once more later. Raises TransientError while database or bus is away."""
        event, sequence = delivery.event(Erased), delivery.sequence
        moment = await stored_at(self._bus, event, sequence)
        await self._tombstones.bury(event, sequence, moment)
        report = await find_report(self._bus, event.tenant, sequence)
        before = report if report is not None and report.sequence == sequence else new_report(event, sequence)
        looked_before = before.state == "done"

        async def tell(removed: tuple[Removed, ...], state: Literal["working", "done"] = "working") -> None:
            await keep_report(self._bus, before.with_removed(removed, "done" if looked_before else state))

        removed = await erase(
            self._bus,
            event,
            sequence,
            moment,
            forget_records=self._tombstones.forget_records,
            on_progress=tell,
        )
        await tell(removed, "done")
        log.info("erased", document=event.document_id, scope=event.scope, messages=sum(each.count for each in removed))
        if not looked_before:
            raise TransientError("erased; looking once more for what came late", delay=self._again)

    def guarded(self, handler: Handler) -> Handler:
        """`handler`, but for events of erased documents: these are dropped, and whatever it still makes of one."""

        async def on_event(delivery: Delivery) -> None:
            place = _place(delivery)
            if await self._is_late(delivery, place):
                return
            await handler(delivery)
            # It may have been erased while this was under way.
            await self._is_late(delivery, place)

        return on_event

    async def _is_late(self, delivery: Delivery, place: Name | None) -> bool:
        if place is None or not await self._watch.may_be_erased(*place):
            return False
        event = _read(delivery, *place)
        for tombstone in await self._tombstones.about(*place):
            if not await self._covers(tombstone, event):
                continue
            log.info("late, the document is erased", document=event.document_id, subject=delivery.subject)
            only = Erased(
                tenant=event.tenant,
                document_id=event.document_id,
                event_id="late",
                occurred_at=tombstone.erased_at,
                before=tombstone.before,
            )
            await erase(
                self._bus,
                only,
                tombstone.sequence,
                tombstone.erased_at,
                forget_records=self._tombstones.forget_records,
            )
            return True
        return False

    async def _covers(self, tombstone: Tombstone, event: Event) -> bool:
        said = submitted_at(event)
        if said is None and tombstone.before is not None:
            # Nothing tells how old the document is; its own retention will.
            return False
        if said is not None and said > (tombstone.before or tombstone.erased_at) + _SKEW:
            return False
        return not await is_new(
            self._bus, event, after=tombstone.sequence, erased_at=tombstone.erased_at, since=tombstone.before
        )


def _place(delivery: Delivery) -> Name | None:
    """Tenant and document that a message is about; None if it names none."""
    if delivery.subject.startswith(f"{DEADLETTERS.name.lower()}."):
        letter = read_dead_letter(delivery.subject, dict(delivery.headers))
        tenant, document_id = letter.tenant, letter.document_id
    else:
        place = place_of(delivery.subject)
        tenant, document_id = place.tenant, place.document_id
    return (tenant, document_id) if is_token(tenant) and is_token(document_id) else None


def _read(delivery: Delivery, tenant: str, document_id: str) -> Event:
    """The event that a message holds; a bare one where it cannot be read or is about another document."""
    try:
        # A union is not a `type` to the type checker, though it decodes to its members.
        event = codec.decode(delivery.data, cast("type[Event]", DocumentEvent), delivery.headers.get(CONTENT_TYPE))
    except codec.CodecError:
        event = None
    if event is not None and (event.tenant, event.document_id) == (tenant, document_id):
        return event
    return Event(tenant=tenant, document_id=document_id, event_id="unreadable", occurred_at=datetime.now(UTC))
