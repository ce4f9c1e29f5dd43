"""Where messages go that cannot be processed: whole, with the reason, before they are taken off their stream."""

import traceback
from collections.abc import Mapping

import msgspec
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.delivery import place_of
from billow.bus.publish import publish
from billow.bus.topology import DEADLETTERS
from billow.runtime import trace
from billow.schemas import subjects
from billow.schemas.record import Failure
from billow.schemas.tokens import is_token

_ROOM = 256
"""bytes for the headers that every message gets when it is published"""
_MOST_HEADERS = 60_000
"""bytes; the server stores no more than 64 KiB of headers with a message"""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a dead letter say."""

    tenant: str
    event: str
    document_id: str
    """Last token of the subject of the message that died; for inference work that is the tenant."""
    run_id: str | None = None
    """The replay that the message was part of."""
    failure: Failure


async def bury(
    bus: Bus,
    message: Msg,
    failure: Failure,
    *,
    event: str,
    tenant: str,
    error: BaseException | None,
    document_id: str | None = None,
) -> None:
    """Copy a message to `DEADLETTERS` and await that it is stored. Burying it twice keeps one copy.

    It is whole, but for a payload or headers so large that the reason would not fit beside them. `document_id` where
    the subject does not name the document.

    Raises:
        TransientError: the copy is not safe yet; do not terminate the message.
    """
    meta = message.metadata
    sequence = f"{meta.stream}:{meta.sequence.stream}"
    reason = {
        headers.DEAD_SUBJECT: message.subject,
        headers.DEAD_CODE: failure.code,
        headers.DEAD_MESSAGE: headers.one_line(failure.message),
        headers.DEAD_RETRYABLE: "true" if failure.retryable else "false",
        headers.DEAD_STAGE: failure.stage,
        headers.DEAD_DELIVERIES: str(meta.num_delivered),
        headers.DEAD_SEQUENCE: sequence,
    }
    if document_id is not None:
        reason[headers.DEAD_DOCUMENT] = document_id
    if error is not None:
        reason[headers.DEAD_TRACEBACK] = headers.escaped("".join(traceback.format_exception(error)))
    extra = _kept(message) | reason
    if headers.size_of(extra) > _MOST_HEADERS:
        extra = reason
    data = message.data
    room = bus.client.max_payload - _ROOM
    if len(data) + headers.size_of(extra) > room:
        extra.pop(headers.DEAD_TRACEBACK, None)
    if len(data) + headers.size_of(extra) > room:
        extra[headers.DEAD_SIZE] = str(len(data))
        data = data[: max(0, room - headers.size_of(extra))]
    await publish(
        bus,
        subjects.deadletter(_safe(tenant), failure.stage, _safe(event)),
        data,
        message_id=f"dead.{failure.stage}.{sequence}",
        stream=DEADLETTERS.name,
        extra=extra,
    )


def _kept(message: Msg) -> dict[str, str]:
    """The headers to hand on: not those that tell the server what to do, nor those that cannot be written."""
    return {
        key: value
        for key, value in (message.headers or {}).items()
        if headers.is_name(key) and not key.lower().startswith(headers.OF_NATS)
    }


def _safe(token: str) -> str:
    """Anybody may publish on a subject whose tokens we would not have made; its dead letter has a home too."""
    return token if is_token(token) else "invalid"


def original_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The headers that the message had before it died, out of those of its dead letter."""
    return {
        key: value
        for key, value in fields.items()
        if not key.lower().startswith((headers.OF_DEATH, headers.OF_NATS)) and key != trace.HEADER
    }


def read_dead_letter(subject: str, fields: dict[str, str]) -> DeadLetter:
    """Understand the headers of a message on `DEADLETTERS`, also of one that somebody else put there."""
    _, tenant, service, event = subject.split(".")
    died = fields.get(headers.DEAD_SUBJECT, "")
    return DeadLetter(
        tenant=tenant,
        event=event,
        document_id=died.rpartition(".")[2],
        run_id=place_of(died).run_id if "." in died else None,
        failure=Failure(
            code=fields.get(headers.DEAD_CODE, "unknown"),
            message=fields.get(headers.DEAD_MESSAGE, "The message was put among the dead letters without a reason."),
            retryable=fields.get(headers.DEAD_RETRYABLE) == "true",
            stage=fields.get(headers.DEAD_STAGE, service),
        ),
    )
