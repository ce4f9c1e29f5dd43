"""The client: puts the original into the bucket, publishes `submitted`, waits for the outcome."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple, Self, TypeVar

import msgspec

from billow.bus.connection import Bus
from billow.bus.feed import delete_feed
from billow.bus.images import ImageStore
from billow.bus.outcome import Outcomes, latest_record
from billow.bus.presence import present_workers, queue_depth
from billow.bus.provision import provision
from billow.bus.publish import latest_event
from billow.client.batch import Batch, BatchResult, OnProgress, Patiently
from billow.client.cancelling import cancel
from billow.client.events import EventKind, Events, Since, Subscription, make_subscription
from billow.client.settings import ClientSettings
from billow.client.sources import Document, read
from billow.client.submission import Order, Submissions
from billow.client.url import UrlRules
from billow.client.waiting import OnResult, Waiting
from billow.runtime.errors import PermanentError, StackUnreachableError, TransientError
from billow.runtime.logs import logs_to_stderr
from billow.schemas.events import DocumentEvent, Recognized
from billow.schemas.geometry import TextLine
from billow.schemas.labels import Kind, Lane
from billow.schemas.presence import ModelPresence
from billow.schemas.record import Record
from billow.schemas.tokens import check_token

D = TypeVar("D", bound=Document)

DEFAULT_URL = "nats://127.0.0.1:4222"


class _Parts(NamedTuple):
    """What there is while connected."""

    bus: Bus
    submissions: Submissions
    waiting: Waiting
    events: Events


class Billow:
    """One connection for as many documents as you like; safe to share between tasks of one event loop."""

    def __init__(
        self,
        url: str | None = None,
        *,
        tenant: str | None = None,
        domain: str | None = None,
        patience: float | None = None,
    ) -> None:
        """What is not given comes from `BILLOW_NATS_URL`, `_TENANT`, `_NATS_DOMAIN` and `BILLOW_PATIENCE`.

        Args:
            url: servers, separated by commas.
            tenant: whose documents these are.
            domain: JetStream domain of the hub, needed behind a leaf node.
            patience: seconds that `submit` goes on trying while NATS does not answer.

        Raises:
            ValueError: `tenant` is not a token (a-z, 0-9, '_', '-').
        """
        logs_to_stderr()
        settings = ClientSettings.from_environment()
        self.url = url or settings.nats_url or DEFAULT_URL
        self.tenant = check_token(tenant or settings.tenant, "tenant")
        self._domain = domain or settings.nats_domain or None
        self._max_bytes = settings.max_bytes
        self._patience = settings.patience if patience is None else patience
        self._url_rules = UrlRules(settings.url_timeout, settings.url_allow_private)
        self._parts: _Parts | None = None

    async def connect(self, *, timeout: float = 5.0) -> Self:
        """Connect and make sure that the streams exist.

        Raises:
            StackUnreachableError: no server answered within `timeout` seconds, or none that has JetStream.
        """
        bus = await Bus.connect(self.url, name="client", domain=self._domain, timeout=timeout)
        try:
            await provision(bus)
        except BaseException as e:
            await bus.close()
            if isinstance(e, TransientError | PermanentError):
                raise StackUnreachableError(
                    f"NATS at {self.url} answers, but not as Billow needs it ({e}). Is JetStream enabled there?"
                ) from e
            raise
        self._parts = _Parts(
            bus,
            Submissions(bus, ImageStore(bus.client, bus.domain), self.tenant, patience=self._patience),
            Waiting(Outcomes(bus, self.tenant)),
            Events(bus, self.tenant),
        )
        return self

    async def close(self) -> None:
        """Disconnect. Documents on their way go on."""
        if self._parts is not None:
            parts, self._parts = self._parts, None
            await parts.waiting.close()
            await parts.submissions.close()
            await parts.bus.close()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def submit(
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
        """Hand in a photo or PDF; returns its document id once it is safely stored.

        While NATS is away this waits, up to `patience` seconds.

        Args:
            document: bytes, a path, an http(s) URL, a file object, or an async iterable of bytes. Read or fetched once.
                A URL must lead to a public address unless `BILLOW_URL_ALLOW_PRIVATE` is set.
            source: what people call it; the path or URL unless given.
            document_id: a token of your own. Handing in the same again changes nothing; a higher `revision` is worked
                on anew.
            idempotency_key: any text of your own, such as a message id. All that is handed in under it is one document,
                from whichever process and however late; its id follows from tenant and key.
            revision: 1 and up.
            kind: what it is, if you know.
            language: ISO 639-1, if you know.
            lane: `bulk` waits behind `interactive`.
            deadline: after this nobody wants the result any more.
            on_result: called with the record once there is one, as long as this client is connected.

        Raises:
            BusyError: the system is full, or the tenant's rate is used up; nothing was accepted. Try again after
                `delay` seconds.
            TransientError: no acknowledgement, or the URL does not answer; with the same `document_id` or key it is
                safe to try again.
            PermanentError: code `file_too_large`; one of the `url_...` codes; or `document_exists`, when other bytes
                were handed in under this id or key and `revision` before.
            OSError: the file cannot be read.
            ValueError: `document_id` is not a token, the key is empty, or a value does not fit: a deadline without a
                zone, an unknown kind or lane, a revision under 1, a source of more than 1,024 characters.
        """
        order = Order(
            source=source,
            document_id=document_id,
            idempotency_key=idempotency_key,
            revision=revision,
            kind=kind,
            language=language,
            lane=lane,
            deadline=deadline,
        )
        parts = self._connected()
        name = await self._submit(parts, document, order, order.name_for(self.tenant))
        if on_result is not None:
            parts.waiting.call_back(name, revision, on_result)
        return name

    async def result(self, document_id: str, *, revision: int = 1, timeout: float | None = None) -> Record:
        """Wait for the record of a submitted document; one that failed or was cancelled says why in `record.error`.

        Thousands may wait at once: they share two subscriptions.

        Raises:
            TimeoutError: nothing within `timeout` seconds; the document goes on being processed.
            TransientError: NATS does not answer at the beginning; later it is waited for.
            ValueError: `document_id` is not a token.
        """
        return await self._connected().waiting.record(check_token(document_id, "document_id"), revision, timeout)

    async def extract(
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
        """`submit` and `result` in one. Raises what they raise."""
        order = Order(
            source=source,
            idempotency_key=idempotency_key,
            kind=kind,
            language=language,
            lane=lane,
            deadline=deadline,
        )
        parts = self._connected()
        name = order.name_for(self.tenant)
        async with parts.waiting.watch(name, order.revision) as watch:
            await self._submit(parts, document, order, name)
            return await watch.record(timeout)

    async def batch(
        self,
        documents: Iterable[D] | AsyncIterable[D],
        *,
        concurrency: int = 8,
        idempotency_key: Callable[[D], str] | None = None,
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "bulk",
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> AsyncGenerator[BatchResult[D]]:
        """Extract many documents, `concurrency` at a time; results come as they are ready, not in order.

        One that fails does not end the others: its result has the `error`. While the system is full, it waits as long
        as that says (30 s at most) and tries again. The iterable is read as there is room.

        Args:
            documents: each as for `submit`.
            concurrency: documents on their way at once.
            idempotency_key: gives the key of each, so that a batch that is run again works nothing out twice.
            kind: what they are, if you know.
            language: ISO 639-1, if you know.
            lane: `bulk` lets single documents of others pass.
            timeout: seconds to wait for each record.
            on_progress: called at each step; must not block.

        Raises:
            ValueError: `concurrency` is less than 1.
        """

        parts = self._connected()

        async def one(document: D, patiently: Patiently) -> Record:
            key = idempotency_key(document) if idempotency_key is not None else None
            order = Order(idempotency_key=key, kind=kind, language=language, lane=lane)
            name = order.name_for(self.tenant)
            async with parts.waiting.watch(name, order.revision) as watch:
                data, order = await self._read(document, order)
                await patiently(lambda: parts.submissions.submit(name, data, order))
                return await watch.record(timeout)

        run = Batch(one, concurrency=concurrency, on_progress=on_progress).run(documents)
        async with aclosing(run) as results:
            async for result in results:
                yield result

    async def events(
        self,
        document_id: str | None = None,
        *,
        since: Since | None = None,
        kinds: Iterable[EventKind] | None = None,
        follow: bool = True,
    ) -> AsyncGenerator[DocumentEvent]:
        """What happened and happens, in the order of the stream and each event once, also over lost connections.

        Of one document: from its beginning until it has ended, i.e. its newest revision has completed, failed or was
        cancelled, or it was erased. Of the tenant: from `since` or else from now on, without end. The server keeps no
        place for you: see `subscribe` for a backend that must miss nothing while it is away.

        Args:
            document_id: None for all of the tenant.
            since: not what happened before; a time, or how long ago.
            kinds: only these events.
            follow: False ends with what there is now; of the tenant, without `since`, from the beginning.

        Raises:
            TransientError: NATS does not answer at the beginning; later it is waited for.
            ValueError: a bad token, an unknown kind, or a time without a zone.
        """
        parts = self._connected()
        if document_id is None:
            found = parts.events.of_tenant(since=since, kinds=kinds, follow=follow)
        else:
            found = parts.events.of_document(document_id, since=since, kinds=kinds, follow=follow)
        async with aclosing(found) as events:
            async for event in events:
                yield event

    def subscribe(
        self, durable: str, *, since: Since | None = None, kinds: Iterable[EventKind] | None = None
    ) -> Subscription:
        """Events of the tenant, for a backend that restarts and must miss none: at least once each.

        Args:
            durable: a name (token) of your own under which the server remembers how far you have come. Kept for ever;
                see `unsubscribe`.
            since: where a new name begins; from now on if not given. Without meaning for a name that is known.
            kinds: only these events.

        Raises:
            ValueError: a bad token, an unknown kind, or a time without a zone.
        """
        return make_subscription(self._connected().bus, self.tenant, durable, since=since, kinds=kinds)

    async def unsubscribe(self, durable: str) -> bool:
        """Let the server forget a name given to `subscribe`; False if it does not know it.

        Raises:
            TransientError: NATS does not answer.
            ValueError: `durable` is not a token.
        """
        return await delete_feed(self._connected().bus, self.tenant, durable)

    async def cancel(
        self, document_id: str, *, reason: str = "", revision: int | None = None, timeout: float | None = 10.0
    ) -> Record | None:
        """Take a document back; returns the record that ended it, None if no such document was handed in.

        What is not done yet is not done any more, and `result` returns. Where the document ended before, nothing
        changes: the status of the record says what became of it. Cancelling again is safe. A higher revision of the
        document may be submitted before and after.

        Args:
            document_id: what `submit` returned.
            reason: for a person; at most 1,024 characters, ends up in `record.error`.
            revision: the one handed in last, unless given.
            timeout: seconds to wait for the record.

        Raises:
            TimeoutError: no record within `timeout` seconds; the document is cancelled all the same.
            TransientError: NATS does not answer; it is safe to try again.
            ValueError: `document_id` is not a token, or `reason` is too long.
        """
        parts = self._connected()
        return await cancel(parts.bus, parts.waiting, self.tenant, document_id, reason, revision, timeout)

    async def get(self, document_id: str) -> Record | None:
        """The newest record of a document, None while there is none.

        Raises:
            TransientError: NATS does not answer.
            ValueError: `document_id` is not a token.
        """
        return await latest_record(self._connected().bus, self.tenant, document_id)

    async def text(self, document_id: str) -> tuple[TextLine, ...]:
        """The lines that the OCR stage read, in reading order; empty while it has not.

        Raises:
            TransientError: NATS does not answer.
        """
        event = await latest_event(self._connected().bus, Recognized, self.tenant, document_id)
        return event.lines if event is not None else ()

    async def workers(self) -> list[ModelPresence]:
        """Who serves which model now.

        Raises:
            TransientError: NATS does not answer.
        """
        return await present_workers(self._connected().bus)

    async def queue_depth(self, task: str, model: str) -> int:
        """Requests that wait for a model or are being worked on.

        Raises:
            TransientError: NATS does not answer.
        """
        return await queue_depth(self._connected().bus, task, model)

    async def _submit(self, parts: _Parts, document: Document, order: Order, name: str) -> str:
        data, order = await self._read(document, order)
        await parts.submissions.submit(name, data, order)
        return name

    async def _read(self, document: Document, order: Order) -> tuple[bytes, Order]:
        original = await read(document, max_bytes=self._max_bytes, url_rules=self._url_rules)
        return original.data, msgspec.structs.replace(order, source=order.source or original.name)

    def _connected(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("Not connected: use `async with Billow() as billow`, or `await billow.connect()`.")
        return self._parts
