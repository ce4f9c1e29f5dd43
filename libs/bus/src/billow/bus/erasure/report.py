"""What an erasure removed, kept in the key-value bucket `ERASURES` for whoever asked for it and for an auditor.

Key `<tenant>.<sequence of the event>`. It says nothing of content.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from billow.bus import buckets
from billow.bus.connection import Bus
from billow.bus.topology import ERASURES
from billow.schemas import codec
from billow.schemas.events import Erased, Instant

_LOOK_SECONDS = 0.2


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken out of one place."""

    place: str
    count: int = 0
    """Messages, objects or rows."""
    bytes: int | None = None
    """About; None where nobody counts them."""
    note: str = ""

    def __add__(self, other: "Removed") -> "Removed":
        sizes = [size for size in (self.bytes, other.bytes) if size is not None]
        return Removed(
            place=self.place,
            count=self.count + other.count,
            bytes=sum(sizes) if sizes else None,
            note=other.note or self.note,
        )


class ErasureReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="erasure.report.v1"):
    """How far an erasure is. `done`: everything was looked through once; a later look takes what came late."""

    tenant: str
    document_id: str
    """Of a tenant's erasure its name."""
    scope: Literal["document", "tenant"]
    before: Instant | None = None
    sequence: int
    """Place of the `erased` event in `DOCUMENTS`; 0 of a dry run."""
    reason: str = ""
    state: Literal["working", "done"] = "working"
    removed: tuple[Removed, ...] = ()
    """In the order of work; of what was found late, added up."""
    updated_at: Instant

    def with_removed(self, removed: tuple[Removed, ...], state: Literal["working", "done"]) -> "ErasureReport":
        """This report after further work; what is removed adds up by place."""
        places = {each.place: each for each in self.removed}
        for each in removed:
            places[each.place] = places[each.place] + each if each.place in places else each
        return msgspec.structs.replace(self, removed=tuple(places.values()), state=state, updated_at=datetime.now(UTC))


def new_report(event: Erased, sequence: int) -> ErasureReport:
    """Nothing is removed yet."""
    return ErasureReport(
        tenant=event.tenant,
        document_id=event.document_id,
        scope=event.scope,
        before=event.before,
        sequence=sequence,
        reason=event.reason,
        updated_at=datetime.now(UTC),
    )


async def keep_report(bus: Bus, report: ErasureReport) -> None:
    """Store it in place of the one before.

    Raises:
        TransientError: the server did not answer.
    """
    await buckets.open_bucket(bus, ERASURES)
    await buckets.put(bus, ERASURES.name, f"{report.tenant}.{report.sequence}", codec.encode(report))


async def find_report(bus: Bus, tenant: str, sequence: int) -> ErasureReport | None:
    """The report of an erasure; None before it has begun, or where nobody can read it.

    Raises:
        TransientError: the server did not answer.
    """
    entry = await buckets.last(bus, ERASURES.name, f"{tenant}.{sequence}")
    if entry is None or entry.value is None:
        return None
    try:
        return codec.decode(entry.value, ErasureReport, codec.JSON)
    except codec.CodecError:
        return None


async def wait_for_report(
    bus: Bus,
    tenant: str,
    sequence: int,
    timeout: float,
    on_progress: Callable[[ErasureReport], None] | None = None,
) -> ErasureReport | None:
    """The report once it is done; the last one seen, or None, after `timeout` seconds without any progress.

    Raises:
        TransientError: the server did not answer.
    """
    seen: ErasureReport | None = None
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while loop.time() < until:
        report = await find_report(bus, tenant, sequence)
        if report is not None and report != seen:
            seen, until = report, loop.time() + timeout
            if on_progress is not None:
                on_progress(report)
            if report.state == "done":
                return report
        await asyncio.sleep(_LOOK_SECONDS)
    return seen
