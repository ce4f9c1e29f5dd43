# pyright: reportUnknownMemberType=false
"""Events of a tenant for a program that must not miss any: the server remembers how far it has come."""

import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import api

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.history import read_event
from billow.bus.keepalive import KeepAlive
from billow.bus.provision import consumer_config
from billow.bus.pull import PullSession
from billow.bus.topology import DOCUMENTS, ConsumerSpec
from billow.schemas.events import DocumentEvent
from billow.schemas.tokens import check_token

_AHEAD = 64
"""Events fetched before they are asked for."""
_ACK_WAIT = 30.0
_MOST_UNSETTLED = 1_000
_REMEMBERED = 1_024
"""Sequences of settled events, so that a lost acknowledgement does not show one twice to the same process."""

log = structlog.get_logger()


def durable_name(tenant: str, name: str) -> str:
    """The server's name of a feed. `=` is in no token, so no two tenants ever share one.

    Raises:
        ValueError: `tenant` or `name` is not a token.
    """
    return f"client={check_token(tenant, 'tenant')}={check_token(name, 'durable')}"


async def delete_feed(bus: Bus, tenant: str, name: str) -> bool:
    """Let the server forget how far a feed has come; False if there is none of this name.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: the server refuses.
        ValueError: `name` is not a token.
    """
    with translated(f"deleting the subscription {name}"):
        try:
            return await bus.js.delete_consumer(DOCUMENTS.name, durable_name(tenant, name))
        except nats.js.errors.NotFoundError:
            return False


class Feed:
    """One event at a time, each acknowledged when the next is asked for. For one task.

    Processes that use the same name share the events. One that ends without having settled its event leaves it to the
    others, or to its next start.
    """

    def __init__(
        self, bus: Bus, tenant: str, name: str, *, events: Sequence[str] = ("*",), since: datetime | None
    ) -> None:
        """`since` counts when the name is new: from then on, None from now on.

        Raises:
            ValueError: `tenant` or `name` is not a token.
        """
        self._bus = bus
        self._since = since
        self._spec = ConsumerSpec(
            stream=DOCUMENTS.name,
            durable=durable_name(tenant, name),
            filters=tuple(f"documents.{tenant}.{event}.*" for event in events),
            ack_wait=_ACK_WAIT,
            max_ack_pending=_MOST_UNSETTLED,
            description=f"events of {tenant} for {name}",
        )
        self._alive = KeepAlive(_ACK_WAIT)
        self._session = PullSession(bus, self._spec, room=lambda: _AHEAD, ensure=self._ensure)
        self._in_hand: Msg | None = None
        self._floor: int | None = None
        """Sequence from which on nothing was settled yet, once known."""
        self._settled: deque[int] = deque(maxlen=_REMEMBERED)
        self._stopped = False

    async def start(self) -> None:
        """Take up the feed where it was left, or make it.

        Raises:
            TransientError: NATS does not answer.
            PermanentError: the server refuses.
        """
        await self._session.start()
        self._alive.start()

    async def next(self) -> DocumentEvent | None:
        """The next event; the one before is done. None after `stop`.

        Raises:
            BillowError: the connection is gone for good.
        """
        await self._settle()
        while not self._stopped:
            message = self._session.pop()
            if message is None:
                self._session.nudge()
                await self._session.changed()
                continue
            sequence = message.metadata.sequence.stream
            if sequence in self._settled:
                await self._tell(message.ack)
                continue
            fields = message.headers or {}
            event = read_event(message.subject, message.data, fields.get(headers.CONTENT_TYPE))
            self._in_hand = message
            if event is not None:
                self._alive.hold(message)
                return event
            await self._settle()
        return None

    async def stop(self, *, settle: bool) -> None:
        """Stop pulling; what is in hand is done (`settle`) or comes again. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        if settle:
            await self._settle()
        elif self._in_hand is not None:
            await self._tell(self._in_hand.nak)
        self._alive.stop()
        for message in await self._session.stop():
            await self._tell(message.nak)

    async def _settle(self) -> None:
        message, self._in_hand = self._in_hand, None
        if message is not None:
            self._alive.release(message)
            sequence = message.metadata.sequence.stream
            self._settled.append(sequence)
            self._floor = max(self._floor or 0, sequence + 1)
            await self._tell(message.ack)

    async def _tell(self, verdict: Callable[[], Awaitable[None]]) -> None:
        try:
            await verdict()
        except nats.errors.Error as e:
            log.debug("not told, the event comes again", reason=repr(e))

    async def _ensure(self) -> None:
        """Make the consumer if it is not there; one that is there keeps its place, whatever else is asked."""
        with translated(f"subscribing as {self._spec.durable}"):
            try:
                found = await self._bus.js.consumer_info(self._spec.stream, self._spec.durable)
            except nats.js.errors.NotFoundError:
                made = await self._bus.js.add_consumer(self._spec.stream, self._config())
                if self._floor is None and made.delivered is not None:
                    self._floor = made.delivered.stream_seq + 1
                return
            if self._floor is None and found.ack_floor is not None:
                self._floor = found.ack_floor.stream_seq + 1
            wanted = consumer_config(self._spec)
            if _filters(found.config) != _filters(wanted):
                changed = dataclasses.replace(
                    found.config, filter_subject=wanted.filter_subject, filter_subjects=wanted.filter_subjects
                )
                await self._bus.js.add_consumer(self._spec.stream, changed)

    def _config(self) -> api.ConsumerConfig:
        config = consumer_config(self._spec)
        if self._floor is not None:
            # It was there before and somebody deleted it, or the server lost it: go on where we were.
            config.deliver_policy, config.opt_start_seq = api.DeliverPolicy.BY_START_SEQUENCE, self._floor
        elif self._since is not None:
            config.deliver_policy, config.opt_start_time = api.DeliverPolicy.BY_START_TIME, self._since
        else:
            config.deliver_policy = api.DeliverPolicy.NEW
        return config


def _filters(config: api.ConsumerConfig) -> set[str]:
    return {subject for subject in (config.filter_subject, *(config.filter_subjects or ())) if subject}
