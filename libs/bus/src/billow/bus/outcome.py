# pyright: reportUnknownMemberType=false
"""Waiting for the event that ends a document's way."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.publish import events, find_event
from billow.runtime.errors import TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Completed, Failed
from billow.schemas.record import Record

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 2.0
_LOOK_AT_LEAST_SECONDS = 30.0
"""Looking costs the server two reads, and hardly anything is missed: after a lost connection we look at once. So the
longer a document takes, the more rarely we look."""


async def latest_record(bus: Bus, tenant: str, document_id: str, *, revision: int | None = None) -> Record | None:
    """The record that `completed` or `failed` carries, None while there is none; `revision` None takes the newest.

    `failed` also carries the record of a document that was cancelled; its status says so.

    Raises:
        TransientError: NATS does not answer.
    """
    records: list[Record] = []
    for type_ in (Completed, Failed):
        if revision is None:
            records += [event.record async for event in events(bus, type_, tenant, document_id) if event.run_id is None]
        elif (event := await find_event(bus, type_, tenant, document_id, revision)) is not None:
            records.append(event.record)
    # A completed record outranks a failed one of the same revision, as it does in the database.
    return max(records, key=lambda record: (record.revision, record.status == "completed"), default=None)


class OutcomeWatch:
    """Listens for the outcome of one document from before it is submitted, so that nothing passes unseen."""

    def __init__(self, bus: Bus, tenant: str, document_id: str, revision: int) -> None:
        self._bus = bus
        self._tenant = tenant
        self._document_id = document_id
        self._revision = revision
        self._record: Record | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "OutcomeWatch":
        self._forget_listener = self._bus.on_reconnect(self._changed.set)
        try:
            with translated("subscribing to the outcome"):
                self._subscriptions = [
                    await self._bus.client.subscribe(
                        subjects.document(self._tenant, EVENT_NAMES[type_], self._document_id), cb=self._listener(type_)
                    )
                    for type_ in (Completed, Failed)
                ]
        except BaseException:
            self._forget_listener()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forget_listener()
        for subscription in self._subscriptions:
            await self._bus.unsubscribe(subscription)

    def _listener(self, type_: type[Completed | Failed]) -> Callable[[Msg], Awaitable[None]]:
        async def on_event(message: Msg) -> None:
            fields = message.headers or {}
            with contextlib.suppress(codec.CodecError):
                event = codec.decode(message.data, type_, fields.get(headers.CONTENT_TYPE))
                if (event.revision, event.run_id) == (self._revision, None):
                    self._record = event.record
                    self._changed.set()

        return on_event

    async def record(self, timeout: float | None) -> Record:
        """Wait for the record; also when the connection is lost meanwhile.

        Raises:
            TimeoutError: no outcome within `timeout` seconds; the document goes on being processed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause = _LOOK_AGAIN_SECONDS
        while True:
            self._changed.clear()
            try:
                found = self._record or await self._look()
            except TransientError as e:
                log.debug("cannot look for the outcome yet", reason=str(e))
                found, pause = None, _LOOK_AGAIN_SECONDS
            if found is not None:
                return found
            left = pause if until is None else min(pause, until - time.monotonic())
            if left <= 0:
                raise TimeoutError(
                    f"Document {self._document_id} has no outcome after {timeout:g} s. It is not lost: ask again with "
                    f"`billow get {self._document_id}`, and see with `billow up` or the logs whether all workers run."
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
            pause = min(2 * pause, _LOOK_AT_LEAST_SECONDS)

    async def _look(self) -> Record | None:
        return await latest_record(self._bus, self._tenant, self._document_id, revision=self._revision)
