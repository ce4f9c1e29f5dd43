# pyright: reportUnknownMemberType=false
"""Looking ahead in a durable consumer: take what is there now, never wait for more."""

import json
import time
from collections.abc import Callable
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.connection import Bus
from billow.bus.topology import ConsumerSpec

_OF_A_STREAM = "$JS.ACK."
_TOO_LARGE = "MaxBytes"
"""What the server says when the next message is larger than the bytes that there is room for."""
_COMPLETE = "Batch Completed"
"""What it says after the last message, where a request names a limit of bytes."""
_EVERY = 0.05
"""seconds between two looks"""
_LOST_AFTER = 2.0
_WORTH_IT = 0.1
"""Share of all the room ahead that makes the next look come at once, while there is more to be seen."""


class Ahead(NamedTuple):
    """Room for messages beyond those that are needed now."""

    messages: int
    bytes: int
    most: int
    """`messages` when nothing is held."""


class Looks:
    """At most one look is open; its messages go to `deliver`, and `wake` is called when it is over."""

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        *,
        room: Callable[[], Ahead],
        deliver: Callable[[Msg], None],
        wake: Callable[[], None],
        refused: Callable[[Msg], None],
    ) -> None:
        """`refused` hears of an end that is neither for want of messages nor of room."""
        self._bus = bus
        self._spec = spec
        self._room = room
        self._deliver = deliver
        self._wake = wake
        self._refused = refused
        self._inbox = bus.client.new_inbox()
        self._reply = ""
        self._numbered = 0
        self._coming = 0
        """Messages that the open look may still bring."""
        self._at = 0.0
        self._not_before = 0.0
        self.more = False
        """Whether the server had more to give when it last served a request to its end."""

    async def subscribe(self) -> Subscription:
        """Begin to listen."""
        return await self._bus.client.listen(f"{self._inbox}.*", self._on_message)

    def is_open(self, now: float) -> bool:
        """Whether one is under way; False too for one that was never answered."""
        return self._coming > 0 and now - self._at < _LOST_AFTER

    def is_lost(self, now: float) -> bool:
        """Whether one was never answered; forgets it."""
        lost = self._coming > 0 and not self.is_open(now)
        if lost:
            self.renew()
        return lost

    def may(self, now: float) -> bool:
        """Whether it is time for one."""
        return now >= self._not_before

    def rest(self, seconds: float) -> None:
        """None for so long."""
        self._not_before = time.monotonic() + seconds

    def renew(self) -> None:
        """Whatever was open is no more."""
        self._coming, self.more = 0, False

    def is_due(self, now: float) -> bool:
        """Whether none is open, there is room, and it is worth it."""
        return not self.is_open(now) and self.may(now) and self._is_worth_it(self._room(), now)

    def _is_worth_it(self, room: Ahead, now: float) -> bool:
        little = room.messages < _WORTH_IT * room.most
        return room.messages > 0 and room.bytes > 0 and not (little and now - self._at < _EVERY)

    async def look(self, now: float) -> None:
        """Look, if there is room and it is worth it."""
        room = self._room()
        if not self._is_worth_it(room, now):
            return
        self._coming, self._at = room.messages, now
        self._numbered += 1
        self._reply = f"{self._inbox}.{self._numbered}"
        await ask(
            self._bus, self._spec, self._reply, {"batch": room.messages, "no_wait": True, "max_bytes": room.bytes}
        )

    def _on_message(self, message: Msg) -> None:
        if is_message(message):
            self._coming = max(0, self._coming - 1)
            self._deliver(message)
            if self._coming == 0:
                self.more = pending_after(message) > 0
                self._wake()
        elif message.subject == self._reply:
            fields = message.headers or {}
            why = fields.get("Description", "")
            if why == _COMPLETE:
                return
            self.renew()
            self._not_before = max(self._not_before, self._at + _EVERY)
            if fields.get("Status") != "404" and _TOO_LARGE not in why:
                self._refused(message)
            self._wake()


async def ask(bus: Bus, spec: ConsumerSpec, reply: str, request: dict[str, int]) -> None:
    """Send a pull request; the answers come to `reply`."""
    subject = f"{bus.api_prefix}.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}"
    await bus.client.publish(subject, json.dumps(request).encode(), reply=reply)


def is_message(message: Msg) -> bool:
    """Whether it is of the stream, and not a word of the server about the request."""
    return message.reply.startswith(_OF_A_STREAM)


def pending_after(message: Msg) -> int:
    """Messages that the server had not handed out yet when it sent this one, redeliveries not counted."""
    tokens = message.reply.split(".")
    return int(tokens[8] if len(tokens) == 9 else tokens[10])
