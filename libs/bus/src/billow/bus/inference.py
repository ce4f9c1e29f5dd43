"""The caller's side of an inference: ask a model, wait for its answer, and never ask twice for the same."""

import asyncio
import hashlib
import time
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import BusyError, translated
from billow.bus.patience import Patience
from billow.bus.publish import publish
from billow.bus.topology import INFERENCE, RESULTS
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import Event
from billow.schemas.inference import InferenceResult, InferenceWork, Payload
from billow.schemas.labels import Lane, Task

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 3.0
_REMEMBERED = 10_000


class InferenceClient:
    """Asks models for one service. Keep one a process: it remembers which work still waits in the queue."""

    def __init__(self, bus: Bus, *, wait: float = 20.0, retry_delay: float = 10.0) -> None:
        """A call that is not answered within `wait` seconds gives up its slot for `retry_delay` seconds or more.

        The next calls to that model give up at once, until it answers one.
        """
        self._bus = bus
        self._wait = wait
        self._patience = Patience(wait, retry_delay)
        self._queued: dict[str, int] = {}

    async def still_waiting(self, event: Event) -> None:
        """The first step with an event that was delivered before, so that waiting for an absent model costs no work.

        Raises:
            TransientError: the model that this document waited for last is still silent.
        """
        awaited = self._patience.awaited(event)
        if awaited is None:
            return
        queue, subject = awaited
        if await self._look(subject) is not None:
            self._patience.answered(queue, event)
        elif self._patience.is_silent(queue):
            raise self._no_answer(queue, event, subject, waited=0)

    async def call(
        self, event: Event, payload: Payload, *, task: Task, model: str, lane: Lane, again: bool
    ) -> InferenceResult:
        """Have `payload` worked on by `model` on behalf of the document of `event`.

        Idempotent: the request id is made from document, run, model and payload, so a repeated call (`again`: the
        event was delivered before) finds the answer of the first, or goes on waiting for it.

        Raises:
            TransientError: no worker answered in time, or the queue is full.
            PermanentError: the model cannot work on this; the worker's code and message.
        """
        body = codec.encode(payload, codec.MSGPACK)
        request_id = _request_id(event, model, body)
        subject = subjects.result(event.tenant, task, request_id)
        queue = f"{model}.{lane}"
        result = await self._look(subject) if again else None
        if result is None:
            work = InferenceWork(
                request_id=request_id,
                tenant=event.tenant,
                document_id=event.document_id,
                model=model,
                lane=lane,
                payload=payload,
                sent_at=datetime.now(UTC),
                deadline=event.deadline,
                run_id=event.run_id,
            )
            wait = self._patience.limit(queue)
            try:
                result = await self._ask(work, task, subject, wait)
            except BusyError as e:
                e.delay = self._patience.gave_up(queue, event, subject, waited=self._wait)
                raise
            if result is None:
                raise self._no_answer(queue, event, subject, waited=wait)
        self._patience.answered(queue, event)
        self._queued.pop(request_id, None)
        if result.error is not None:
            raise PermanentError(result.error.message, code=result.error.code, retryable=result.error.retryable)
        return result

    async def _ask(self, work: InferenceWork, task: Task, subject: str, wait: float) -> InferenceResult | None:
        answered: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()

        async def on_answer(message: Msg) -> None:
            if answered.done():
                return
            try:
                answered.set_result(_decode(message.data))
            except PermanentError as e:
                answered.set_exception(e)

        # Subscribed before the work is out, so that no answer can pass unseen.
        with translated(f"subscribing to {subject}"):
            subscription = await self._bus.client.subscribe(subject, cb=on_answer)  # pyright: ignore[reportUnknownMemberType]
        try:
            if not await self._still_queued(work.request_id):
                await self._send(work, task)
            return await self._await_answer(answered, subject, wait)
        finally:
            await self._bus.unsubscribe(subscription)

    async def _await_answer(
        self, answered: asyncio.Future[InferenceResult], subject: str, wait: float
    ) -> InferenceResult | None:
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            await asyncio.wait({answered}, timeout=min(left, _LOOK_AGAIN_SECONDS))
            # An answer that came while the connection was down is in the stream all the same.
            found = answered.result() if answered.done() else await self._look(subject)
            if found is not None:
                return found
        return None

    def _no_answer(self, queue: str, event: Event, subject: str, *, waited: float) -> TransientError:
        model = queue.partition(".")[0]
        return TransientError(
            f"No worker answered for model {model} within {self._wait:g} s; the document waits. "
            f"Start one with `billow worker {model}`.",
            delay=self._patience.gave_up(queue, event, subject, waited=waited),
        )

    async def _send(self, work: InferenceWork, task: Task) -> None:
        subject = subjects.inference(task, work.model, work.lane, work.tenant)
        # A work queue drops a repeated id even after the first was done, so each sending has an id of its own.
        sending = f"{work.request_id}.{time.time_ns()}"
        sequence = await publish(
            self._bus,
            subject,
            codec.encode(work, codec.MSGPACK),
            message_id=sending,
            stream=INFERENCE.name,
            extra={headers.CONTENT_TYPE: codec.MSGPACK},
        )
        self._queued[work.request_id] = sequence
        while len(self._queued) > _REMEMBERED:
            self._queued.pop(next(iter(self._queued)))

    async def _still_queued(self, request_id: str) -> bool:
        sequence = self._queued.get(request_id)
        if sequence is None:
            return False
        try:
            with translated("looking for queued work"):
                await self._bus.js.get_msg(INFERENCE.name, seq=sequence, direct=True)
        except TransientError as e:
            if isinstance(e.__cause__, nats.js.errors.NotFoundError):
                return False
            raise
        except PermanentError:
            return False
        return True

    async def _look(self, subject: str) -> InferenceResult | None:
        if not self._bus.client.is_connected:
            return None
        try:
            message = await self._bus.js.get_last_msg(RESULTS.name, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as e:
            log.debug("cannot look for a result", subject=subject, reason=repr(e))
            return None
        return _decode(message.data or b"")


def _decode(data: bytes) -> InferenceResult:
    try:
        return codec.decode(data, InferenceResult, codec.MSGPACK)
    except codec.CodecError as e:
        raise PermanentError(f"A worker answered what is no result: {e}", code="bad_answer") from e


def _request_id(event: Event, model: str, body: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (event.tenant, event.document_id, str(event.revision), event.run_id or "", model):
        digest.update(part.encode() + b"\0")
    digest.update(body)
    return digest.hexdigest()
