"""Stating that something is to be erased, and doing it, place by place."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from billow.bus.connection import Bus
from billow.bus.erasure.events import erase_events, stop_work
from billow.bus.erasure.images import erase_images
from billow.bus.erasure.places import (
    erase_dead_letters,
    erase_results,
    erase_runs,
    erase_shadows,
    erase_waits,
    erase_work,
)
from billow.bus.erasure.reach import Reach, measure
from billow.bus.erasure.replays import erase_from_reports
from billow.bus.erasure.report import Removed
from billow.bus.erasure.tally import OnProgress, Tally
from billow.bus.publish import publish_event
from billow.schemas.events import Erased
from billow.schemas.tokens import check_token

RECORDS_PLACE = "records"
_LAST_SEQUENCE = 2**62
"""Above every place in a stream: in a preview nothing was submitted later."""

ForgetRecords = Callable[[Reach], Awaitable[int]]
"""Deletes the rows of a database that an erasure reaches; returns how many."""


def document_erasure(tenant: str, document_id: str, *, reason: str = "", nonce: str | None = None) -> Erased:
    """The event that erases one document, all its revisions. Raises ValueError for a bad token."""
    check_token(document_id, "document_id")
    return Erased(
        tenant=check_token(tenant, "tenant"),
        document_id=document_id,
        event_id=f"{document_id}.erased.{nonce or secrets.token_hex(6)}",
        occurred_at=datetime.now(UTC),
        reason=reason,
    )


def tenant_erasure(tenant: str, *, before: datetime | None = None, reason: str = "", name: str | None = None) -> Erased:
    """The event that erases all documents of a tenant, or those submitted `before`; the same `name` is the same one.

    Raises ValueError for a bad token.
    """
    name = check_token(name or f"erasure-{secrets.token_hex(6)}", "name of the erasure")
    return Erased(
        tenant=check_token(tenant, "tenant"),
        document_id=name,
        event_id=f"{tenant}.erased.{name}",
        occurred_at=datetime.now(UTC),
        scope="tenant",
        before=before,
        reason=reason,
    )


async def state_erasure(bus: Bus, event: Erased) -> int:
    """Say that it is to be erased; returns the place in the stream, by which `wait_for_report` knows it.

    From here on it counts, whatever stops us or the receipt service.

    Raises:
        BusyError: the stream is full; nothing was accepted.
        TransientError: no acknowledgement; saying the same event again is safe.
    """
    return await publish_event(bus, event)


async def erase(
    bus: Bus,
    event: Erased,
    sequence: int,
    stored_at: datetime,
    *,
    forget_records: ForgetRecords | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Removed, ...]:
    """Remove everything that an erasure reaches, and count it. Safe to repeat, and after a crash in the middle.

    What is left at each moment tells what there is still to do: submissions go last.

    Args:
        bus: with the rights of the hub.
        event: as it lies in the stream.
        sequence: its place there.
        stored_at: when the server stored it.
        forget_records: deletes the rows of the database.
        on_progress: told now and then of what was removed so far.

    Raises:
        TransientError: NATS or the database does not answer; repeat it.
    """
    reach = await measure(bus, event, sequence, stored_at)
    tally = Tally(bus, on_progress=on_progress)
    await stop_work(bus, event, reach)
    await _erase_reached(tally, reach, forget_records)
    return tally.removed


async def preview(bus: Bus, event: Erased) -> tuple[Removed, ...]:
    """What an erasure that is not stated yet would remove from the bus now; nothing is changed.

    Rows of the database are not counted, and neither are bytes where whole subjects would go at once.

    Raises:
        TransientError: NATS does not answer.
    """
    reach = await measure(bus, event, _LAST_SEQUENCE, datetime.now(UTC))
    tally = Tally(bus, dry=True)
    await _erase_reached(tally, reach, None)
    return tally.removed


async def _erase_reached(tally: Tally, reach: Reach, forget_records: ForgetRecords | None) -> None:
    await erase_work(tally, reach)
    await erase_images(tally, reach)
    await tally.say()
    if forget_records is not None:
        await tally.add(RECORDS_PLACE, await forget_records(reach))
    for step in (erase_runs, erase_dead_letters, erase_shadows, erase_results, erase_from_reports):
        await step(tally, reach)
        await tally.say()
    await erase_events(tally, reach)
    await erase_waits(tally, reach)
    await tally.say()
