# pyright: reportUnknownMemberType=false
"""Who works on a document hears at once that nobody wants it any more.

The event `cancelled` lies in the stream and is what counts. The same event on the core subject
`cancelled.<tenant>.<document_id>` is only quick: who misses it does work for nothing, and the stored record stays
cancelled all the same.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.publish import find_event, publish_event
from billow.schemas import codec, subjects
from billow.schemas.events import Cancelled, Erased, Event, event_id

log = structlog.get_logger()

_ALL = "cancelled.*.*"
_REMEMBERED = 100_000
_MEMORY = timedelta(hours=1)
_SKEW = timedelta(seconds=5)
"""Clocks of two machines differ; within this we do not trust that we would have heard."""

Key = tuple[str, str, int, str | None]


def utc_now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(UTC)


async def announce(bus: Bus, event: Cancelled) -> None:
    """Tell all who listen now; nobody keeps it. State the event on the stream first.

    Raises:
        TransientError: NATS does not answer.
    """
    subject = subjects.cancelled(event.tenant, event.document_id)
    with translated(f"announcing {subject}"):
        await bus.client.publish(subject, codec.encode(event), headers={headers.CONTENT_TYPE: codec.JSON})


class Cancellations:
    """What was cancelled within the last hour, as far as it was heard; keep one a process."""

    def __init__(self, bus: Bus, *, now: Callable[[], datetime] = utc_now) -> None:
        """`now`: a clock close to that of those who submit, to know which documents came before we listened."""
        self._bus = bus
        self._now = now
        self._heard: OrderedDict[Key, tuple[Cancelled, datetime]] = OrderedDict()
        self._watchers: dict[Key, list[Callable[[], None]]] = {}
        self._complete_since: datetime | None = None
        self._subscription: Subscription | None = None
        self._forget_listener = _nothing

    async def start(self) -> None:
        """Begin to listen. Raises TransientError when the server does not answer."""
        with translated(f"subscribing to {_ALL}"):
            self._subscription = await self._bus.client.subscribe(_ALL, cb=self._on_message)
            for _ in range(2):
                # The client's PING overtakes what it has buffered: only the second one comes after the subscription.
                await self._bus.client.flush()
        self._listen_anew()
        # What was said while the connection was away, nobody told us.
        self._forget_listener = self._bus.on_reconnect(self._listen_anew)

    async def stop(self) -> None:
        """Listen no more. Safe to call twice."""
        self._forget_listener()
        self._forget_listener = _nothing
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)
            self._subscription = None

    def is_cancelled(self, tenant: str, document_id: str, revision: int, run_id: str | None = None) -> bool:
        """Whether it was heard; costs nothing, and may miss what was said before `start`."""
        return (tenant, document_id, revision, run_id) in self._heard

    def heard(self, event: Event) -> bool:
        """Whether it was heard that the document of this event is cancelled."""
        return _key(event) in self._heard

    async def is_settled(self, event: Event, *, since: datetime, again: bool) -> bool:
        """Whether the document of this event is cancelled, and its cancellation stored.

        Asks the stream only where memory cannot tell: the event was delivered before (`again`), or the document was
        submitted (`since`) before we listened without a gap. What was only heard is put into the stream, so that a
        document that is dropped always ends in a record.

        Raises:
            TransientError: NATS does not answer.
        """
        known = self._heard.get(_key(event))
        if known is None and not again and self._would_know(since):
            return False
        if await find_event(self._bus, Cancelled, *_key(event)) is not None:
            return True
        if known is None:
            return False
        # Whoever said it may have named it as it liked.
        name = event_id("cancelled", *_key(event)[1:])
        await publish_event(self._bus, msgspec.structs.replace(known[0], event_id=name))
        return True

    @contextlib.contextmanager
    def watch(self, event: Event, listener: Callable[[], None]) -> Generator[None]:
        """Call `listener` when the document of this event is cancelled meanwhile; at once if it is already."""
        key = _key(event)
        self._watchers.setdefault(key, []).append(listener)
        try:
            if key in self._heard:
                listener()
            yield
        finally:
            listeners = self._watchers[key]
            listeners.remove(listener)
            if not listeners:
                del self._watchers[key]

    def _would_know(self, since: datetime) -> bool:
        """Whether a cancellation of a document that was submitted then cannot have escaped us."""
        start = self._complete_since
        return start is not None and since > max(start + _SKEW, self._now() - _MEMORY)

    def _listen_anew(self) -> None:
        self._complete_since = self._now()

    async def _on_message(self, message: Msg) -> None:
        fields = message.headers or {}
        try:
            # A union is not a `type` to the type checker, though it decodes to its members.
            type_ = cast("type[Cancelled | Erased]", Cancelled | Erased)
            event = codec.decode(message.data, type_, fields.get(headers.CONTENT_TYPE))
        except codec.CodecError as e:
            log.warning("unreadable cancellation", subject=message.subject, reason=str(e))
            return
        if message.subject != f"cancelled.{event.tenant}.{event.document_id}":
            log.warning("cancellation of another document than its subject says", subject=message.subject)
            return
        if isinstance(event, Erased):
            # Work in hand stops. It is not remembered: the same id may be submitted anew.
            for (tenant, document_id, *_), listeners in list(self._watchers.items()):
                if (tenant, document_id) == (event.tenant, event.document_id):
                    for listener in list(listeners):
                        listener()
            return
        self._remember(event)
        for listener in list(self._watchers.get(_key(event), ())):
            listener()

    def _remember(self, event: Cancelled) -> None:
        now = self._now()
        self._heard[_key(event)] = (event, now)
        self._heard.move_to_end(_key(event))
        while self._heard:
            _, heard_at = next(iter(self._heard.values()))
            if len(self._heard) <= _REMEMBERED and heard_at > now - _MEMORY:
                return
            self._heard.popitem(last=False)
            if heard_at > now - _MEMORY:
                # Forgotten early for want of room: of anything older we cannot be sure any more.
                self._complete_since = max(self._complete_since or heard_at, heard_at)


def _nothing() -> None:
    """There is no listener to forget."""


def _key(event: Event) -> Key:
    return (event.tenant, event.document_id, event.revision, event.run_id)
