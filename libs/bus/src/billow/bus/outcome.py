# pyright: reportUnknownMemberType=false
"""Waiting for the events that end the ways of documents."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.history import History
from billow.bus.publish import events
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_task
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Completed, Failed
from billow.schemas.record import Record

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 2.0
_LOOK_AT_LEAST_SECONDS = 30.0
"""Hardly anything is missed, as we look at once after a lost connection: only a message between the servers of a
cluster may be. So the longer a document takes, the more rarely we look."""


async def latest_record(bus: Bus, tenant: str, document_id: str, *, revision: int | None = None) -> Record | None:
    """The record that `completed` or `failed` carries, None while there is none; `revision` None takes the newest.

    `failed` also carries the record of a document that was cancelled; its status says so.

    Raises:
        TransientError: NATS does not answer.
    """
    outcomes = [
        event
        for type_ in (Completed, Failed)
        async for event in events(bus, type_, tenant, document_id)
        if event.run_id is None and revision in (None, event.revision)
    ]
    newest = max(outcomes, key=_rank, default=None)
    return None if newest is None else newest.record


def _rank(outcome: Completed | Failed) -> tuple[int, float, bool]:
    """The last promotion wins; without one a completed record outranks a failed one, as in the database."""
    promoted_at = outcome.occurred_at.timestamp() if outcome.promotion else 0.0
    return outcome.revision, promoted_at, isinstance(outcome, Completed)


class Outcomes:
    """Hears how the documents of a tenant end, for as many waiters as there are, with two subscriptions in all.

    What was said before a wait, or while the connection was away, is looked for: at first, after each reconnect and
    ever more rarely, for many documents with one request.
    """

    def __init__(self, bus: Bus, tenant: str) -> None:
        """Nothing is sent before the first `watch`."""
        self._bus = bus
        self._tenant = tenant
        self._history = History(bus)
        self._watches: dict[str, set[OutcomeWatch]] = {}
        self._lock = asyncio.Lock()
        self._listening = contextlib.AsyncExitStack()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def watch(self, document_id: str, revision: int) -> AsyncGenerator["OutcomeWatch"]:
        """Listen for the outcome of one revision, best from before it is submitted, so that nothing passes unseen.

        Raises:
            TransientError: NATS does not answer.
        """
        watch = OutcomeWatch(document_id, revision, self._changed)
        async with self._lock:
            if not self._watches:
                await self._listen()
            self._watches.setdefault(document_id, set()).add(watch)
        try:
            yield watch
        finally:
            self._forget(watch)
            async with self._lock:
                if not self._watches:
                    await self._listening.aclose()

    def _forget(self, watch: "OutcomeWatch") -> None:
        watches = self._watches[watch.document_id]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.document_id]

    async def _listen(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._bus.on_reconnect(self._look_for_all))
            with translated("subscribing to outcomes"):
                for type_ in (Completed, Failed):
                    subject = f"documents.{self._tenant}.{EVENT_NAMES[type_]}.*"
                    subscription = await self._bus.client.subscribe(subject, cb=self._listener(type_))
                    stack.push_async_callback(self._bus.unsubscribe, subscription)
            looking = asyncio.create_task(self._keep_looking())
            stack.push_async_callback(end_task, looking)
            self._listening = stack.pop_all()

    def _listener(self, type_: type[Completed | Failed]) -> Callable[[Msg], Awaitable[None]]:
        async def on_event(message: Msg) -> None:
            watches = self._watches.get(message.subject.rpartition(".")[2])
            if not watches:
                return
            fields = message.headers or {}
            with contextlib.suppress(codec.CodecError):
                event = codec.decode(message.data, type_, fields.get(headers.CONTENT_TYPE))
                if event.run_id is None:
                    for watch in watches:
                        if watch.revision == event.revision:
                            watch.found(event.record)

        return on_event

    def _look_for_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.look_soon()

    async def _keep_looking(self) -> None:
        while True:
            self._changed.clear()
            now = time.monotonic()
            waiting = [watch for watches in self._watches.values() for watch in watches if watch.is_waiting]
            if (broken := self._bus.broken) is not None:
                for watch in waiting:
                    watch.failed(broken)
            due = [watch for watch in waiting if watch.due <= now]
            if due:
                await self._look(due)
            next_at = min((watch.due for watch in waiting), default=now + _LOOK_AT_LEAST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0, next_at - time.monotonic())):
                    await self._changed.wait()

    async def _look(self, watches: Sequence["OutcomeWatch"]) -> None:
        """Look for many at once; only where something is there, see what it says."""
        names = [EVENT_NAMES[type_] for type_ in (Completed, Failed)]
        wanted = {watch.document_id for watch in watches}
        try:
            there = await self._history.newest(
                [subjects.document(self._tenant, name, document_id) for document_id in wanted for name in names]
            )
            ended = {subject.rpartition(".")[2] for subject in there}
            for watch in watches:
                record = None
                if watch.document_id in ended and watch.is_waiting:
                    record = await latest_record(self._bus, self._tenant, watch.document_id, revision=watch.revision)
                if record is not None:
                    watch.found(record)
                else:
                    watch.look_later()
        except BillowError as e:
            log.debug("cannot look for outcomes yet", reason=str(e))
            for watch in watches:
                watch.look_again()
        except Exception as e:
            # Whoever waits is told, rather than that nobody looks any more.
            log.exception("looking for outcomes failed")
            for watch in watches:
                watch.failed(e)


class OutcomeWatch:
    """One waiter of `Outcomes`."""

    def __init__(self, document_id: str, revision: int, changed: asyncio.Event) -> None:
        """`changed` tells whoever looks that something is to be looked for."""
        self.document_id = document_id
        self.revision = revision
        self.due = math.inf
        """When to look, by `time.monotonic`."""
        self._pause = 0.0
        self._changed = changed
        self._record: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._waiters = 0

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for what was not found yet."""
        return self._waiters > 0 and not self._record.done()

    async def record(self, timeout: float | None) -> Record:
        """Wait for the record; also when the connection is lost meanwhile.

        Raises:
            TimeoutError: no outcome within `timeout` seconds; the document goes on being processed.
            BillowError: the connection is gone for good.
        """
        self._waiters += 1
        if not self._record.done():
            self.look_soon()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._record)
        except TimeoutError as e:
            raise TimeoutError(
                f"Document {self.document_id} has no outcome after {timeout:g} s. It is not lost: ask again with "
                f"`billow get {self.document_id}`, and see with `billow up` or the logs whether all workers run."
            ) from e
        finally:
            self._waiters -= 1

    def found(self, record: Record) -> None:
        """This is it."""
        if not self._record.done():
            self._record.set_result(record)

    def failed(self, error: Exception) -> None:
        """There will be none to be heard of here."""
        if not self._record.done():
            self._record.set_exception(error)
            self._record.exception()  # seen, if nobody waits any more

    def look_soon(self) -> None:
        """Something may be there."""
        self._pause, self.due = _LOOK_AGAIN_SECONDS, 0.0
        self._changed.set()

    def look_later(self) -> None:
        """Nothing is there: look ever more rarely."""
        self.due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LOOK_AT_LEAST_SECONDS)

    def look_again(self) -> None:
        """It could not be looked for."""
        self.due = time.monotonic() + _LOOK_AGAIN_SECONDS
