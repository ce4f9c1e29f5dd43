"""The worker's side of an inference: take work in batches, answer, acknowledge."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.cancellations import Cancellations
from billow.bus.clock import ServerClock
from billow.bus.company import Company
from billow.bus.connection import Bus
from billow.bus.fairness import FairQueue
from billow.bus.provision import ensure_consumer
from billow.bus.pull import PullSession
from billow.bus.settlement import Settlement
from billow.bus.topology import LANES, MAX_DELIVERIES, ConsumerSpec, inference_consumer
from billow.bus.unwanted import Reason, refusal, why_unwanted
from billow.bus.verdict import too_many_deliveries
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.inference import MAX_CROPS, InferenceResult, InferenceWork, count_items
from billow.schemas.labels import Lane
from billow.schemas.record import Failure

log = structlog.get_logger()

_LEARNING = 0.5
"""Weight of the newest request in the moving average of items a request."""


class WorkItem:
    """One request in a worker's hands; kept alive by the queue until it is answered."""

    def __init__(self, message: Msg, work: InferenceWork, lane: Lane) -> None:
        self.message = message
        self.work = work
        self.lane: Lane = lane
        self.tenant = message.subject.rpartition(".")[2]
        self.items = count_items(work.payload)
        """Pages, crops or documents."""
        self.queue_ms = 0.0
        """From when the queue had stored it until it was taken into a batch, by the server's clock; 0 if unknown."""
        self.open = True
        """Whether nobody has begun to answer it or to give it back."""
        self.owes = False
        """Whether its turn was taken and its cost is not known yet."""


def _ignore(item: WorkItem, reason: Reason) -> None:
    pass


