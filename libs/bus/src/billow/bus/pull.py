# pyright: reportUnknownMemberType=false
"""A pull subscription that does not go deaf: the server's heartbeats are watched, and every request is renewed."""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.connection import Bus
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import TransientError

log = structlog.get_logger()

_EXPIRES = 30.0
_HEARTBEAT = 2.0
_DEAF_AFTER = 2.5 * _HEARTBEAT
_PAUSE_AFTER_REFUSAL = 0.25


class PullSession:
    """Messages of one durable consumer, never more on hand than there is room for.

    One request is open at a time, for as many messages as fit. It is renewed when it is used up, when the server ends
    it, when the connection comes back, and when the server has been silent for too long.
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
        self._pause_until = 0.0
        self._refusals = 0
        self._subscription: Subscription | None = None
        self._inbox = ""
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
        self._subscription = await self._bus.client.subscribe(self._inbox, cb=self._on_message)
        self._forget_reconnect = self._bus.on_reconnect(self._renew)
        self._keeper = asyncio.create_task(self._keep())

    def __len__(self) -> int:
        return len(self._buffer)

    def pop(self) -> Msg | None:
        """The next message, if one is here."""
        return self._buffer.popleft() if self._buffer else None

    async def changed(self) -> None:
        """Wait until something arrives or the session stops; may also return without cause."""
        self._changed.clear()
        if not self._buffer and not self._stopped:
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
        if self._subscription is not None and self._bus.client.is_connected:
            await self._subscription.unsubscribe()
        rest = list(self._buffer)
        self._buffer.clear()
        self._changed.set()
        return rest

    def _renew(self) -> None:
        self._open = 0
        self._heard = time.monotonic()
        self._wake.set()

    async def _on_message(self, message: Msg) -> None:
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status")
        if status is None or message.reply.startswith("$JS.ACK"):
            self._open = max(0, self._open - 1)
            self._refusals = 0
            self._buffer.append(message)
            self._changed.set()
            if self._open == 0:
                self._wake.set()
            return
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
        while not self._stopped:
            now = time.monotonic()
            if self._open and now - self._heard > _DEAF_AFTER:
                log.warning("no heartbeat from the consumer, asking again", durable=self._spec.durable)
                self._open = 0
                self._refusals += 1
            room = self._room() - len(self._buffer)
            if self._open == 0 and room > 0 and now >= self._pause_until and self._bus.client.is_connected:
                await self._request(room)
            self._wake.clear()
            # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_AFTER_REFUSAL if self._open == 0 else 1.0):
                    await self._wake.wait()

    async def _request(self, batch: int) -> None:
        try:
            if self._refusals >= 3:
                await self._ensure()
                self._refusals = 0
            self._open = batch
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
                reply=self._inbox,
            )
        except (TransientError, OSError) as e:
            self._open = 0
            self._pause_until = time.monotonic() + _PAUSE_AFTER_REFUSAL
            log.warning("cannot pull yet", durable=self._spec.durable, reason=str(e))
