"""The client without asyncio, for threads of Django, Flask or a script.

with Billow("nats://127.0.0.1:4222") as billow:
    record = billow.extract("lunch.jpg")

Everything is called and raises as in `billow.client.Billow`, which says more; only here it blocks. One connection
serves all threads. Where a server forks its workers, connect in each of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from billow.client import billow as asynchronous
from billow.client.batch import BatchResult, OnProgress
from billow.client.events import EventKind, Since
from billow.client.events import Subscription as AsyncSubscription
from billow.client.loop_thread import LoopThread
from billow.client.sources import Document
from billow.schemas.events import DocumentEvent
from billow.schemas.geometry import TextLine
from billow.schemas.labels import Kind, Lane
from billow.schemas.presence import ModelPresence
from billow.schemas.record import Record

D = TypeVar("D", bound=Document)

OnResult = Callable[[Record], None]
"""Called on a thread of its own; may block, and may use the client."""


class Billow:
    """One connection, with an event loop on a thread of its own. Safe to share between threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        tenant: str | None = None,
        domain: str | None = None,
        patience: float | None = None,
    ) -> None:
        """As the asynchronous one; no thread is started yet. Raises ValueError as that."""
        self._client = asynchronous.Billow(url, tenant=tenant, domain=domain, patience=patience)
        self.url = self._client.url
        self.tenant = self._client.tenant
        self._loop: LoopThread | None = None

    def connect(self, *, timeout: float = 5.0) -> Self:
        """Start the thread and connect. Raises StackUnreachableError."""
        self._loop = LoopThread("billow-client")
        try:
            self._loop.call(self._client.connect(timeout=timeout))
        except BaseException:
            self._loop.stop()
            self._loop = None
            raise
        return self

    def close(self) -> None:
        """Disconnect and end the thread. Documents on their way go on. Safe to call twice."""
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                loop.call(self._client.close())
            finally:
                loop.stop()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        document: Document,
        *,
        source: str = "",
        document_id: str | None = None,
        idempotency_key: str | None = None,
        revision: int = 1,
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "interactive",
        deadline: datetime | None = None,
        on_result: OnResult | None = None,
    ) -> str:
        """Hand in a photo or PDF; returns its document id once it is safely stored."""
        return self._thread().call(
            self._client.submit(
                document,
                source=source,
                document_id=document_id,
                idempotency_key=idempotency_key,
                revision=revision,
                kind=kind,
                language=language,
                lane=lane,
                deadline=deadline,
                on_result=None if on_result is None else _on_a_thread(on_result),
            )
        )

    def result(self, document_id: str, *, revision: int = 1, timeout: float | None = None) -> Record:
        """Wait for the record of a submitted document."""
        return self._thread().call(self._client.result(document_id, revision=revision, timeout=timeout))

    def extract(
        self,
        document: Document,
        *,
        source: str = "",
        idempotency_key: str | None = None,
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "interactive",
        deadline: datetime | None = None,
        timeout: float | None = None,
    ) -> Record:
        """`submit` and `result` in one."""
        return self._thread().call(
            self._client.extract(
                document,
                source=source,
                idempotency_key=idempotency_key,
                kind=kind,
                language=language,
                lane=lane,
                deadline=deadline,
                timeout=timeout,
            )
        )

    def batch(
        self,
        documents: Iterable[D],
        *,
        concurrency: int = 8,
        idempotency_key: Callable[[D], str] | None = None,
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "bulk",
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Generator[BatchResult[D]]:
        """Extract many documents, `concurrency` at a time; results come as they are ready.

        The iterable is read on other threads than this one, one call at a time. `on_progress` must not use the client.
        """
        results = self._client.batch(
            _read_on_threads(documents),
            concurrency=concurrency,
            idempotency_key=idempotency_key,
            kind=kind,
            language=language,
            lane=lane,
            timeout=timeout,
            on_progress=on_progress,
        )
        return self._thread().iterate(results)

    def events(
        self,
        document_id: str | None = None,
        *,
        since: Since | None = None,
        kinds: Iterable[EventKind] | None = None,
        follow: bool = True,
    ) -> Generator[DocumentEvent]:
        """What happened and happens to a document, or to all of the tenant."""
        events = self._client.events(document_id, since=since, kinds=kinds, follow=follow)
        return self._thread().iterate(events)

    def subscribe(
        self, durable: str, *, since: Since | None = None, kinds: Iterable[EventKind] | None = None
    ) -> "Subscription":
        """Events of the tenant, for a backend that restarts and must miss none: at least once each."""

        async def make() -> AsyncSubscription:
            return self._client.subscribe(durable, since=since, kinds=kinds)

        thread = self._thread()
        return Subscription(thread, thread.call(make()))

    def unsubscribe(self, durable: str) -> bool:
        """Let the server forget a name given to `subscribe`; False if it does not know it."""
        return self._thread().call(self._client.unsubscribe(durable))

    def cancel(
        self, document_id: str, *, reason: str = "", revision: int | None = None, timeout: float | None = 10.0
    ) -> Record | None:
        """Take a document back; returns the record that ended it, None if no such document was handed in."""
        return self._thread().call(self._client.cancel(document_id, reason=reason, revision=revision, timeout=timeout))

    def get(self, document_id: str) -> Record | None:
        """The newest record of a document, None while there is none."""
        return self._thread().call(self._client.get(document_id))

    def text(self, document_id: str) -> tuple[TextLine, ...]:
        """The lines that the OCR stage read, in reading order; empty while it has not."""
        return self._thread().call(self._client.text(document_id))

    def workers(self) -> list[ModelPresence]:
        """Who serves which model now."""
        return self._thread().call(self._client.workers())

    def queue_depth(self, task: str, model: str) -> int:
        """Requests that wait for a model or are being worked on."""
        return self._thread().call(self._client.queue_depth(task, model))

    def _thread(self) -> LoopThread:
        if self._loop is None:
            raise RuntimeError("Not connected: use `with Billow() as billow`, or `billow.connect()`.")
        return self._loop


class Subscription:
    """As `billow.client.Subscription`, for one thread at a time."""

    def __init__(self, thread: LoopThread, subscription: AsyncSubscription) -> None:
        """Use `Billow.subscribe`."""
        self._thread = thread
        self._subscription = subscription

    def __enter__(self) -> Self:
        self._thread.call(self._subscription.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(done=kind is None)

    def __iter__(self) -> Iterator[DocumentEvent]:
        return self

    def __next__(self) -> DocumentEvent:
        """Acknowledges the event before. Raises StopIteration after `close`."""
        event = self._thread.call(_next_of(self._subscription))
        if event is None:
            raise StopIteration
        return event

    def close(self, *, done: bool = True) -> None:
        """End it here; the event in hand is done, or comes again. Safe to call twice, and from another thread."""
        self._thread.call(self._subscription.close(done=done))


async def _next_of(subscription: AsyncSubscription) -> DocumentEvent | None:
    try:
        return await anext(subscription)
    except StopAsyncIteration:
        return None


def _on_a_thread(on_result: OnResult) -> asynchronous.OnResult:
    async def called(record: Record) -> None:
        await asyncio.to_thread(on_result, record)

    return called


async def _read_on_threads(documents: Iterable[D]) -> AsyncGenerator[D]:
    """The iterable may block, e.g. where it lists a folder."""
    each = iter(documents)
    end: Any = object()
    while (document := await asyncio.to_thread(next, each, end)) is not end:
        yield document