class WorkQueue:
    """Work for one model: interactive before bulk, tenants in turns by the model time that they use."""

    def __init__(
        self,
        bus: Bus,
        *,
        task: str,
        model: str,
        max_batch: int,
        max_wait_ms: float,
        clock: ServerClock | None = None,
    ) -> None:
        """A batch is full at `max_batch` items and closes `max_wait_ms` after its first one, at once on an idle system.

        A request is never cut, so the last one taken may make a batch larger.
        """
        self._bus = bus
        self._model = model
        self._max_batch = max_batch
        self._max_wait = max_wait_ms / 1000
        self._dropped: Callable[[WorkItem, Reason], None] = _ignore
        spec = inference_consumer(task, model, "interactive")
        self._clock = clock or ServerClock(bus, spec)
        self._cancellations = Cancellations(bus, now=self._clock.now)
        self._company = Company(self._max_wait)
        self._settlement = Settlement(bus, task=task, ack_wait=spec.ack_wait)
        self._waiting: FairQueue[WorkItem] = FairQueue()
        self._waiting_items = 0
        self._open = 0
        # Until it is known better, requests may be as large as they can be: rather ask twice than take too much.
        self._items_a_request = float(MAX_CROPS if task == "text-recognition" else 1)
        self._suspects: deque[WorkItem] = deque()
        self._drops: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._sessions: dict[Lane, PullSession] = {
            lane: self._session(inference_consumer(task, model, lane)) for lane in LANES
        }
        self._stopped = asyncio.Event()

    def _session(self, spec: ConsumerSpec) -> PullSession:
        def ensure() -> Awaitable[None]:
            return ensure_consumer(self._bus, spec)

        return PullSession(self._bus, spec, room=self._room, ensure=ensure, changed=self._changed)

    def _room(self) -> int:
        """For one batch beyond the one being worked on: the next is here when this one is done, the rest is others'."""
        return max(0, math.ceil((self._max_batch - self._waiting_items) / self._items_a_request))

    def on_drop(self, listener: Callable[[WorkItem, Reason], None]) -> None:
        """Tell `listener` of work that is answered without being handed out."""
        self._dropped = listener

    async def start(self) -> None:
        """Create the consumers and begin to pull. Raises TransientError when the server does not answer."""
        for session in self._sessions.values():
            await session.start()
        await self._clock.start()
        await self._cancellations.start()
        self._settlement.start()

    def __len__(self) -> int:
        """Requests that are here and that nobody began with."""
        return sum(map(len, self._sessions.values())) + len(self._waiting) + len(self._suspects)

    async def take(self) -> list[WorkItem]:
        """The next batch; waits for it. Empty only after `stop`. Charge each request of it, then answer or give back.

        Work that was answered before (its worker died before the acknowledgement) is acknowledged and skipped; work
        that nobody wants any more is answered with an error. A crash takes the whole batch along, so work that saw too
        many has a last trial in a batch of its own. After that it is answered with an error and becomes a dead letter.

        Raises:
            BillowError: the connection is gone for good.
        """
        batch: list[WorkItem] = []
        closes_at = 0.0
        while not self._stopped.is_set():
            await self._receive()
            while not batch and self._suspects:
                suspect = self._suspects.popleft()
                if self._is_wanted(suspect) and await self._begin_trial(suspect):
                    return [suspect]
            self._fill(batch)
            if batch:
                closes_at = closes_at or time.monotonic() + self._max_wait
                if self._is_complete(batch, closes_at):
                    return batch
            await self._more(closes_at - time.monotonic() if batch else None)
        for item in batch:
            await self.give_back(item)
        await self._give_back_rest()
        return []

    async def _receive(self) -> None:
        for lane, session in self._sessions.items():
            while (message := session.pop()) is not None:
                await self._accept(message, lane)

    def _fill(self, batch: list[WorkItem]) -> None:
        room = self._max_batch - sum(item.items for item in batch)
        while room > 0 and (item := self._waiting.pop()) is not None:
            self._waiting_items -= item.items
            item.owes = True
            if self._is_wanted(item):
                if self._clock.aligned:
                    waited = self._clock.now() - item.message.metadata.timestamp
                    item.queue_ms = max(0.0, waited.total_seconds() * 1000)
                batch.append(item)
                room -= item.items
        for session in self._sessions.values():
            session.nudge()

    def _is_complete(self, batch: list[WorkItem], closes_at: float) -> bool:
        if sum(item.items for item in batch) >= self._max_batch:
            return True
        if time.monotonic() >= closes_at:
            self._company.did_not_come()
            return True
        return not self._company.is_coming(self._open)

    def _is_wanted(self, item: WorkItem) -> bool:
        """Else it is being answered already."""
        reason = why_unwanted(item.work, self._cancellations, self._clock)
        if reason is None:
            return True
        log.info("dropped", reason=reason, document=item.work.document_id, tenant=item.tenant)
        self._dropped(item, reason)
        self.charge(item, 0)
        result = InferenceResult(request_id=item.work.request_id, model=self._model, error=refusal(reason))
        task = asyncio.create_task(self.answer(item, result))
        self._drops.add(task)
        task.add_done_callback(self._drops.discard)
        return False

    async def _more(self, timeout: float | None) -> None:
        # A stopped session is ready too, so `stop` needs no waiter of its own.
        self._changed.clear()
        if any(session.is_ready for session in self._sessions.values()):
            return
        if timeout is None:
            await self._changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def _accept(self, message: Msg, lane: Lane) -> None:
        self._settlement.hold(message)
        deliveries = message.metadata.num_delivered
        try:
            work = codec.decode(message.data, InferenceWork, (message.headers or {}).get(headers.CONTENT_TYPE))
        except codec.CodecError as e:
            failure = Failure(code="undecodable_work", message=str(e), stage="worker")
            await self._settlement.bury(message, failure, None)
            return
        if deliveries > 1 and await self._settlement.was_answered(work):
            await self._settlement.release(message)
            return
        if deliveries >= MAX_DELIVERIES and await self._settlement.was_tried_alone(work):
            await self._settlement.bury(message, too_many_deliveries(deliveries - 1, "worker"), work)
            return
        item = WorkItem(message, work, lane)
        self._open += 1
        self._items_a_request += _LEARNING * (item.items - self._items_a_request)
        pending = message.metadata.num_pending
        self._company.came(lane, in_hand=self._open, pending=pending, now=time.monotonic())
        if deliveries >= MAX_DELIVERIES:
            self._suspects.append(item)
        else:
            self._waiting.push(item, tenant=item.tenant, lane=lane)
            self._waiting_items += item.items

    async def _begin_trial(self, item: WorkItem) -> bool:
        """False if it cannot be noted."""
        try:
            await self._settlement.note_trial(item.work)
        except (TransientError, PermanentError) as e:
            log.warning("trial not noted, the work is given back", reason=str(e))
            await self.give_back(item)
            return False
        return True

    def charge(self, item: WorkItem, ms: float) -> None:
        """The item's tenant used so much model time; who used less is next. Counts once for each item."""
        if item.owes:
            item.owes = False
            self._waiting.charge(item.tenant, ms, lane=item.lane)

    async def answer(self, item: WorkItem, result: InferenceResult) -> None:
        """Publish the result, await that it is stored, then acknowledge the work; see `Settlement.answer`."""
        self._let_go(item)
        await self._settlement.answer(item.message, item.work, result)

    async def give_back(self, item: WorkItem) -> None:
        """Let another worker, or a later try, have it; each such delivery counts towards the dead letter."""
        self._let_go(item)
        await self._settlement.give_back(item.message)

    def _let_go(self, item: WorkItem) -> None:
        self.charge(item, 0)
        if item.open:
            item.open = False
            self._open -= 1

    async def stop(self) -> None:
        """Stop pulling, give back what nobody has begun. Call it before the last answers are out."""
        self._stopped.set()
        for session in self._sessions.values():
            for message in await session.stop():
                await self._settlement.give_back(message)
        await self._give_back_rest()
        await self._cancellations.stop()

    async def _give_back_rest(self) -> None:
        rest = [*self._waiting.drain(), *self._suspects]
        self._suspects.clear()
        self._waiting_items = 0
        for item in rest:
            await self.give_back(item)
        await asyncio.gather(*self._drops)

    def close(self) -> None:
        """End the heartbeats, after the last answer."""
        self._clock.stop()
        self._settlement.close()
