# pyright: reportUnknownMemberType=false
"""Publishing events, so that a fact is stated once however often it is said."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TypeVar, cast

import nats.js.errors
from nats.js.api import RawStreamMsg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import BusyError, translated
from billow.bus.topology import DOCUMENTS
from billow.runtime import trace
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Event

E = TypeVar("E", bound=Event)

_ATTEMPTS = 4
_ACK_SECONDS = 4.0


async def publish(
    bus: Bus, subject: str, data: bytes, *, message_id: str | None, stream: str, extra: Mapping[str, str]
) -> int:
    """Publish and await the server's word that it is stored; returns the stream sequence.

    A time-out is tried again with the same `message_id`, so the server keeps one copy.

    Raises:
        BusyError: the stream is full; nothing was accepted.
        TransientError: no acknowledgement after several attempts.
        PermanentError: the server refuses, or `message_too_large`.
    """
    fields = {**extra, trace.HEADER: trace.child(), headers.EXPECTED_STREAM: stream}
    if message_id:
        fields[headers.MSG_ID] = message_id
    size, limit = len(data) + headers.size_of(fields), bus.client.max_payload
    if size > limit:
        # The client compares the payload alone; for headers that make it too large the server would eject us.
        raise PermanentError(
            f"A message on {subject} would take {size:,} bytes, NATS carries {limit:,} at most. Send the document in "
            "parts, or raise `max_payload` of the server.",
            code="message_too_large",
        )
    for attempt in range(_ATTEMPTS):
        try:
            with translated(f"publishing {subject}"):
                ack = await bus.js.publish(subject, data, headers=fields, timeout=_ACK_SECONDS)
                return ack.seq
        except BusyError:
            raise
        except TransientError:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.25 * 2**attempt)
    raise AssertionError("unreachable")


async def publish_event(bus: Bus, event: Event) -> int:
    """State an event on `DOCUMENTS` as JSON; saying it again within the duplicate window changes nothing.

    Raises:
        BusyError: the stream is full; nothing was accepted.
        TransientError: no acknowledgement.
    """
    subject = subjects.document(event.tenant, EVENT_NAMES[type(event)], event.document_id)
    return await publish(
        bus,
        subject,
        codec.encode(event),
        message_id=event.event_id,
        stream=DOCUMENTS.name,
        extra={headers.CONTENT_TYPE: codec.JSON},
    )


async def latest_event(bus: Bus, type_: type[E], tenant: str, document_id: str) -> E | None:
    """The last event of this kind about a document, or None. One direct get.

    Raises:
        TransientError: NATS does not answer.
        CodecError: what lies there is not such an event.
    """
    subject = subjects.document(tenant, EVENT_NAMES[type_], document_id)
    message = await _get(bus, subject)
    return None if message is None else _decode(message, type_)


async def events(bus: Bus, type_: type[E], tenant: str, document_id: str) -> AsyncGenerator[E]:
    """All events of this kind about a document, the last one first and then from the oldest on, a direct get each.

    Revisions may end in any order. What cannot be read is passed over.

    Raises:
        TransientError: NATS does not answer.
    """
    subject = subjects.document(tenant, EVENT_NAMES[type_], document_id)
    message = await _get(bus, subject)
    end = (message.seq or 0) if message is not None else 0
    while message is not None:
        with contextlib.suppress(codec.CodecError):
            yield _decode(message, type_)
        after = 1 if message.seq == end else (message.seq or 0) + 1
        message = await _get(bus, subject, after=after) if after < end else None
        if message is not None and (message.seq or 0) >= end:
            return


async def find_event(
    bus: Bus, type_: type[E], tenant: str, document_id: str, revision: int, run_id: str | None = None
) -> E | None:
    """The event of this kind about one revision and run of a document, or None. Raises as `events`."""
    async with contextlib.aclosing(events(bus, type_, tenant, document_id)) as found:
        async for event in found:
            if (event.revision, event.run_id) == (revision, run_id):
                return event
    return None


async def _get(bus: Bus, subject: str, *, after: int | None = None) -> RawStreamMsg | None:
    """The last message on a subject, or the first one from the sequence `after` on."""
    with translated(f"reading {subject}"):
        try:
            if after is None:
                return await bus.js.get_last_msg(DOCUMENTS.name, subject, direct=True)
            return await bus.js.get_msg(DOCUMENTS.name, seq=after, subject=subject, next=True, direct=True)
        except nats.js.errors.NotFoundError:
            return None


def _decode(message: RawStreamMsg, type_: type[E]) -> E:
    fields = cast("dict[str, str]", message.headers or {})
    return codec.decode(message.data or b"", type_, fields.get(headers.CONTENT_TYPE))


async def already_stated(bus: Bus, type_: type[Event], event: Event) -> bool:
    """Whether the outcome of a redelivered event is known already, also after the duplicate window.

    Raises:
        TransientError: NATS does not answer.
    """
    return await find_event(bus, type_, event.tenant, event.document_id, event.revision, event.run_id) is not None
