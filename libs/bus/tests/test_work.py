# pyright: reportUnknownMemberType=false
"""What a worker takes, in which order, and what it passes over, on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from billow.bus import work as work_queue
from billow.bus.cancellations import announce
from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.topology import INFERENCE, RESULTS, ConsumerSpec, inference_consumer
from billow.bus.unwanted import Reason
from billow.bus.work import WorkItem, WorkQueue
from billow.schemas import codec, subjects
from billow.schemas.inference import InferenceResult, InferenceWork, Recognitions, RecognizeCrops
from billow.schemas.labels import Lane
from billow.testkit.events import make_cancelled

TASK = "text-recognition"
MODEL = "fake-rec_1-0-0"
AN_HOUR = timedelta(hours=1)


async def send(
    bus: Bus,
    name: str,
    *,
    crops: int = 1,
    tenant: str = "default",
    lane: Lane = "interactive",
    deadline: datetime | None = None,
    revision: int = 1,
    sent_at: datetime | None = None,
) -> None:
    work = InferenceWork(
        request_id=name,
        tenant=tenant,
        document_id=name,
        model=MODEL,
        lane=lane,
        payload=RecognizeCrops(crops=(b"x",) * crops),
        sent_at=sent_at or datetime.now(UTC),
        deadline=deadline,
        revision=revision,
    )
    await bus.js.publish(subjects.inference(TASK, MODEL, lane, tenant), codec.encode(work, codec.MSGPACK))


async def answer(bus: Bus, name: str, tenant: str = "default") -> InferenceResult:
    """Waits for it."""
    async with asyncio.timeout(60):
        while not (await bus.js.stream_info(RESULTS.name, subjects_filter=f"results.{tenant}.*.{name}")).state.subjects:
            await asyncio.sleep(0.01)
    message = await bus.js.get_last_msg(RESULTS.name, subjects.result(tenant, TASK, name), direct=True)
    return codec.decode(message.data or b"", InferenceResult, codec.MSGPACK)


def names(batch: Sequence[WorkItem]) -> list[str]:
    return [item.work.request_id for item in batch]


async def finish(queue: WorkQueue, batch: Sequence[WorkItem], ms: float = 1.0) -> None:
    for item in batch:
        queue.charge(item, ms)
        output = Recognitions(texts=("",) * item.items, confidences=(0.0,) * item.items)
        await queue.answer(item, InferenceResult(request_id=item.work.request_id, model=MODEL, output=output))


async def here(queue: WorkQueue, count: int) -> None:
    async with asyncio.timeout(60):
        while len(queue) < count:
            await asyncio.sleep(0.01)


def patient_consumer(task: str, model: str, lane: Lane) -> ConsumerSpec:
    return msgspec.structs.replace(inference_consumer(task, model, lane), ack_wait=300)


@contextlib.asynccontextmanager
async def working(
    bus: Bus, *, max_batch: int = 8, max_wait_ms: float = 0, clock: ServerClock | None = None
) -> AsyncGenerator[WorkQueue]:
    queue = WorkQueue(bus, task=TASK, model=MODEL, max_batch=max_batch, max_wait_ms=max_wait_ms, clock=clock)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.stop()
        queue.close()


async def test_a_batch_is_full_by_crops_not_by_requests(bus: Bus) -> None:
    async with working(bus, max_batch=64) as queue:
        for n in range(16):
            await send(bus, f"first-{n}")
        left = 16
        while left:
            batch = await queue.take()
            left -= len(batch)
            await finish(queue, batch)
        # It has learned how small these requests are, and takes as many as fill a batch.
        for n in range(64):
            await send(bus, f"single-{n}")
        await here(queue, 33)
        batch = await queue.take()
        assert len(batch) > 16
        left = 64 - len(batch)
        await finish(queue, batch)
        while left:
            batch = await queue.take()
            left -= len(batch)
            await finish(queue, batch)
        for n in range(4):
            await send(bus, f"page-{n}", crops=40)
        pages: list[str] = []
        while len(pages) < 4:
            batch = await queue.take()
            assert len(batch) <= 2, "two of 40 are more than 64"
            pages += names(batch)
            await finish(queue, batch)
        assert sorted(pages) == [f"page-{n}" for n in range(4)]


async def test_a_worker_keeps_one_batch_in_reserve_and_leaves_the_rest_to_others(bus: Bus) -> None:
    for n in range(40):
        await send(bus, f"page-{n}", crops=8)
    async with working(bus, max_batch=16) as queue:
        batches: list[Sequence[WorkItem]] = []
        for _ in range(4):
            batches.append(await queue.take())
            assert sum(item.items for item in batches[-1]) <= 16
        spec = inference_consumer(TASK, MODEL, "interactive")
        info = await bus.js.consumer_info(spec.stream, spec.durable)
        taken = sum(len(batch) for batch in batches)
        assert (info.num_ack_pending or 0) - taken <= 4, "about the two that make a batch"
        for batch in batches:
            await finish(queue, batch)


async def test_turns_go_by_measured_time_not_by_requests(bus: Bus) -> None:
    """One tenant's requests cost ten times the other's, so it gets a tenth of the turns."""
    for n in range(20):
        for tenant in ("costly", "cheap"):
            await send(bus, f"{tenant}-{n}", tenant=tenant)
    # All 40 fit into one batch, which is taken apart here one by one.
    async with working(bus, max_batch=4096) as queue:
        await here(queue, 40)
        queue._max_batch = 1  # pyright: ignore[reportPrivateUsage]
        turns: list[str] = []
        for _ in range(20):
            (item,) = await queue.take()
            turns.append(item.tenant)
            await finish(queue, [item], ms=100 if item.tenant == "costly" else 10)
    assert 1 <= turns.count("costly") <= 5


async def test_cancelled_work_is_answered_without_being_handed_out(bus: Bus) -> None:
    dropped: list[tuple[str, Reason]] = []
    async with working(bus, max_batch=1) as queue:
        queue.on_drop(lambda item, reason: dropped.append((item.work.request_id, reason)))
        for name in ("first", "unwanted", "last"):
            await send(bus, name)
        batch = await queue.take()
        assert names(batch) == ["first"]
        await announce(bus, make_cancelled("unwanted"))
        await bus.client.flush()
        # The worker has heard it when it hears what was said later.
        heard = asyncio.Event()

        async def on_message(message: object) -> None:
            heard.set()

        await bus.client.subscribe("later", cb=on_message)
        await bus.client.publish("later")
        await heard.wait()
        await finish(queue, batch)
        assert names(await queue.take()) == ["last"]
        result = await answer(bus, "unwanted")
    assert result.error is not None
    assert (result.error.code, result.output) == ("cancelled", None)
    assert dropped == [("unwanted", "cancelled")]


async def test_another_revision_of_a_cancelled_document_is_wanted(bus: Bus) -> None:
    async with working(bus) as queue:
        await announce(bus, make_cancelled("doc"))
        await bus.client.flush()
        await send(bus, "doc", revision=2)
        batch = await queue.take()
        assert names(batch) == ["doc"]
        await finish(queue, batch)


async def test_a_worker_whose_clock_is_fast_does_not_drop_what_is_wanted(bus: Bus) -> None:
    spec = inference_consumer(TASK, MODEL, "interactive")
    clock = ServerClock(bus, spec, local=lambda: datetime.now(UTC) + AN_HOUR)
    async with working(bus, clock=clock) as queue:
        await send(bus, "wanted", deadline=datetime.now(UTC) + AN_HOUR / 2)
        (item,) = await queue.take()
        assert item.work.request_id == "wanted"
        assert item.queue_ms < 60_000
        await finish(queue, [item])


async def test_a_worker_whose_clock_is_slow_drops_what_is_late(bus: Bus) -> None:
    spec = inference_consumer(TASK, MODEL, "interactive")
    clock = ServerClock(bus, spec, local=lambda: datetime.now(UTC) - AN_HOUR)
    async with working(bus, clock=clock) as queue:
        await send(bus, "late", deadline=datetime.now(UTC) - AN_HOUR / 2)
        await send(bus, "wanted")
        assert names(await queue.take()) == ["wanted"]
        result = await answer(bus, "late")
    assert result.error is not None
    assert result.error.code == "deadline_exceeded"


async def test_the_time_in_the_queue_does_not_depend_on_the_callers_clock(bus: Bus) -> None:
    async with working(bus) as queue:
        await send(bus, "doc", sent_at=datetime.now(UTC) - AN_HOUR)
        (item,) = await queue.take()
        assert 0 <= item.queue_ms < 60_000
        await finish(queue, [item])


async def test_an_unaligned_clock_drops_nothing(bus: Bus) -> None:
    elsewhere = msgspec.structs.replace(inference_consumer(TASK, MODEL, "interactive"), durable="nobody")
    clock = ServerClock(bus, elsewhere)
    async with working(bus, clock=clock) as queue:
        await send(bus, "late", deadline=datetime.now(UTC) - AN_HOUR)
        (item,) = await queue.take()
        assert (item.work.request_id, item.queue_ms) == ("late", 0)
        await finish(queue, [item])


async def test_stopping_gives_everything_back_that_nobody_began(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is not given back comes again only after the test, when the server thinks the first worker dead.
    monkeypatch.setattr(work_queue, "inference_consumer", patient_consumer)
    for n in range(6):
        await send(bus, f"doc-{n}")
    async with working(bus, max_batch=2) as queue:
        batch = await queue.take()
        await finish(queue, batch)
    done = set(names(batch))
    async with working(bus) as queue, asyncio.timeout(60):
        while len(done) < 6:
            batch = await queue.take()
            done |= set(names(batch))
            await finish(queue, batch)
    async with asyncio.timeout(60):
        while (await bus.js.stream_info(INFERENCE.name)).state.messages:
            await asyncio.sleep(0.01)
