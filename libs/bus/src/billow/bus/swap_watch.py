# pyright: reportUnknownMemberType=false
"""Watches one model hand over to another, as proof that nothing was lost, doubled or left lying.

Everything is seen from outside, on the subjects of `INFERENCE` and `RESULTS`, by one clock: neither callers nor workers
have to tell.
"""

import asyncio
import hashlib
import time
from collections import Counter
from typing import Literal, NamedTuple

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.topology import LANES, inference_consumer
from billow.runtime.errors import BillowError
from billow.schemas import codec
from billow.schemas.labels import Task

log = structlog.get_logger()

_SAMPLE_SECONDS = 0.01
_EARLY = 10_000

Phase = Literal["before", "during", "after"]
PHASES: tuple[Phase, ...] = ("before", "during", "after")


class _Heading(msgspec.Struct, frozen=True):
    """What the observer needs of an `InferenceWork`."""

    request_id: str
    tenant: str
    document_id: str
    model: str
    payload: msgspec.Raw
    run_id: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    """What the observer needs of an `InferenceResult`."""

    request_id: str
    model: str
    error: msgspec.Raw | None = None


class _Sent(msgspec.Struct):
    key: bytes
    model: str
    at: float


class _Arrival(NamedTuple):
    at: float
    phase: Phase
    failed: bool


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one phase, from being sent until answered."""

    requests: int
    p50_ms: float
    p95_ms: float
    longest_ms: float


class SwapReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a swap did to the work that was under way."""

    task: str
    old: str
    new: str
    version: int
    """Of the route that sends to the new model."""
    requests: int
    """Sent to either model while it was watched."""
    lost: int
    """Sent, and not answered when the swap ended."""
    doubled: int
    """The same question of the same document answered more than once."""
    failed: int
    """Answered with an error."""
    longest_gap_ms: float
    """Longest time in which work was queued for one of the two and nobody pulled or had any in hand; looked at every
    10 ms."""
    drain_s: float
    """From the change of the route until the old model had nothing left."""
    latency: dict[str, Latency]
    """By phase: before, during, after."""

    @property
    def clean(self) -> bool:
        """Nothing lost and nothing doubled."""
        return self.lost == 0 and self.doubled == 0


