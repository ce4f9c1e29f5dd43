"""The loop that every event handler lives in. It decides between acknowledge, wait and dead letter."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import nats.errors
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.deadletters import bury
from billow.bus.provision import ensure_consumer
from billow.bus.pull import PullSession
from billow.bus.topology import MAX_DELIVERIES, ConsumerSpec
from billow.bus.waits import Waits
from billow.runtime import trace
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.events import Event
from billow.schemas.record import Failure

log = structlog.get_logger()

E = TypeVar("E", bound=Event)

_GRACE_SECONDS = 25.0
_LONGEST_PAUSE = 60.0


class Delivery:
    """One message in a handler's hands."""

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.deliveries = message.metadata.num_delivered
        """1 the first time."""

    @property
    def subject(self) -> str:
        """Subject that the message was published on."""
        return self._message.subject

    @property
    def data(self) -> bytes:
        """The payload as it came."""
        return self._message.data

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as they came."""
        return self._message.headers or {}

    def event(self, type_: type[E]) -> E:
        """Decode the payload and check that it is about the tenant and document of its subject.

        Raises:
            PermanentError: it is not; code `undecodable_event` or `misaddressed_event`.
        """
        try:
            event = codec.decode(self.data, type_, self.headers.get(headers.CONTENT_TYPE))
        except codec.CodecError as e:
            raise PermanentError(
                f"The event on {self.subject} cannot be read: {e}. Publish it again as the schema says.",
                code="undecodable_event",
            ) from e
        _, tenant, _, document_id = self.subject.split(".")
        if (event.tenant, event.document_id) != (tenant, document_id):
            raise PermanentError(
                f"The event says tenant {event.tenant!r} and document {event.document_id!r}, its subject "
                f"{self.subject} says otherwise. Publish it under the subject of its document.",
                code="misaddressed_event",
            )
        return event


Handler = Callable[[Delivery], Awaitable[None]]
"""Returns when the effect is stored. TransientError: wait and come again. PermanentError: dead letter."""


class EventConsumer:
    """Runs a handler for the messages of one durable consumer, several at a time."""

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        handler: Handler,
        *,
        service: str,
        concurrency: int,
        buries: bool = True,
    ) -> None:
        """`buries=False` is for the consumer of the dead letters themselves: it only ever waits."""
        self._bus = bus
        self._spec = spec
        self._handler = handler
        self._service = service
        self._concurrency = concurrency
        self._buries = buries
        self._waits = Waits(bus)
        self._trial = asyncio.Lock()
        self._on_trial: Msg | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        self._session = PullSession(bus, spec, room=self._room, ensure=lambda: ensure_consumer(bus, spec))

    def _room(self) -> int:
        return self._concurrency - len(self._in_hand)

    async def start(self) -> None:
        """Create the consumer and begin to pull. Raises TransientError when the server does not answer."""
        await self._session.start()

    async def run(self, stopping: asyncio.Event) -> None:
        """Handle messages until `stopping`; then finish or give back what is in hand.

        Raises:
            BillowError: the connection is gone for good.
        """
        stop = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                message = self._session.pop() if self._room() > 0 else None
                if message is None:
                    waiter = asyncio.create_task(self._session.changed())
                    await asyncio.wait({waiter, stop}, return_when=asyncio.FIRST_COMPLETED)
                    waiter.cancel()
                    continue
                task = asyncio.create_task(self._handle(message))
                self._in_hand.add(task)
                task.add_done_callback(self._done)
        finally:
            stop.cancel()
            await self._drain()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._session.nudge()

    async def _drain(self) -> None:
        for message in await self._session.stop():
            await self._nak(message, 0)
        if self._in_hand:
            grace = _GRACE_SECONDS if self._bus.broken is None else 0
            _, late = await asyncio.wait(self._in_hand, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _handle(self, message: Msg) -> None:
        trace.adopt((message.headers or {}).get(trace.HEADER))
        structlog.contextvars.bind_contextvars(subject=message.subject)
        heartbeat = asyncio.create_task(self._keep_alive(message))
        try:
            await self._decide(message)
        except asyncio.CancelledError:
            # Out of time to finish, which is no fault of the message.
            with contextlib.suppress(TransientError):
                await self._excuse(message)
            await self._nak(message, 0)
            raise
        except Exception:
            # Not even the dead letter could be written: the message stays and comes again.
            log.exception("message kept for later")
            await self._nak(message, 5)
        finally:
            heartbeat.cancel()

    async def _decide(self, message: Msg) -> None:
        deliveries = message.metadata.num_delivered
        failures = deliveries - 1
        if self._buries and failures >= MAX_DELIVERIES - 1:
            failures -= await self._waits.excused(message)
            if failures >= MAX_DELIVERIES - 1:
                async with self._trial:
                    if await self._waits.begin_trial(message):
                        self._on_trial = message
                        await self._attempt(message, deliveries)
                    else:
                        await self._bury(message, too_many_deliveries(failures, self._service), None)
                return
        await self._attempt(message, deliveries)

    async def _excuse(self, message: Msg) -> None:
        if self._on_trial is message:
            await self._waits.end_trial(message)
        await self._waits.excuse(message)

    async def _attempt(self, message: Msg, deliveries: int) -> None:
        try:
            await self._handler(Delivery(message))
        except TransientError as e:
            log.info("waiting", reason=str(e), delay=e.delay)
            await self._excuse(message)
            await self._nak(message, e.delay)
        except PermanentError as e:
            if not self._buries:
                raise
            failure = Failure(code=e.code, message=str(e), retryable=e.retryable, stage=self._service)
            await self._bury(message, failure, e)
        except Exception:
            pause = min(2.0 ** (deliveries - 1), _LONGEST_PAUSE)
            log.exception("handler failed, will try again", deliveries=deliveries, delay=pause)
            await self._nak(message, pause)
        else:
            await message.ack()

    async def _bury(self, message: Msg, failure: Failure, error: BaseException | None) -> None:
        _, tenant, event, _ = message.subject.split(".", 3)
        await bury(self._bus, message, failure, event=event, tenant=tenant, error=error)
        log.warning("dead letter", code=failure.code, reason=failure.message)
        await message.term()

    async def _keep_alive(self, message: Msg) -> None:
        while True:
            await asyncio.sleep(self._spec.ack_wait / 3)
            try:
                await message.in_progress()
            except nats.errors.Error as e:
                log.debug("in_progress not sent", reason=repr(e))

    async def _nak(self, message: Msg, delay: float) -> None:
        try:
            await message.nak(delay=delay or None)
        except nats.errors.Error as e:
            log.debug("nak not sent, the message comes back after ack_wait", reason=repr(e))


def too_many_deliveries(failures: int, stage: str) -> Failure:
    """The failure of a message whose handling ended badly each time, perhaps with the process dying."""
    return Failure(
        code="too_many_deliveries",
        message=(
            f"Handling this ended in a crash or an error {failures} times. The message is kept among the dead "
            "letters; see the log of the service for the cause."
        ),
        retryable=True,
        stage=stage,
    )
