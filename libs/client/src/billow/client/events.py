"""What happened and happens to documents, as an iterator of typed events."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Literal, Self

from billow.bus.connection import Bus
from billow.bus.feed import Feed
from billow.bus.history import History
from billow.schemas.events import Completed, DocumentEvent, Erased, Failed
from billow.schemas.tokens import check_token

EventKind = Literal["submitted", "recognized", "analyzed", "completed", "failed", "cancelled", "promoted", "erased"]
"""Events by their names in subjects."""
KINDS: tuple[EventKind, ...] = EventKind.__args__
Since = datetime | timedelta
"""A point in time, or how long ago."""


class Events:
    """Reads the events of one tenant."""

    def __init__(self, bus: Bus, tenant: str) -> None:
        """Nothing is sent yet."""
        self._bus = bus
        self._tenant = tenant
        self._history = History(bus)

    async def of_tenant(
        self, *, since: Since | None, kinds: Iterable[EventKind] | None, follow: bool
    ) -> AsyncGenerator[DocumentEvent]:
        """As `Billow.events` without a document."""
        wanted = _check_kinds(kinds)
        # Only one filter can be asked for: with several kinds the others are passed over here.
        subject = f"documents.{self._tenant}.{wanted[0] if len(wanted) == 1 else '*'}.*"
        start = 1
        if since is None and follow:
            start = await self._history.last_sequence(subject) + 1
        async for stored in self._history.follow(subject, start=start, since=_instant(since)):
            if stored is None:
                if not follow:
                    return
            elif stored.name in wanted and (event := stored.event()) is not None:
                yield event

    async def of_document(
        self, document_id: str, *, since: Since | None, kinds: Iterable[EventKind] | None, follow: bool
    ) -> AsyncGenerator[DocumentEvent]:
        """As `Billow.events` with a document."""
        wanted = _check_kinds(kinds)
        subject = f"documents.{self._tenant}.*.{check_token(document_id, 'document_id')}"
        newest, ended = 0, 0
        async for stored in self._history.follow(subject, since=_instant(since)):
            if stored is None:
                if not follow or (ended and ended >= newest):
                    return
                continue
            event = stored.event()
            if event is None:
                continue
            newest = max(newest, event.revision)
            if isinstance(event, Completed | Failed | Erased):
                ended = max(ended, event.revision)
            if stored.name in wanted:
                yield event


class Subscription:
    """Events of a tenant that a named backend gets, each at least once, also those that come while it is away.

        async with billow.subscribe("my-backend", kinds=["completed", "failed"]) as events:
            async for event in events:
                store(event)

    An event is done when the next one is asked for, or when the block ends without an error; with an error it comes
    again, at once. They come in the order of the stream, but for those that come again. Handle events so that one that
    comes twice does no harm: by `event.event_id`. Several processes may use the same name and share the events. For one
    task at a time.
    """

    def __init__(self, feed: Feed) -> None:
        """Use `Billow.subscribe`."""
        self._feed = feed
        self._starting = asyncio.Lock()
        self._started = False

    async def __aenter__(self) -> Self:
        async with self._starting:
            if not self._started:
                await self._feed.start()
                self._started = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(done=kind is None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DocumentEvent:
        """Acknowledges the event before.

        Raises:
            StopAsyncIteration: after `close`.
            BillowError: the connection is gone for good.
        """
        await self.__aenter__()
        event = await self._feed.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def close(self, *, done: bool = True) -> None:
        """End it here; the server remembers the place. The event in hand is done, or comes again.

        Safe to call twice.
        """
        if self._started:
            await self._feed.stop(settle=done)


def make_subscription(
    bus: Bus, tenant: str, name: str, *, since: Since | None, kinds: Iterable[EventKind] | None
) -> Subscription:
    """As `Billow.subscribe`."""
    wanted = _check_kinds(kinds)
    events = ("*",) if len(wanted) == len(KINDS) else wanted
    return Subscription(Feed(bus, tenant, name, events=events, since=_instant(since)))


def _check_kinds(kinds: Iterable[EventKind] | None) -> tuple[EventKind, ...]:
    wanted = KINDS if kinds is None else tuple(dict.fromkeys(kinds))
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise ValueError(f"there is no event {unknown[0]!r}; there are {', '.join(KINDS)}")
    if not wanted:
        raise ValueError("kinds is empty: no event would ever come")
    return wanted


def _instant(since: Since | None) -> datetime | None:
    """Raises ValueError for a time without its zone."""
    if isinstance(since, timedelta):
        return datetime.now(UTC) - since
    if since is not None and since.tzinfo is None:
        raise ValueError("since has no time zone; say datetime.now(UTC), or how long ago as a timedelta")
    return since
