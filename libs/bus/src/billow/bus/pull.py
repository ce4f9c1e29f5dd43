# pyright: reportUnknownMemberType=false
"""A pull subscription that does not go deaf: the server's heartbeats are watched, and every request is renewed."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.connection import Bus
from billow.bus.looks import Ahead, Looks, ask, is_message, pending_after
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_task

log = structlog.get_logger()

_EXPIRES = 30.0
_HEARTBEAT = 1.0
_DEAF_AFTER = 3 * _HEARTBEAT
_PROBE_EXPIRES = 1.0
"""seconds after which a living server answers a request that follows silence, also when it has nothing"""
_PROBE_DEAF_AFTER = 1.5 * _PROBE_EXPIRES
_SILENCES = 6
"""in a row, after which the consumer is made again"""
_PAUSE_AFTER_REFUSAL = 0.25
_PAUSE_AFTER_ERROR = 2.0
_DRAIN_SECONDS = 2.0
_LOOK_SECONDS = 0.05


class PullSession:
    """Messages of one durable consumer, never more on hand than there is room for.

    One request is open at a time, for as many messages as are needed. It is renewed when it is used up, when the server
    ends it, when the connection comes back, and when the server has been silent for too long. What waits here to be
    taken is kept alive.

    A request is lost with the server that leads the consumer, and so are those sent before another leads it. So what
    follows silence are short requests, until one is answered.

    Who needs nothing may look ahead: take what is there without waiting for more. So whoever has a request open
    (`num_waiting` of the consumer) is in need.
    """

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        *,
        room: Callable[[], int],
        ensure: Callable[[], Awaitable[None]],
        ahead: Callable[[], Ahead] | None = None,
        deliver: Callable[[Msg], None] | None = None,
        changed: asyncio.Event | None = None,
    ) -> None:
        """`room` says how many further messages are needed now; `ensure` creates the consumer when it is gone.

        `ahead` says how many more may be held once none is needed. With `deliver` messages go there as they arrive,
        also while `stop` runs, and the caller keeps them alive. `changed` is set whenever `is_ready` may have become
        true, for a caller that waits for several sessions.
        """
        self._bus = bus
        self._spec = spec
        self._room = room
        self._ensure = ensure
        self._buffer: deque[Msg] = deque()
        self._deliver = deliver or self._keep_here
        self._changed = changed or asyncio.Event()
        self._wake = asyncio.Event()
        self._open = 0
        self._heard = time.monotonic()
        self._beat_at = 0.0
        self._pause_until = 0.0
        self._refusals = 0
        self._silences = 0
        self._subscriptions: list[Subscription] = []
        self._inbox = ""
        self._reply = ""
        self._requests = 0
        self._keeper: asyncio.Task[None] | None = None
        self._maker: asyncio.Task[None] | None = None
        self._forget_reconnect: Callable[[], None] = lambda: None
        self._stopped = False
        self._looks: Looks | None = None
        if ahead is not None:
            self._looks = Looks(
                bus, spec, room=ahead, deliver=self._deliver, wake=self._wake.set, refused=self._refused
            )

    async def start(self) -> None:
        """Create the consumer and begin to pull.

        Raises:
            TransientError: the server does not answer.
        """
        await self._ensure()
        self._inbox = self._bus.client.new_inbox()
        self._subscriptions.append(await self._bus.client.listen(f"{self._inbox}.*", self._on_message))
        if self._looks is not None:
            self._subscriptions.append(await self._looks.subscribe())
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
        if not self.is_ready:
            await self._changed.wait()

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take and room for it, or the session ends."""
        return self._stopped or self._bus.broken is not None or (bool(self._buffer) and self._room() > 0)

    def nudge(self) -> None:
        """There is room again: ask for more if no request is open."""
        self._changed.set()
        if self._would_ask():
            self._wake.set()

    def _would_ask(self) -> bool:
        """Whether `_ask` has anything to do: this is asked for each message, so its task need not wake for nothing."""
        looks = self._looks
        if looks is None or self._room() > len(self._buffer):
            return not self._open or (looks is not None and looks.more)
        return looks.is_due(time.monotonic())

    async def ended(self) -> None:
        """Wait until there will be no more messages.

        Returns after `stop`.

        Raises:
            BillowError: the connection is gone for good.
        """
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
            if not self._keeper.cancelled():
                self._keeper.result()
        if (broken := self._bus.broken) is not None:
            raise broken

    @property
    def in_need(self) -> bool:
        """Whether a request of ours is open."""
        return self._open > 0

    def rest(self, seconds: float) -> None:
        """Do not look ahead for so long."""
        if self._looks is not None:
            self._looks.rest(seconds)

    async def stop(self) -> list[Msg]:
        """Stop pulling; returns what was delivered but not taken, for the caller to give back."""
        self._stopped = True
        self._forget_reconnect()
        await end_task(self._keeper)
        await end_task(self._maker)
        await asyncio.gather(*map(self._end, self._subscriptions))
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

    def _keep_here(self, message: Msg) -> None:
        self._buffer.append(message)
        self._changed.set()

    def _renew(self) -> None:
        self._open = 0
        if self._looks is not None:
            self._looks.renew()
        self._hear()
        self._wake.set()

    def _hear(self) -> None:
        self._heard = time.monotonic()
        self._silences = 0

    def _on_message(self, message: Msg) -> None:
        if is_message(message):
            self._hear()
            self._open = max(0, self._open - 1)
            self._refusals = 0
            self._deliver(message)
            if self._open == 0:
                if self._looks is not None:
                    self._looks.more = pending_after(message) > 0
                self._wake.set()
            return
        if message.subject != self._reply:
            return  # the end of a request that was given up before
        status = (message.headers or {}).get("Status")
        self._hear()
        if status == "100":
            return
        self._open = 0
        if status != "408":
            # 409 leadership change or consumer deleted, 404 consumer gone, 503 nobody there (yet)
            self._refused(message)
            self._pause_until = time.monotonic() + _PAUSE_AFTER_REFUSAL
        self._wake.set()

    def _refused(self, message: Msg) -> None:
        fields = message.headers or {}
        log.debug(
            "pull refused",
            durable=self._spec.durable,
            status=fields.get("Status"),
            description=fields.get("Description", ""),
        )
        self._refusals += 1

    async def _keep(self) -> None:
        while not self._stopped and self._bus.broken is None:
            self._wake.clear()
            now = time.monotonic()
            if self._is_deaf(now):
                if self._silences == 0:
                    log.warning("no heartbeat from the consumer, asking again", durable=self._spec.durable)
                self._open = 0
                self._silences += 1
            try:
                await self._keep_alive(now)
                if now >= self._pause_until and self._bus.client.is_connected:
                    await self._ask(now)
            except (BillowError, nats.errors.Error, OSError) as e:
                # Whatever it is, going deaf is worse than asking again.
                self._open = 0
                self._pause_until = time.monotonic() + _PAUSE_AFTER_ERROR
                log.warning("cannot pull yet", durable=self._spec.durable, reason=str(e))
            # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._idle()):
                    await self._wake.wait()
        self._changed.set()

    def _is_deaf(self, now: float) -> bool:
        patience = _PROBE_DEAF_AFTER if self._silences else _DEAF_AFTER
        return self._open > 0 and now - self._heard > patience

    async def _keep_alive(self, now: float) -> None:
        if now >= self._beat_at:
            self._beat_at = now + self._spec.ack_wait / 3
            for message in list(self._buffer):
                await message.in_progress()

    def _idle(self) -> float:
        """Seconds until the next thing may have to be done."""
        if self._looks is not None and self._room() <= len(self._buffer):
            return _LOOK_SECONDS
        return _HEARTBEAT / 2 if self._open else _PAUSE_AFTER_REFUSAL

    async def _ask(self, now: float) -> None:
        looks = self._looks
        if looks is not None and looks.is_lost(now):
            self._refusals += 1
        if looks is not None and looks.is_open(now):
            return
        if self._refusals >= 3 or self._silences >= _SILENCES:
            self._refusals = self._silences = 0
            # Not awaited: it takes seconds while nobody leads the consumer, and somebody may at any moment.
            if self._maker is None or self._maker.done():
                self._maker = asyncio.create_task(self._make_again())
        room = self._room() - len(self._buffer)
        if looks is not None and looks.may(now) and (room <= 0 or looks.more):
            await looks.look(now)
        elif room > 0 and self._open == 0:
            await self._request(room)

    async def _make_again(self) -> None:
        try:
            await self._ensure()
        except (BillowError, nats.errors.Error, OSError) as e:
            log.warning("the consumer cannot be made yet", durable=self._spec.durable, reason=str(e))
            return
        self._wake.set()

    async def _request(self, batch: int) -> None:
        self._open = batch
        self._heard = time.monotonic()
        self._requests += 1
        self._reply = f"{self._inbox}.{self._requests}"
        request = {"batch": batch, "expires": int(_PROBE_EXPIRES * 1e9)}
        if not self._silences:
            request = {"batch": batch, "expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
        await ask(self._bus, self._spec, self._reply, request)
