"""What a handler gets: one message, and how to speak of it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from nats.aio.msg import Msg

from billow.bus import headers
from billow.runtime.errors import PermanentError
from billow.schemas import codec
from billow.schemas.events import Event

E = TypeVar("E", bound=Event)

_RUN_TOKENS = 5
_DOTS = 8
"""in an acknowledgement's subject, `$JS.ACK.<stream>.<consumer>.<deliveries>...`; with a domain there are more"""


class Delivery:
    """One message in a handler's hands."""

    __slots__ = ("_message", "charged", "deliveries")

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.deliveries = _deliveries(message)
        """1 the first time."""
        self.charged: float | None = None
        """ms of models that the tenant is charged with; None charges the time that the handler took."""

    @property
    def subject(self) -> str:
        """Subject that the message was published on."""
        return self._message.subject

    @property
    def sequence(self) -> int:
        """In the stream: a later event has a higher one."""
        return self._message.metadata.sequence.stream

    @property
    def data(self) -> bytes:
        """The payload as it came."""
        return self._message.data

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as they came."""
        return self._message.headers or {}

    def charge(self, ms: float) -> None:
        """So many ms of models went into this; what is charged several times adds up.

        Turns between tenants go by it. A handler that never says so is charged with the time it took, waits included.
        """
        self.charged = (self.charged or 0.0) + ms

    def event(self, type_: type[E]) -> E:
        """Decode the payload and check that it is about the tenant, document and run of its subject.

        Raises:
            PermanentError: it is not; code `undecodable_event` or `misaddressed_event`.
        """
        message = self._message
        try:
            event = codec.decode(message.data, type_, (message.headers or {}).get(headers.CONTENT_TYPE))
        except codec.CodecError as e:
            raise PermanentError(
                f"The event on {self.subject} cannot be read: {e}. Publish it again as the schema says.",
                code="undecodable_event",
            ) from e
        place = place_of(message.subject)
        if (event.tenant, event.run_id, event.document_id) != (place.tenant, place.run_id, place.document_id):
            run = "" if event.run_id is None else f" of run {event.run_id!r}"
            raise PermanentError(
                f"The event says tenant {event.tenant!r} and document {event.document_id!r}{run}, its subject "
                f"{self.subject} says otherwise. Publish it under the subject of its document.",
                code="misaddressed_event",
            )
        return event


class Place(NamedTuple):
    """What the subject of an event says."""

    tenant: str
    run_id: str | None
    event: str
    document_id: str


def place_of(subject: str) -> Place:
    """Read `documents.<tenant>.<event>.<document_id>` or `runs.<tenant>.<run_id>.<event>.<document_id>`.

    Of another subject the tenant comes second and the last token stands for the document.
    """
    tokens = subject.split(".")
    if tokens[0] == "runs" and len(tokens) == _RUN_TOKENS:
        return Place(*tokens[1:])
    return Place(tokens[1], None, tokens[-2], tokens[-1])


Handler = Callable[[Delivery], Awaitable[None]]
"""Returns when the effect is stored. TransientError: wait and come again. PermanentError: dead letter."""


def _deliveries(message: Msg) -> int:
    # The client's metadata would parse the rest too, and make a date of its time stamp, for each message.
    reply = message.reply
    return int(reply.split(".", 5)[4] if reply.count(".") == _DOTS else reply.split(".", 7)[6])
