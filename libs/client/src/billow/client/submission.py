"""Handing in: the original into the bucket, then the event that speaks of it."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from billow.bus.admission import Admission
from billow.bus.connection import Bus
from billow.bus.faults import BusyError
from billow.bus.images import ImageStore
from billow.bus.publish import find_event, publish_event
from billow.runtime.errors import PermanentError, TransientError
from billow.runtime.tasks import end_task
from billow.schemas import codec
from billow.schemas.events import ImageRef, Submitted, event_id
from billow.schemas.labels import Kind, Lane
from billow.schemas.subjects import original_key
from billow.schemas.tokens import check_token

T = TypeVar("T")

_GRACE_SECONDS = 1.0
"""For an answer after a reconnect; then the question was lost with the old connection and is asked again."""
_LONGEST_PAUSE = 2.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for one document; `Billow.submit` explains."""

    source: str = ""
    document_id: str | None = None
    idempotency_key: str | None = None
    revision: int = 1
    kind: Kind | None = None
    language: str | None = None
    lane: Lane = "interactive"
    deadline: datetime | None = None

    @property
    def is_named(self) -> bool:
        """Whether somebody else may hand in something under the same id."""
        return self.document_id is not None or self.idempotency_key is not None

    def name_for(self, tenant: str) -> str:
        """Its document id: the one given, the one that follows from the key, or a new one.

        Raises:
            ValueError: both are given, the id is no token, or the key is empty.
        """
        if self.idempotency_key is not None:
            if self.document_id is not None:
                raise ValueError("give either document_id or idempotency_key: the key decides the id")
            return document_id_of(tenant, self.idempotency_key)
        if self.document_id is not None:
            return check_token(self.document_id, "document_id")
        return secrets.token_hex(12)


def document_id_of(tenant: str, idempotency_key: str) -> str:
    """The id of the one document that belongs to a caller's key; the same in every process and at any time.

    Raises:
        ValueError: the key is empty.
    """
    if not idempotency_key:
        raise ValueError("the idempotency key is empty")
    digest = hashlib.sha256(f"{tenant}\0{idempotency_key}".encode("utf-8", "surrogatepass"))
    return f"key-{digest.hexdigest()[:40]}"


class Submissions:
    """Hands in the documents of one tenant."""

    def __init__(self, bus: Bus, images: ImageStore, tenant: str, *, patience: float) -> None:
        """`patience`: seconds to go on trying while NATS does not answer."""
        self._bus = bus
        self._images = images
        self._tenant = tenant
        self._patience = patience
        self._admission = Admission(bus)

    async def submit(self, document_id: str, data: bytes, order: Order) -> None:
        """Returns once it is safely stored. Handing in the same again changes nothing.

        Raises:
            ValueError: the order has a value that no service would understand; nothing was stored.
            BusyError: the system is full, or the tenant's rate is used up; nothing was accepted.
            TransientError: NATS did not answer in time; it is safe to try again with the same id.
            PermanentError: `document_exists`, or the server refuses.
        """
        sha256 = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        admitted = False

        async def hand_in() -> None:
            nonlocal admitted
            if await self._is_known(document_id, sha256, order):
                return
            if not admitted:
                await self._admission.admit(self._tenant)
                admitted = True
            await self._hand_in(document_id, data, sha256, order)

        await self._patiently(hand_in)

    async def close(self) -> None:
        """Look no more whether there is room. Safe to call twice."""
        await self._admission.close()

    async def _is_known(self, document_id: str, sha256: str, order: Order) -> bool:
        """Whether nothing is left to do, as the same was handed in under its key before."""
        if not order.is_named:
            return False
        before = await self._submitted(document_id, order.revision)
        if before is not None:
            self._refuse_other_bytes(before, sha256)
        return before is not None and order.idempotency_key is not None

    async def _hand_in(self, document_id: str, data: bytes, sha256: str, order: Order) -> None:
        key = original_key(document_id, order.revision)
        if order.idempotency_key is not None:
            # Of two that hand in different bytes at once, neither may replace what the other's event speaks of.
            key = f"{key}-{sha256[:16]}"
        event = _event(self._tenant, document_id, order, ImageRef(key=key, sha256=sha256, size=len(data)))
        await self._images.put(self._tenant, key, data)
        await publish_event(self._bus, event)
        if order.is_named and (stated := await self._submitted(document_id, order.revision)) is not None:
            self._refuse_other_bytes(stated, sha256)

    async def _submitted(self, document_id: str, revision: int) -> Submitted | None:
        return await find_event(self._bus, Submitted, self._tenant, document_id, revision)

    @staticmethod
    def _refuse_other_bytes(before: Submitted, sha256: str) -> None:
        """The same again changes nothing; something else under the same name would spoil what is being worked on."""
        if before.image.sha256 not in {None, sha256}:
            raise PermanentError(
                f"Document {before.document_id} was handed in before with other content. Give it a higher revision "
                f"than {before.revision}, or another id or key.",
                code="document_exists",
            )

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do idempotent `work`, and again while NATS does not answer."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return await self._once(work)
            except BusyError:
                raise
            except TransientError as e:
                if (broken := self._bus.broken) is not None:
                    raise broken from e
                left = until - time.monotonic()
                if left <= 0:
                    raise TransientError(
                        f"The document was not handed in, as far as we know: {e}. Try again with the same document_id "
                        "or idempotency_key: it cannot become two.",
                        delay=e.delay,
                    ) from e
                await asyncio.sleep(min(e.delay, _LONGEST_PAUSE, left))

    async def _once(self, work: Callable[[], Awaitable[T]]) -> T:
        """Whoever asked over a connection that was lost need not wait for the whole time-out."""
        reconnected = asyncio.Event()
        forget = self._bus.on_reconnect(reconnected.set)
        working = asyncio.ensure_future(work())
        waiting = asyncio.ensure_future(reconnected.wait())
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=_GRACE_SECONDS)
            if not working.done():
                raise TransientError("the connection to NATS was lost and is back", delay=0)
            return working.result()
        finally:
            forget()
            waiting.cancel()
            await end_task(working)


def _event(tenant: str, document_id: str, order: Order, image: ImageRef) -> Submitted:
    """The event, once it is sure that it can be read again. Raises ValueError."""
    event = Submitted(
        tenant=tenant,
        document_id=document_id,
        event_id=event_id("submitted", document_id, order.revision),
        occurred_at=datetime.now(UTC),
        revision=order.revision,
        deadline=order.deadline,
        image=image,
        source=order.source,
        kind=order.kind,
        language=order.language,
        lane=order.lane,
    )
    try:
        return codec.decode(codec.encode(event), Submitted)
    except ValueError as e:
        # A CodecError too, and text that is no UTF-8.
        raise ValueError(f"This cannot be handed in: {e}") from e
