# pyright: reportUnknownMemberType=false
"""Events of the past put under a run, many at a time, each at most once however often it is tried."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.js import api

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.history import Stored
from billow.bus.publish import publish
from billow.bus.topology import RUNS
from billow.runtime import trace
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import event_id
from billow.schemas.replay import ReplaySpec

log = structlog.get_logger()

_ACK_SECONDS = 5.0
_WRONG_LAST_SEQUENCE = {10071, 10164}
EXPECTED_LAST = api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value
"""Header: the sequence of the last message on the subject, else the server refuses; 0 for none."""
_NONE_YET = "0"

_Became = Literal["new", "known", "other"]
_Parts = dict[str, msgspec.Raw]
_read_json = msgspec.json.Decoder(_Parts)
_read_msgpack = msgspec.msgpack.Decoder(_Parts)


class Outgoing(NamedTuple):
    """An event as it goes out; its headers say what must not be there yet."""

    subject: str
    data: bytes
    fields: dict[str, str]


class Sent(NamedTuple):
    """What became of a portion."""

    stored: int = 0
    known: int = 0
    """They lay there already."""
    refused: tuple[str, ...] = ()
    """Subjects of those that the server will never take."""
    others: tuple[str, ...] = ()
    """Of `known` the subjects on which what was expected is not the last: something else may have come in between."""


def under_run(stored: Stored, spec: ReplaySpec) -> Outgoing:
    """The event, as one of the run: bulk, without deadline, with the models that are asked for; the rest stays.

    Only what changes is decoded.

    Raises:
        CodecError: the event cannot be read.
    """
    _, tenant, name, document_id = stored.subject.split(".")
    kind = codec.content_type_of(stored.data, stored.fields.get(headers.CONTENT_TYPE))
    read, module = (_read_json, msgspec.json) if kind == codec.JSON else (_read_msgpack, msgspec.msgpack)

    def raw(value: Any) -> msgspec.Raw:
        return msgspec.Raw(module.encode(value))

    try:
        parts = read.decode(stored.data)
        revision = module.decode(parts["revision"], type=int) if "revision" in parts else 1
        identity = event_id(name, document_id, revision, spec.run_id)
        parts |= {"event_id": raw(identity), "deadline": raw(None), "run_id": raw(spec.run_id)}
        parts["asked"] = raw(spec.models)
        if "origin" in parts:
            parts["origin"] = raw(read.decode(parts["origin"]) | {"lane": raw("bulk")})
        else:
            parts["lane"] = raw("bulk")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise codec.CodecError(f"not a valid {kind} message: {e}") from e
    fields = {
        headers.CONTENT_TYPE: kind,
        # Two tenants may have a document of the same name.
        headers.MSG_ID: f"{tenant}.{identity}",
        # Also after the duplicate window: a subject of a run holds one input.
        EXPECTED_LAST: _NONE_YET,
        headers.EXPECTED_STREAM: RUNS.name,
        trace.HEADER: trace.child(),
    }
    return Outgoing(subjects.run(tenant, spec.run_id, name, document_id), module.encode(parts), fields)


async def send(bus: Bus, events: Sequence[Outgoing]) -> Sent:
    """Publish all and await what the server says to each; the order among them does not matter.

    Raises:
        TransientError: not all are stored, as the stream is full or NATS does not answer; may be tried again.
    """
    limit = bus.client.max_payload
    fitting = [event for event in events if len(event.data) + headers.size_of(event.fields) <= limit]
    refused = [event.subject for event in events if len(event.data) + headers.size_of(event.fields) > limit]
    answers = await _publish(bus, fitting)
    stored = known = 0
    others: list[str] = []
    for event, answer in zip(fitting, answers, strict=True):
        try:
            became = await _publish_again(bus, event) if answer is None else answer
        except PermanentError as e:
            log.warning("not sent", subject=event.subject, reason=str(e))
            refused.append(event.subject)
            continue
        stored, known = stored + (became == "new"), known + (became != "new")
        others += [event.subject] if became == "other" else []
    return Sent(stored, known, tuple(refused), tuple(others))


async def _publish(bus: Bus, events: Sequence[Outgoing]) -> list[_Became | None]:
    """What became of each; None where that is not clear."""
    try:
        waiting = [await bus.js.publish_async(subject, data, headers=fields) for subject, data, fields in events]
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as e:
        log.debug("cannot publish in one go", reason=repr(e))
        return [None] * len(events)
    if waiting:
        await asyncio.wait(waiting, timeout=_ACK_SECONDS)
    return [_answer(future) for future in waiting]


def _answer(future: "asyncio.Future[api.PubAck]") -> _Became | None:
    if not future.done():
        future.cancel()
        return None
    if future.cancelled():
        return None
    error = future.exception()
    if error is None:
        return "known" if future.result().duplicate else "new"
    if isinstance(error, nats.js.errors.APIError) and error.err_code in _WRONG_LAST_SEQUENCE:
        return "other"
    return None


async def _publish_again(bus: Bus, event: Outgoing) -> _Became:
    """As `_publish`, one by itself and tried several times."""
    fields = {key: value for key, value in event.fields.items() if key != headers.MSG_ID}
    try:
        identity, stream = event.fields[headers.MSG_ID], event.fields[headers.EXPECTED_STREAM]
        await publish(bus, event.subject, event.data, message_id=identity, stream=stream, extra=fields)
    except (PermanentError, TransientError) as e:
        if isinstance(e.__cause__, nats.js.errors.APIError) and e.__cause__.err_code in _WRONG_LAST_SEQUENCE:
            return "other"
        raise
    return "new"