class SwapObserver:
    """Listens to the work of two models and their answers, from `start` to `stop`."""

    def __init__(self, bus: Bus, task: Task, old: str, new: str) -> None:
        self._bus = bus
        self._task: Task = task
        self._models = (old, new)
        self._phase: Phase = "before"
        self._sealed = False
        self._stopped = asyncio.Event()
        self._sent: dict[str, _Sent] = {}
        self._answers: Counter[bytes] = Counter()
        """Question -> times that it was answered, by whichever model."""
        self._early: dict[str, list[_Arrival]] = {}
        """Answers that came before their work did: each subscription is handled at its own pace."""
        self._failed = 0
        self._latencies: dict[Phase, list[float]] = {phase: [] for phase in PHASES}
        self._gap_since: dict[str, float] = {}
        self._longest_gap = 0.0
        self._subscriptions: list[Subscription] = []
        self._sampler: asyncio.Task[None] | None = None
        self._work_decoder = msgspec.msgpack.Decoder(_Heading)
        self._answer_decoder = msgspec.msgpack.Decoder(_Answer)

    async def start(self) -> None:
        """Begin to watch. Raises TransientError when NATS does not answer."""
        with translated("watching the work"):
            for model in self._models:
                subject = f"inference.{self._task}.{model}.*.*"
                self._subscriptions.append(await self._bus.client.subscribe(subject, cb=self._on_work))
            subject = f"results.*.{self._task}.*"
            self._subscriptions.append(await self._bus.client.subscribe(subject, cb=self._on_answer))
            # Twice: the first PING overtakes subscriptions that are still buffered (nats-py 2.16).
            await self._bus.client.flush()
            await self._bus.client.flush()
        self._sampler = asyncio.create_task(self._sample())

    async def stop(self) -> None:
        """Watch no more. Safe to call twice."""
        # Not cancelled: on Python 3.11 the client's `wait_for` swallows a cancellation that comes with its answer.
        self._stopped.set()
        if self._sampler is not None:
            await self._sampler
        for subscription in self._subscriptions:
            await self._bus.unsubscribe(subscription)
        self._subscriptions.clear()

    def enter(self, phase: Phase) -> None:
        """Count the answers from now on to this phase."""
        self._phase = phase

    def seal(self) -> None:
        """Count no further requests, only the answers to those that were sent."""
        self._sealed = True

    @property
    def outstanding(self) -> int:
        """Questions sent and not answered, as far as seen; work that moved to another model is the same question."""
        return len({sent.key for sent in self._sent.values()} - self._answers.keys())

    def outstanding_of(self, model: str) -> int:
        """Of one of the two."""
        return sum(sent.model == model and sent.key not in self._answers for sent in self._sent.values())

    def report(self, *, version: int, drain_s: float) -> SwapReport:
        """What was seen so far."""
        old, new = self._models
        return SwapReport(
            task=self._task,
            old=old,
            new=new,
            version=version,
            requests=len(self._sent),
            lost=self.outstanding,
            doubled=sum(count > 1 for count in self._answers.values()),
            failed=self._failed,
            longest_gap_ms=round(self._longest_gap * 1000, 1),
            drain_s=round(drain_s, 3),
            latency={phase: _latency(values) for phase, values in self._latencies.items()},
        )

    async def _on_work(self, message: Msg) -> None:
        if self._sealed:
            return
        try:
            work = self._work_decoder.decode(message.data)
        except codec.UNREADABLE:
            log.debug("work of another kind passed over", subject=message.subject)
            return
        question = hashlib.blake2b(work.payload, digest_size=16)
        for part in (work.tenant, work.document_id, work.run_id or ""):
            question.update(part.encode() + b"\0")
        # Work that is sent again, as its caller was restarted, is the same request from its first sending on.
        sent = self._sent.setdefault(work.request_id, _Sent(question.digest(), work.model, time.perf_counter()))
        for arrival in self._early.pop(work.request_id, ()):
            self._count(sent, arrival)

    async def _on_answer(self, message: Msg) -> None:
        request_id = message.subject.rpartition(".")[2]
        arrival = _Arrival(time.perf_counter(), self._phase, self._is_error(message.data))
        sent = self._sent.get(request_id)
        if sent is not None:
            self._count(sent, arrival)
        elif not self._sealed:
            self._early.setdefault(request_id, []).append(arrival)
            while len(self._early) > _EARLY:
                self._early.pop(next(iter(self._early)))

    def _count(self, sent: "_Sent", arrival: "_Arrival") -> None:
        self._answers[sent.key] += 1
        if self._answers[sent.key] == 1:
            self._latencies[arrival.phase].append(max(0.0, arrival.at - sent.at))
            self._failed += arrival.failed

    def _is_error(self, data: bytes) -> bool:
        try:
            answer = self._answer_decoder.decode(data)
        except codec.UNREADABLE:
            return False
        return answer.error is not None and bytes(answer.error) != _NIL

    async def _sample(self) -> None:
        while not self._stopped.is_set():
            for model in self._models:
                for lane in LANES:
                    spec = inference_consumer(self._task, model, lane)
                    try:
                        with translated("reading the queue"):
                            info = await self._bus.js.consumer_info(spec.stream, spec.durable)
                    except BillowError:
                        continue  # no worker of this model ever came; what is sent to it shows as lost
                    idle = bool(info.num_pending) and not info.num_waiting and not info.num_ack_pending
                    self._note_gap(spec.durable, idle=idle, now=time.perf_counter())
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _note_gap(self, durable: str, *, idle: bool, now: float) -> None:
        if not idle:
            self._gap_since.pop(durable, None)
            return
        since = self._gap_since.setdefault(durable, now)
        self._longest_gap = max(self._longest_gap, now - since)


_NIL = b"\xc0"
"""MessagePack's null"""


def _latency(seconds: list[float]) -> Latency:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) if ordered else 0.0

    return Latency(requests=len(ordered), p50_ms=at(0.5), p95_ms=at(0.95), longest_ms=at(1.0))
