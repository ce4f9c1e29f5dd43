# pyright: reportUnknownMemberType=false
"""Publishing events, so that a fact is stated once however often it is said."""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TypeVar, cast

import nats.js.errors
from nats.js.api import RawStreamMsg

from billow.bus import headers
from billow.bus.acks import store
from billow.bus.connection import Bus
from billow.bus.faults import BusyError, translated
from billow.bus.history import History
from billow.bus.pressure import pressure_of
from billow.bus.replicas import first_from
from billow.bus.topology import DOCUMENTS, RUNS
from billow.runtime import trace
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Event

E = TypeVar("E", bound=Event)

PATIENCE_SECONDS = 10.0
"""How long a message is offered again while nobody acknowledges it; choosing a new leader can take seconds."""
_ACK_SECONDS = 4.0
_LAST_ACK_SECONDS = 1.0
"""What an attempt has at least, also the last one."""
_BEHIND_SECONDS = 2.0
"""How long a replica may be behind until what it does not have counts as taken out."""
_OF_SUBJECT = "per subject"
"""How the server says that other subjects of the stream may have room."""
_PAUSES = (0.1, 0.25, 0.5, 1.0)
"""seconds between two attempts; the last one repeats"""


async def publish(
    bus: Bus,
    subject: str,
    data: bytes,
    *,
    message_id: str | None,
    stream: str,
    extra: Mapping[str, str],
    patience: float = PATIENCE_SECONDS,
    bulk: bool = False,
) -> int:
    """Publish and await the server's word that it is stored; returns the stream sequence.

    While there is no answer it is offered again for `patience` seconds, with the same `message_id`, so the server keeps
    one copy. What it returns from is stored; after BusyError it is not; after any other TransientError nobody knows,
    and with the same `message_id` it is safe to try again. What is `bulk` may leave 2 ms later while much goes on.

    Raises:
        BusyError: the stream is full; nothing was accepted.
        TransientError: no acknowledgement, or no word that it was not stored.
        PermanentError: the server refuses, or `message_too_large`.
    """
    fields = {**extra, trace.HEADER: trace.child(), headers.EXPECTED_STREAM: stream}
    if message_id:
        fields[headers.MSG_ID] = message_id
    size, limit = len(data) + headers.at_most(fields), bus.client.max_payload
    if size > limit and (size := len(data) + headers.size_of(fields)) > limit:
        # The client compares the payload alone; for headers that make it too large the server would eject us.
        raise PermanentError(
            f"A message on {subject} would take {size:,} bytes, NATS carries {limit:,} at most. Send the document in "
            "parts, or raise `max_payload` of the server.",
            code="message_too_large",
        )
    pressure, end, unsure = pressure_of(bus.client), time.monotonic() + patience, False
    for attempt in itertools.count():
        timeout = min(_ACK_SECONDS, max(end - time.monotonic(), _LAST_ACK_SECONDS))
        try:
            with translated(f"publishing {subject}"):
                ack = await store(bus, subject, data, fields, timeout, patient=bulk)
        except BusyError as e:
            e.delay = pressure.refused(subject if _OF_SUBJECT in str(e) else stream)
            if unsure:
                # An attempt that nobody answered may have found room.
                raise TransientError(f"{e}; an attempt before may be stored", delay=e.delay) from e
            raise
        except TransientError as e:
            unsure = unsure or not isinstance(e.__cause__, nats.js.errors.NoStreamResponseError)
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
            if time.monotonic() + pause >= end:
                raise
            await asyncio.sleep(pause)
        else:
            pressure.accepted(stream)
            pressure.accepted(subject)
            if ack.duplicate and await _is_gone(bus, stream, ack.seq):
                # The server remembers the id of what was erased since; this is said anew.
                fields[headers.MSG_ID] = f"{message_id}.{secrets.token_hex(6)}"
                continue
            return ack.seq
    raise AssertionError("unreachable")


async def publish_event(bus: Bus, event: Event) -> int:
    """State an event as JSON; saying it again within the duplicate window changes nothing.

    One of a run goes to `RUNS`, any other to `DOCUMENTS`.

    Raises:
        BusyError: the stream is full; nothing was accepted.
        TransientError: no acknowledgement.
    """
    return await publish(
        bus,
        subjects.stated(event.tenant, event.run_id, EVENT_NAMES[type(event)], event.document_id),
        codec.encode(event),
        # The server looks for an id in the whole stream, and two tenants may use one document id.
        message_id=f"{event.tenant}.{event.event_id}",
        stream=_stream(event.run_id),
        extra={headers.CONTENT_TYPE: codec.JSON},
        bulk=event.run_id is not None,
    )


async def latest_event(bus: Bus, type_: type[E], tenant: str, document_id: str) -> E | None:
    """The last event of this kind about a document, or None. One direct get.

    Raises:
        TransientError: NATS does not answer.
        CodecError: what lies there is not such an event.
    """
    subject = subjects.document(tenant, EVENT_NAMES[type_], document_id)
    message = await _get(bus, DOCUMENTS.name, subject)
    return None if message is None else _decode(message, type_)


async def events(
    bus: Bus, type_: type[E], tenant: str, document_id: str, run_id: str | None = None
) -> AsyncGenerator[E]:
    """All events of this kind about a document, the last one first and then from the oldest on, a direct get each.

    Those of a run lie apart. Revisions may end in any order. What cannot be read is passed over.

    Raises:
        TransientError: NATS does not answer.
    """
    subject, stream = subjects.stated(tenant, run_id, EVENT_NAMES[type_], document_id), _stream(run_id)
    message = await _get(bus, stream, subject)
    end = (message.seq or 0) if message is not None else 0
    while message is not None:
        with contextlib.suppress(codec.CodecError):
            yield _decode(message, type_)
        after = 1 if message.seq == end else (message.seq or 0) + 1
        message = await _get(bus, stream, subject, after=after) if after < end else None
        if message is not None and (message.seq or 0) >= end:
            return


async def find_event(
    bus: Bus, type_: type[E], tenant: str, document_id: str, revision: int, run_id: str | None = None
) -> E | None:
    """The event of this kind about one revision and run of a document, or None. Raises as `events`."""
    async with contextlib.aclosing(events(bus, type_, tenant, document_id, run_id)) as found:
        async for event in found:
            if (event.revision, event.run_id) == (revision, run_id):
                return event
    return None


async def _is_gone(bus: Bus, stream: str, sequence: int) -> bool:
    """Whether a message that was stored has been taken out; work that was done is, so of a work queue nobody asks."""
    if stream not in (DOCUMENTS.name, RUNS.name):
        return False
    return await first_from(History(bus, stream), sequence, patience=_BEHIND_SECONDS) != sequence


def _stream(run_id: str | None) -> str:
    return DOCUMENTS.name if run_id is None else RUNS.name


async def _get(bus: Bus, stream: str, subject: str, *, after: int | None = None) -> RawStreamMsg | None:
    """The last message on a subject, or the first one from the sequence `after` on."""
    with translated(f"reading {subject}"):
        try:
            if after is None:
                return await bus.js.get_last_msg(stream, subject, direct=True)
            return await bus.js.get_msg(stream, seq=after, subject=subject, next=True, direct=True)
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
