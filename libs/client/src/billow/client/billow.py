"""The client: puts the original into the bucket, publishes `submitted`, waits for the outcome."""

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Self

from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.outcome import OutcomeWatch, latest_record
from billow.bus.presence import present_workers, queue_depth
from billow.bus.provision import provision
from billow.bus.publish import find_event, latest_event, publish_event
from billow.client.settings import ClientSettings
from billow.runtime.errors import PermanentError, StackUnreachableError, TransientError
from billow.schemas.events import Cancelled, ImageRef, Recognized, Submitted, event_id
from billow.schemas.geometry import TextLine
from billow.schemas.labels import Kind, Lane
from billow.schemas.presence import ModelPresence
from billow.schemas.record import Record
from billow.schemas.subjects import original_key
from billow.schemas.tokens import check_token

DEFAULT_URL = "nats://127.0.0.1:4222"
_REASON_LENGTH = 1024


class Billow:
    """One connection for as many documents as you like; safe to share between tasks of one event loop."""

    def __init__(self, url: str | None = None, *, tenant: str | None = None, domain: str | None = None) -> None:
        """What is not given comes from `BILLOW_NATS_URL`, `BILLOW_TENANT` and `BILLOW_NATS_DOMAIN`.

        Raises:
            ValueError: `tenant` is not a token (a-z, 0-9, '_', '-').
        """
        settings = ClientSettings.from_environment()
        self.url = url or settings.nats_url or DEFAULT_URL
        self.tenant = check_token(tenant or settings.tenant, "tenant")
        self._domain = domain or settings.nats_domain or None
        self._max_bytes = settings.max_bytes
        self._bus: Bus | None = None
        self._images: ImageStore | None = None

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
        self._bus, self._images = bus, ImageStore(bus.client, bus.domain)
        return self

    async def close(self) -> None:
        """Disconnect. Documents on their way go on."""
        if self._bus is not None:
            await self._bus.close()
            self._bus = None

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def submit(
        self,
        data: bytes,
        *,
        source: str = "",
        document_id: str | None = None,
        revision: int = 1,
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "interactive",
        deadline: datetime | None = None,
    ) -> str:
        """Hand in a photo or PDF; returns its document id once it is safely stored.

        With a `document_id` of your own (a token) handing in the same again changes nothing; a higher `revision` is
        worked on anew.

        Raises:
            BusyError: the system is full; nothing was accepted. Try again after `delay` seconds.
            TransientError: no acknowledgement; with the same `document_id` it is safe to try again.
            PermanentError: code `file_too_large`; or `document_exists`, when other bytes were handed in under this
                `document_id` and `revision` before.
            ValueError: `document_id` is not a token.
        """
        bus, images = self._connected()
        if len(data) > self._max_bytes:
            raise PermanentError(
                f"The file has {len(data):,} bytes, {self._max_bytes:,} are allowed. Send a smaller one, or raise "
                "BILLOW_MAX_BYTES here and for the OCR service.",
                code="file_too_large",
            )
        if document_id is not None:
            await self._refuse_other_bytes(check_token(document_id, "document_id"), revision, data)
        document_id = document_id or secrets.token_hex(12)
        key = original_key(document_id, revision)
        info = await images.put(self.tenant, key, data)
        await publish_event(
            bus,
            Submitted(
                tenant=self.tenant,
                document_id=document_id,
                event_id=event_id("submitted", document_id, revision),
                occurred_at=datetime.now(UTC),
                revision=revision,
                deadline=deadline,
                image=ImageRef(key=key, sha256=info.sha256, size=info.size),
                source=source,
                kind=kind,
                language=language,
                lane=lane,
            ),
        )
        return document_id

    async def result(self, document_id: str, *, revision: int = 1, timeout: float | None = None) -> Record:
        """Wait for the record of a submitted document; one that failed or was cancelled says why in `record.error`.

        Raises:
            TimeoutError: nothing within `timeout` seconds; the document goes on being processed.
        """
        bus, _ = self._connected()
        async with OutcomeWatch(bus, self.tenant, document_id, revision) as watch:
            return await watch.record(timeout)

    async def extract(
        self,
        data: bytes,
        *,
        source: str = "",
        kind: Kind | None = None,
        language: str | None = None,
        lane: Lane = "interactive",
        timeout: float | None = None,
    ) -> Record:
        """`submit` and `result` in one. Raises what they raise."""
        bus, _ = self._connected()
        document_id = secrets.token_hex(12)
        async with OutcomeWatch(bus, self.tenant, document_id, 1) as watch:
            await self.submit(data, source=source, document_id=document_id, kind=kind, language=language, lane=lane)
            return await watch.record(timeout)

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
        if len(reason) > _REASON_LENGTH:
            raise ValueError(f"the reason has {len(reason):,} characters, {_REASON_LENGTH:,} are allowed")
        bus, _ = self._connected()
        submitted = await self._submission(check_token(document_id, "document_id"), revision)
        if submitted is None:
            return None
        event = Cancelled(
            tenant=self.tenant,
            document_id=document_id,
            event_id=event_id("cancelled", document_id, submitted.revision),
            occurred_at=datetime.now(UTC),
            revision=submitted.revision,
            reason=reason,
        )
        async with OutcomeWatch(bus, self.tenant, document_id, event.revision) as watch:
            record = await latest_record(bus, self.tenant, document_id, revision=event.revision)
            if record is not None:
                return record
            await publish_event(bus, event)
            await announce(bus, event)
            try:
                return await watch.record(timeout)
            except TimeoutError as e:
                raise TimeoutError(
                    f"Document {document_id} is cancelled, but nothing recorded it within {timeout:g} s. See whether "
                    f"the receipt service runs, and ask again with `billow get {document_id}`."
                ) from e

    async def get(self, document_id: str) -> Record | None:
        """The newest record of a document, None while there is none.

        Raises:
            TransientError: NATS does not answer.
            ValueError: `document_id` is not a token.
        """
        bus, _ = self._connected()
        return await latest_record(bus, self.tenant, document_id)

    async def text(self, document_id: str) -> tuple[TextLine, ...]:
        """The lines that the OCR stage read, in reading order; empty while it has not.

        Raises:
            TransientError: NATS does not answer.
        """
        bus, _ = self._connected()
        event = await latest_event(bus, Recognized, self.tenant, document_id)
        return event.lines if event is not None else ()

    async def workers(self) -> list[ModelPresence]:
        """Who serves which model now.

        Raises:
            TransientError: NATS does not answer.
        """
        bus, _ = self._connected()
        return await present_workers(bus)

    async def queue_depth(self, task: str, model: str) -> int:
        """Requests that wait for a model or are being worked on.

        Raises:
            TransientError: NATS does not answer.
        """
        bus, _ = self._connected()
        return await queue_depth(bus, task, model)

    async def _submission(self, document_id: str, revision: int | None) -> Submitted | None:
        bus, _ = self._connected()
        if revision is None:
            return await latest_event(bus, Submitted, self.tenant, document_id)
        return await find_event(bus, Submitted, self.tenant, document_id, revision)

    async def _refuse_other_bytes(self, document_id: str, revision: int, data: bytes) -> None:
        """The same again changes nothing; something else under the same name would spoil what is being worked on."""
        bus, _ = self._connected()
        before = await latest_event(bus, Submitted, self.tenant, document_id)
        if before is None or before.revision != revision or before.image.sha256 is None:
            return
        if (await asyncio.to_thread(hashlib.sha256, data)).hexdigest() != before.image.sha256:
            raise PermanentError(
                f"Document {document_id} was handed in before with other content. Give it a higher revision than "
                f"{revision}, or another id.",
                code="document_exists",
            )

    def _connected(self) -> tuple[Bus, ImageStore]:
        if self._bus is None or self._images is None:
            raise RuntimeError("Not connected: use `async with Billow() as billow`, or `await billow.connect()`.")
        return self._bus, self._images
