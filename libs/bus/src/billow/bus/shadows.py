# pyright: reportUnknownMemberType=false
"""Shadow models: they get the same work, nobody waits for them, and what they made of it is compared and kept."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from nats.js import api

from billow.bus import headers
from billow.bus.agreement import agreement
from billow.bus.asking import Desk, Question
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.publish import publish
from billow.bus.topology import SHADOWS
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_tasks
from billow.schemas import codec, subjects
from billow.schemas.events import Event
from billow.schemas.inference import InferenceResult, Output, Payload
from billow.schemas.labels import Task
from billow.schemas.routing import Comparison

log = structlog.get_logger()

_WAIT_SECONDS = 60.0
_AT_ONCE = 16
"""Each holds its payload, up to some 1 MB; what comes beyond is not shadowed."""
_CLOSING_SECONDS = 3.0
_TAKE_BACK_SECONDS = 3.0
"""How long it may take at the end until the work of those that did not answer is out of the queues."""
_FETCHED = 500


class Shadows:
    """Has work done again by shadows in the background. Whatever goes wrong there is logged and hurts nobody."""

    def __init__(self, desk: Desk, *, wait: float = _WAIT_SECONDS, at_once: int = _AT_ONCE) -> None:
        """A shadow that has not answered within `wait` seconds is given up, its work taken out of the queue."""
        self._desk = desk
        self._wait = wait
        self._at_once = at_once
        self._running: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[None] | None = None
        self._closed = False

    def follow(
        self, event: Event, payload: Payload, task: Task, result: InferenceResult, shadows: Sequence[str]
    ) -> None:
        """Send the same payload to shadows, on the bulk lane, and compare what they make of it with `result`."""
        for shadow in shadows:
            if shadow == result.model or result.output is None or self._closed:
                continue
            if len(self._running) >= self._at_once:
                log.debug("too much in the shadows, passed over", model=shadow, document=event.document_id)
                continue
            running = asyncio.create_task(self._follow(event, payload, task, result, result.output, shadow))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give what is under way a few seconds, then give it up and take back its work. Safe to call twice."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=_CLOSING_SECONDS)
        end = self._given_up()
        if not end.done():
            end.set_result(None)
        if self._running:
            # Told, not cancelled: who is cancelled again and again has no time to ask a slow server.
            await asyncio.wait(self._running, timeout=_TAKE_BACK_SECONDS)
        await end_tasks(list(self._running))

    def _given_up(self) -> asyncio.Future[None]:
        """Done when nobody waits for shadows any more. Shared: do not cancel it."""
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
        return self._end

    async def _follow(
        self, event: Event, payload: Payload, task: Task, result: InferenceResult, output: Output, shadow: str
    ) -> None:
        question = Question(self._desk, event, payload, task=task, lane="bulk")
        answered = False
        try:
            await question.ask(shadow)
            started = time.monotonic()
            answer = await question.wait(self._wait, self._given_up())
            if answer is None:
                seconds = round(time.monotonic() - started, 1)
                log.info("a shadow did not answer", model=shadow, task=task, seconds=seconds)
                return
            answered = True
            comparison = await asyncio.to_thread(_compare, event, task, result, output, shadow, answer.result)
            await self._keep(comparison)
        except (BillowError, nats.errors.Error) as e:
            log.info("nothing from a shadow", model=shadow, task=task, reason=str(e))
        finally:
            with contextlib.suppress(nats.errors.Error):
                await question.close()
            if answered:
                question.settle(shadow)
            elif not self._desk.bus.client.is_closed:
                with contextlib.suppress(BillowError):
                    await question.take_back()

    async def _keep(self, comparison: Comparison) -> None:
        await publish(
            self._desk.bus,
            subjects.shadow(comparison.tenant, comparison.task, comparison.shadow),
            codec.encode(comparison),
            message_id=None,
            stream=SHADOWS.name,
            extra={headers.CONTENT_TYPE: codec.JSON},
        )


def _compare(
    event: Event, task: Task, used: InferenceResult, output: Output, shadow: str, result: InferenceResult
) -> Comparison:
    same = agreement(output, result.output) if result.output is not None else None
    return Comparison(
        tenant=event.tenant,
        document_id=event.document_id,
        revision=event.revision,
        run_id=event.run_id,
        task=task,
        model=used.model,
        shadow=shadow,
        occurred_at=datetime.now(UTC),
        agreement=same.agreement if same else None,
        similarity=same.similarity if same else None,
        run_ms=used.run_ms,
        shadow_run_ms=result.run_ms,
        output=result.output,
        error=result.error,
    )


async def comparisons(bus: Bus, task: Task) -> AsyncGenerator[Comparison]:
    """All comparisons of a task that are kept (30 days), the oldest first. What cannot be read is passed over.

    Raises:
        TransientError: NATS does not answer.
    """
    with translated("reading the shadows"):
        try:
            subscription = await bus.js.pull_subscribe(
                f"shadows.*.{task}.*",
                stream=SHADOWS.name,
                config=api.ConsumerConfig(
                    ack_policy=api.AckPolicy.NONE,
                    deliver_policy=api.DeliverPolicy.ALL,
                    inactive_threshold=30,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
        except nats.js.errors.NotFoundError:
            return
        info = await subscription.consumer_info()
        left = info.num_pending or 0
    try:
        while left > 0:
            with translated("reading the shadows"):
                messages = await subscription.fetch(min(left, _FETCHED), timeout=5)
            left -= len(messages)
            for message in messages:
                with contextlib.suppress(codec.CodecError):
                    yield codec.decode(message.data, Comparison, (message.headers or {}).get(headers.CONTENT_TYPE))
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
