"""What every handler of a document asks before work costs anything, and while it goes on."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from billow.bus.cancellations import Cancellations, utc_now
from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.publish import already_stated
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.events import Analyzed, Event, Recognized

log = structlog.get_logger()

E = TypeVar("E", bound=Event)


class Inquiry(Protocol):
    """What the document asks models for; an `InferenceClient` is one."""

    async def still_waiting(self, event: Event) -> None:
        """Raises TransientError while what the document waited for last is absent."""
        ...

    async def forget(self, event: Event) -> None:
        """Take back what it asked for, as nobody wants it any more."""
        ...


class Guard:
    """Lets a handler work on a document only while somebody waits for it; make one a service."""

    def __init__(
        self,
        bus: Bus,
        cancellations: Cancellations,
        outcome: type[Event],
        inquiry: Inquiry,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """How to tell that work is done, or cannot begin.

        Args:
            bus: where outcomes are.
            cancellations: already started.
            outcome: the event that the handler publishes; where it is there, the work is done.
            inquiry: asked whether a document that was delivered before is still waiting, and told to forget one that
                is cancelled.
            now: a clock close to that of those who set deadlines.
        """
        self._bus = bus
        self._cancellations = cancellations
        self._outcome = outcome
        self._inquiry = inquiry
        self._now = now

    async def run(self, event: E, work: Callable[[E, bool], Awaitable[None]], *, again: bool) -> None:
        """Do `work(event, again)`, unless that is of no use; `again`: the event was delivered before.

        Returns without having worked where the outcome is known or the document is cancelled. Work that is under way
        is stopped when its document is cancelled or its deadline passes.

        Raises:
            PermanentError: the deadline passed, code `deadline_exceeded`.
            TransientError: the document has to wait, or NATS does not answer.
        """
        if again and await already_stated(self._bus, self._outcome, event):
            return
        left = None if event.deadline is None else (event.deadline - self._now()).total_seconds()
        if event.deadline is not None and left is not None and left <= 0:
            raise too_late(event.deadline)
        if await self._is_cancelled(event, again=again):
            return
        if again:
            await self._inquiry.still_waiting(event)
        scope = asyncio.timeout(left)
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            if not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time())

        try:
            async with scope:
                with self._cancellations.watch(event, stop):
                    await work(event, again)
        except TimeoutError:
            if scope.expired() and await self._is_cancelled(event, again=again):
                return
            if scope.expired() and stopped:
                # Erased: the message is taken out of the stream, and comes again only if it is of a new document.
                await self._inquiry.forget(event)
                raise TransientError(f"Document {event.document_id} is being erased", delay=5) from None
            if scope.expired() and event.deadline is not None:
                raise too_late(event.deadline) from None
            raise
        except PermanentError as e:
            # A worker may have heard of it before us.
            if e.code != "cancelled" or not await self._is_cancelled(event, again=True):
                raise

    async def _is_cancelled(self, event: Event, *, again: bool) -> bool:
        cancelled = await self._cancellations.is_settled(event, since=_submitted_at(event), again=again)
        if cancelled:
            await self._inquiry.forget(event)
            log.info("cancelled", document=event.document_id, revision=event.revision)
        return cancelled


@contextlib.asynccontextmanager
async def guarding(bus: Bus, spec: ConsumerSpec, outcome: type[Event], inquiry: Inquiry) -> AsyncGenerator[Guard]:
    """The guard of a service that consumes `spec`: it listens to cancellations and goes by the server's clock.

    Raises:
        TransientError: NATS does not answer.
    """
    clock = ServerClock(bus, spec)
    await clock.start()
    cancellations = Cancellations(bus, now=clock.now)
    try:
        await cancellations.start()
        yield Guard(bus, cancellations, outcome, inquiry, now=clock.now)
    finally:
        clock.stop()
        await cancellations.stop()


def too_late(deadline: datetime) -> PermanentError:
    """Nobody waits for the document any more."""
    return PermanentError(
        f"The deadline {deadline.isoformat()} passed before the document was done. Submit it again with a later one.",
        code="deadline_exceeded",
        retryable=True,
    )


def _submitted_at(event: Event) -> datetime:
    if event.run_id is not None:
        # A replay is cancelled by taking its events out of the stream: there is nothing to look for.
        return datetime.max.replace(tzinfo=UTC)
    return event.origin.submitted_at if isinstance(event, Recognized | Analyzed) else event.occurred_at
