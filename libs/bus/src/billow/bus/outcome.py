# pyright: reportUnknownMemberType=false
"""Waiting for the event that ends a document's way."""

import asyncio
import contextlib
import time

import structlog
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.publish import events, find_event
from billow.runtime.errors import TransientError
from billow.schemas import subjects
from billow.schemas.events import Completed, Failed
from billow.schemas.record import Record

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 2.0


async def latest_record(bus: Bus, tenant: str, document_id: str, *, revision: int | None = None) -> Record | None:
    """The record that `completed` or `failed` carries, None while there is none; `revision` None takes the newest.

    Raises:
        TransientError: NATS does not answer.
    """
    records: list[Record] = []
    for type_ in (Completed, Failed):
        if revision is None:
            records += [event.record async for event in events(bus, type_, tenant, document_id)]
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
        self._seen = asyncio.Event()

    async def __aenter__(self) -> "OutcomeWatch":
        async def on_event(_: Msg) -> None:
            self._seen.set()

        with translated("subscribing to the outcome"):
            self._subscriptions = [
                await self._bus.client.subscribe(subjects.document(self._tenant, event, self._document_id), cb=on_event)
                for event in ("completed", "failed")
            ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for subscription in self._subscriptions:
            await self._bus.unsubscribe(subscription)

    async def record(self, timeout: float | None) -> Record:
        """Wait for the record; also when the connection is lost meanwhile.

        Raises:
            TimeoutError: no outcome within `timeout` seconds; the document goes on being processed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                found = await latest_record(self._bus, self._tenant, self._document_id, revision=self._revision)
            except TransientError as e:
                log.debug("cannot look for the outcome yet", reason=str(e))
                found = None
            if found is not None:
                return found
            left = _LOOK_AGAIN_SECONDS if until is None else min(_LOOK_AGAIN_SECONDS, until - time.monotonic())
            if left <= 0:
                raise TimeoutError(
                    f"Document {self._document_id} has no outcome after {timeout:g} s. It is not lost: ask again with "
                    f"`billow get {self._document_id}`, and see with `billow up` or the logs whether all workers run."
                )
            self._seen.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._seen.wait()
