# pyright: reportUnknownMemberType=false
"""Publishing events, so that a fact is stated once however often it is said."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar, cast

import nats.js.errors

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import BusyError, translated
from billow.bus.topology import DOCUMENTS
from billow.runtime import trace
from billow.runtime.errors import TransientError
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
        PermanentError: the server refuses.
    """
    fields = {**extra, trace.HEADER: trace.child(), headers.EXPECTED_STREAM: stream}
    if message_id:
        fields[headers.MSG_ID] = message_id
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
    with translated(f"reading {subject}"):
        try:
            message = await bus.js.get_last_msg(DOCUMENTS.name, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
    fields = cast("dict[str, str]", message.headers or {})
    return codec.decode(message.data or b"", type_, fields.get(headers.CONTENT_TYPE))


async def already_stated(bus: Bus, type_: type[Event], tenant: str, document_id: str, revision: int) -> bool:
    """Whether the outcome of a redelivered message is known already, also after the duplicate window.

    Raises:
        TransientError: NATS does not answer.
    """
    try:
        event = await latest_event(bus, type_, tenant, document_id)
    except codec.CodecError:
        return False
    return event is not None and event.revision >= revision
