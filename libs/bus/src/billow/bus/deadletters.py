"""Where messages go that cannot be processed: whole, with the reason, before they are taken off their stream."""

import traceback

import msgspec
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.publish import publish
from billow.bus.topology import DEADLETTERS
from billow.schemas import subjects
from billow.schemas.record import Failure
from billow.schemas.tokens import is_token

_ROOM = 256
"""bytes for the headers that every message gets when it is published"""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a dead letter say."""

    tenant: str
    event: str
    document_id: str
    """Last token of the subject of the message that died; for inference work that is the tenant."""
    failure: Failure


async def bury(
    bus: Bus, message: Msg, failure: Failure, *, event: str, tenant: str, error: BaseException | None
) -> None:
    """Copy a message to `DEADLETTERS` and await that it is stored. Burying it twice keeps one copy.

    It is whole, but for a payload so large that the reason would not fit beside it.

    Raises:
        TransientError: the copy is not safe yet; do not terminate the message.
    """
    meta = message.metadata
    sequence = f"{meta.stream}:{meta.sequence.stream}"
    extra = {
        **_kept(message),
        headers.DEAD_SUBJECT: message.subject,
        headers.DEAD_CODE: failure.code,
        headers.DEAD_MESSAGE: headers.one_line(failure.message),
        headers.DEAD_RETRYABLE: "true" if failure.retryable else "false",
        headers.DEAD_STAGE: failure.stage,
        headers.DEAD_DELIVERIES: str(meta.num_delivered),
        headers.DEAD_SEQUENCE: sequence,
    }
    if error is not None:
        extra[headers.DEAD_TRACEBACK] = headers.one_line("".join(traceback.format_exception(error)))
    data = message.data
    room = bus.client.max_payload - _ROOM
    if len(data) + headers.size_of(extra) > room:
        extra.pop(headers.DEAD_TRACEBACK, None)
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


def read_dead_letter(subject: str, fields: dict[str, str]) -> DeadLetter:
    """Understand the headers of a message on `DEADLETTERS`, also of one that somebody else put there."""
    _, tenant, service, event = subject.split(".")
    return DeadLetter(
        tenant=tenant,
        event=event,
        document_id=fields.get(headers.DEAD_SUBJECT, "").rpartition(".")[2],
        failure=Failure(
            code=fields.get(headers.DEAD_CODE, "unknown"),
            message=fields.get(headers.DEAD_MESSAGE, "The message was put among the dead letters without a reason."),
            retryable=fields.get(headers.DEAD_RETRYABLE) == "true",
            stage=fields.get(headers.DEAD_STAGE, service),
        ),
    )
