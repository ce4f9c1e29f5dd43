# pyright: reportUnknownMemberType=false
"""A pull subscription that does not go deaf: the server's heartbeats are watched, and every request is renewed."""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.connection import Bus
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import BillowError

log = structlog.get_logger()

_EXPIRES = 30.0
_HEARTBEAT = 2.0
_DEAF_AFTER = 2.5 * _HEARTBEAT
_PAUSE_AFTER_REFUSAL = 0.25
_PAUSE_AFTER_ERROR = 2.0
_DRAIN_SECONDS = 2.0


class PullSession:
    """Messages of one durable consumer, never more on hand than there is room for.

    One request is open at a time, for as many messages as fit. It is renewed when it is used up, when the server ends
    it, when the connection comes back, and when the server has been silent for too long. What waits here to be taken
    is kept alive.
    """

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        *,
        room: Callable[[], int],
        ensure: Callable[[], Awaitable[None]],
    ) -> None:
        """`room` says how many further messages may be held now; `ensure` creates the consumer when it is gone."""
        self._bus = bus
        self._spec = spec
        self._room = room
        self._ensure = ensure
        self._buffer: deque[Msg] = deque()
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._open = 0
        self._heard = time.monotonic()
        self._beat_at = 0.0
        self._pause_until = 0.0
        self._refusals = 0
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._requests = 0
        self._keeper: asyncio.Task[None] | None = None
        self._forget_reconnect: Callable[[], None] = lambda: None
        self._stopped = False

    async def start(self) -> None:
        """Create the consumer and begin to pull.

        Raises:
            TransientError: the server does not answer.
        """
        await self._ensure()
        self._inbox = self._bus.client.new_inbox()
        self._subscription = await self._bus.client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        self._forget_reconnect = self._bus.on_reconnect(self._renew)
        self._keeper = asyncio.create_task(self._keep())

    def __len__(self) -> int:
        return len(self._buffer)

    def peek(self) -> Msg | None:
        """What `pop` would return."""
        return self._buffer[0] if self._buffer else None

    def pop(self) -> Msg | None:
        """The next message, if one is here.

        Raises:
            BillowError: the connection is gone for good; there will be no more.
        """
        if not self._buffer and (broken := self._bus.broken) is not None:
            raise broken
        return self._buffer.popleft() if self._buffer else None

    async def changed(self) -> None:
        """Wait until there is something to take and room for it, or the session ends; may return without cause."""
        self._changed.clear()
        if not (self._stopped or self._bus.broken or (self._buffer and self._room() > 0)):
            await self._changed.wait()

    def nudge(self) -> None:
        """There is room again: ask for more if no request is open."""
        self._changed.set()
        self._wake.set()

    async def stop(self) -> list[Msg]:
        """Stop pulling; returns what was delivered but not taken, for the caller to give back."""
        self._stopped = True
        self._forget_reconnect()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._subscription is not None:
            await self._end(self._subscription)
        rest = list(self._buffer)
        self._buffer.clear()
        self._changed.set()
        return rest

    async def _end(self, subscription: Subscription) -> None:
        """Unsubscribe; what is on its way to us still arrives first, or it would come again only after ack_wait."""
        if self._bus.client.is_connected:
            with contextlib.suppress(TimeoutError, nats.errors.Error):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await subscription.drain()
                    return
        with contextlib.suppress(nats.errors.Error):
            await self._bus.unsubscribe(subscription)

    def _renew(self) -> None:
        self._open = 0
        self._heard = time.monotonic()
        self._wake.set()

    async def _on_message(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None or message.reply.startswith("$JS.ACK"):
            self._heard = time.monotonic()
            self._open = max(0, self._open - 1)
            self._refusals = 0
            self._buffer.append(message)
            self._changed.set()
            if self._open == 0:
                self._wake.set()
            return
        if message.subject != self._reply():
            return  # the end of a request that was given up before
        self._heard = time.monotonic()
        if status == "100":
            return
        self._open = 0
        if status != "408":
            # 409 leadership change or consumer deleted, 404 consumer gone, 503 nobody there (yet)
            description = (message.headers or {}).get("Description", "")
            log.debug("pull refused", durable=self._spec.durable, status=status, description=description)
            self._refusals += 1
            self._pause_until = time.monotonic() + _PAUSE_AFTER_REFUSAL
        self._wake.set()

    async def _keep(self) -> None:
        while not self._stopped and self._bus.broken is None:
            self._wake.clear()
            now = time.monotonic()
            if self._open and now - self._heard > _DEAF_AFTER:
                log.warning("no heartbeat from the consumer, asking again", durable=self._spec.durable)
                self._open = 0
                self._refusals += 1
            try:
                await self._keep_alive(now)
                room = self._room() - len(self._buffer)
                if self._open == 0 and room > 0 and now >= self._pause_until and self._bus.client.is_connected:
                    await self._request(room)
            except (BillowError, nats.errors.Error, OSError) as e:
                # Whatever it is, going deaf is worse than asking again.
                self._open = 0
                self._pause_until = time.monotonic() + _PAUSE_AFTER_ERROR
                log.warning("cannot pull yet", durable=self._spec.durable, reason=str(e))
            # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_AFTER_REFUSAL if self._open == 0 else 1.0):
                    await self._wake.wait()
        self._changed.set()

    async def _keep_alive(self, now: float) -> None:
        if now >= self._beat_at:
            self._beat_at = now + self._spec.ack_wait / 3
            for message in list(self._buffer):
                await message.in_progress()

    def _reply(self) -> str:
        return f"{self._inbox}.{self._requests}"

    async def _request(self, batch: int) -> None:
        if self._refusals >= 3:
            await self._ensure()
            self._refusals = 0
        self._open = batch
        self._requests += 1
        self._heard = time.monotonic()
        await self._bus.client.publish(
            f"{self._bus.api_prefix}.CONSUMER.MSG.NEXT.{self._spec.stream}.{self._spec.durable}",
            json.dumps(
                {
                    "batch": batch,
                    "expires": int(_EXPIRES * 1e9),
                    "idle_heartbeat": int(_HEARTBEAT * 1e9),
                }
            ).encode(),
            reply=self._reply(),
        )
