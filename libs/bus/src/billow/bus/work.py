"""The worker's side of an inference: take work in batches, answer, acknowledge."""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.consume import too_many_deliveries
from billow.bus.deadletters import bury
from billow.bus.provision import ensure_consumer
from billow.bus.publish import publish
from billow.bus.pull import PullSession
from billow.bus.topology import LANES, MAX_DELIVERIES, RESULTS, ConsumerSpec, inference_consumer
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.inference import InferenceResult, InferenceWork
from billow.schemas.labels import Lane
from billow.schemas.record import Failure

log = structlog.get_logger()

_BULK_TURN = 4
"""One batch in this many starts with bulk work, if any waits, so that interactive work cannot starve it."""


class WorkItem:
    """One request in a worker's hands; kept alive by the queue until it is answered."""

    def __init__(self, message: Msg, work: InferenceWork) -> None:
        self.message = message
        self.work = work
        self.taken_at = datetime.now(UTC)

    @property
    def queue_ms(self) -> float:
        """From sending until taken, ms; clocks of two machines may differ."""
        return max(0.0, (self.taken_at - self.work.sent_at).total_seconds() * 1000)


class WorkQueue:
    """Work for one model, interactive before bulk."""

    def __init__(self, bus: Bus, *, task: str, model: str, max_batch: int, max_wait_ms: float) -> None:
        """A batch is full at `max_batch` requests and closes `max_wait_ms` after its first one."""
        self._bus = bus
        self._task = task
        self._model = model
        self._max_batch = max_batch
        self._max_wait = max_wait_ms / 1000
        self._held: dict[int, Msg] = {}
        self._suspects: deque[WorkItem] = deque()
        self._turn = 0
        self._heartbeat: asyncio.Task[None] | None = None
        self._ack_wait = inference_consumer(task, model, "interactive").ack_wait
        self._sessions: dict[Lane, PullSession] = {
            lane: self._session(inference_consumer(task, model, lane)) for lane in LANES
        }
        self._stopped = asyncio.Event()

    def _session(self, spec: ConsumerSpec) -> PullSession:
        # Room for one batch beyond the one being worked on: the next is here when this one is done.
        return PullSession(
            self._bus, spec, room=lambda: self._max_batch, ensure=lambda: ensure_consumer(self._bus, spec)
        )

    async def start(self) -> None:
        """Create the consumers and begin to pull. Raises TransientError when the server does not answer."""
        for session in self._sessions.values():
            await session.start()
        self._heartbeat = asyncio.create_task(self._keep_alive())

    async def take(self) -> list[WorkItem]:
        """The next batch; waits for it. Empty only after `stop`.

        Work that was answered before (its worker died before the acknowledgement) is acknowledged and skipped. A crash
        takes the whole batch along, so work that saw too many has a last trial in a batch of its own. After that it is
        answered with an error and becomes a dead letter.

        Raises:
            BillowError: the connection is gone for good.
        """
        batch: list[WorkItem] = []
        closes_at = 0.0
        while not self._stopped.is_set():
            if not batch and self._suspects:
                suspect = self._suspects.popleft()
                if await self._begin_trial(suspect):
                    return [suspect]
            for message in self._pop(self._max_batch - len(batch)):
                item = await self._accept(message)
                if item is not None:
                    closes_at = closes_at or time.monotonic() + self._max_wait
                    batch.append(item)
            if batch and (len(batch) >= self._max_batch or time.monotonic() >= closes_at):
                return batch
            if self._suspects and not batch:
                continue
            await self._more(closes_at - time.monotonic() if batch else None)
        for item in (*batch, *self._suspects):
            await self._give_back(item.message)
        self._suspects.clear()
        return []

    def _pop(self, count: int) -> list[Msg]:
        self._turn += 1
        order = list(LANES) if self._turn % _BULK_TURN else list(reversed(LANES))
        taken: list[Msg] = []
        for lane in order:
            session = self._sessions[lane]
            while len(taken) < count and (message := session.pop()) is not None:
                taken.append(message)
            session.nudge()
        return taken

    async def _more(self, timeout: float | None) -> None:
        # A stopped session wakes its waiters too, so `stop` needs no waiter of its own.
        waiters = [asyncio.create_task(session.changed()) for session in self._sessions.values()]
        await asyncio.wait(waiters, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    async def _accept(self, message: Msg) -> WorkItem | None:
        self._held[id(message)] = message
        deliveries = message.metadata.num_delivered
        try:
            work = codec.decode(message.data, InferenceWork, (message.headers or {}).get(headers.CONTENT_TYPE))
        except codec.CodecError as e:
            failure = Failure(code="undecodable_work", message=str(e), stage="worker")
            await self._bury(message, failure, None)
            return None
        if deliveries > 1 and await self._is_stored(self._result_subject(work)):
            await self._release(message)
            return None
        item = WorkItem(message, work)
        if deliveries >= MAX_DELIVERIES:
            if await self._is_stored(_trial_subject(work)):
                await self._bury(message, too_many_deliveries(deliveries - 1, "worker"), work)
            else:
                self._suspects.append(item)
            return None
        return item

    async def _begin_trial(self, item: WorkItem) -> bool:
        """Note that this is the last attempt, where the next worker will look; False if it cannot be noted."""
        try:
            await self._publish(_trial_subject(item.work), b"")
        except (TransientError, PermanentError) as e:
            log.warning("trial not noted, the work is given back", reason=str(e))
            await self._give_back(item.message)
            return False
        return True

    async def answer(self, item: WorkItem, result: InferenceResult) -> None:
        """Publish the result, await that it is stored, then acknowledge the work.

        On failure the work goes back to the queue and is done again; the caller takes whichever answer is last. A
        result that cannot be published, as it is too large, is answered with the reason.
        """
        try:
            try:
                await self._publish_result(item.work, result)
            except PermanentError as e:
                failure = Failure(code=e.code, message=str(e), retryable=e.retryable, stage="worker")
                refusal = InferenceResult(request_id=result.request_id, model=result.model, error=failure)
                await self._publish_result(item.work, refusal)
            await self._release(item.message)
        except (TransientError, PermanentError) as e:
            log.warning("answer not stored, the work is given back", reason=str(e))
            await self._give_back(item.message)

    async def give_back(self, item: WorkItem) -> None:
        """Let another worker, or a later try, have it; each such delivery counts towards the dead letter."""
        await self._give_back(item.message)

    async def stop(self) -> None:
        """Stop pulling, give back what nobody has begun. Call it before the last answers are out."""
        self._stopped.set()
        for session in self._sessions.values():
            for message in await session.stop():
                await self._give_back(message)

    def close(self) -> None:
        """End the heartbeats, after the last answer."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()

    async def _publish_result(self, work: InferenceWork, result: InferenceResult) -> None:
        await self._publish(self._result_subject(work), codec.encode(result, codec.MSGPACK))

    async def _publish(self, subject: str, data: bytes) -> None:
        extra = {headers.CONTENT_TYPE: codec.MSGPACK}
        await publish(self._bus, subject, data, message_id=None, stream=RESULTS.name, extra=extra)

    def _result_subject(self, work: InferenceWork) -> str:
        return subjects.result(work.tenant, self._task, work.request_id)

    async def _is_stored(self, subject: str) -> bool:
        try:
            await self._bus.js.get_last_msg(RESULTS.name, subject, direct=True)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
            return False
        return True

    async def _bury(self, message: Msg, failure: Failure, work: InferenceWork | None) -> None:
        tenant = message.subject.rpartition(".")[2]
        try:
            await bury(self._bus, message, failure, event=self._task, tenant=tenant, error=None)
            if work is not None:
                result = InferenceResult(request_id=work.request_id, model=work.model, error=failure)
                await self._publish_result(work, result)
            await message.term()
            self._held.pop(id(message), None)
        except (TransientError, PermanentError, nats.errors.Error) as e:
            log.warning("dead letter not stored yet, the work stays", reason=str(e))
            await self._give_back(message)

    async def _release(self, message: Msg) -> None:
        self._held.pop(id(message), None)
        try:
            await message.ack()
        except nats.errors.Error as e:
            log.debug("ack not sent, the work comes back once", reason=repr(e))

    async def _give_back(self, message: Msg) -> None:
        self._held.pop(id(message), None)
        try:
            await message.nak(delay=1)
        except nats.errors.Error as e:
            log.debug("nak not sent, the work comes back after ack_wait", reason=repr(e))

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            for message in list(self._held.values()):
                try:
                    await message.in_progress()
                except nats.errors.Error as e:
                    log.debug("in_progress not sent", reason=repr(e))


def _trial_subject(work: InferenceWork) -> str:
    """Beside the results, as a workstation may publish nothing else; no task has this name."""
    return subjects.result(work.tenant, "trial", work.request_id)
