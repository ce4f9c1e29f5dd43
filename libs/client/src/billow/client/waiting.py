"""Waiting for records: in place, or by a callback."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import structlog

from billow.bus.outcome import Outcomes, OutcomeWatch
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_tasks
from billow.schemas.record import Record

log = structlog.get_logger()

OnResult = Callable[[Record], Awaitable[None] | None]
"""Gets a document's record once; a plain function must not block."""


class Waiting:
    """All waits of one client, who share their subscriptions."""

    def __init__(self, outcomes: Outcomes) -> None:
        """Nothing is sent yet."""
        self._outcomes = outcomes
        self._calls: set[asyncio.Task[None]] = set()

    def watch(self, document_id: str, revision: int) -> AbstractAsyncContextManager[OutcomeWatch]:
        """Hear of the outcome from before the document is handed in. Raises TransientError when NATS is away."""
        return self._outcomes.watch(document_id, revision)

    async def record(self, document_id: str, revision: int, timeout: float | None) -> Record:
        """As `Billow.result`."""
        async with self.watch(document_id, revision) as watch:
            return await watch.record(timeout)

    def call_back(self, document_id: str, revision: int, on_result: OnResult) -> None:
        """Call `on_result` once there is a record, unless `close` comes first."""
        task = asyncio.create_task(self._call(document_id, revision, on_result))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, document_id: str, revision: int, on_result: OnResult) -> None:
        try:
            record = await self.record(document_id, revision, None)
        except BillowError as e:
            log.warning("nobody waits for the result any more", document_id=document_id, reason=str(e))
            return
        try:
            called = on_result(record)
            if inspect.isawaitable(called):
                await called
        except Exception:
            log.exception("on_result failed", document_id=document_id)

    async def close(self) -> None:
        """Call nobody any more."""
        await end_tasks(self._calls)
