# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""A caller and a worker on a real server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import pytest

from billow.bus.connection import Bus
from billow.bus.consume import Delivery, EventConsumer
from billow.bus.embedded import EmbeddedServer
from billow.bus.inference import InferenceClient
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, INFERENCE, MAX_DELIVERIES, OCR, RESULTS
from billow.bus.work import WorkItem, WorkQueue
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.events import Submitted
from billow.schemas.inference import Detections, DetectText, InferenceResult
from billow.schemas.labels import Lane
from billow.schemas.record import Failure
from billow.testkit.events import make_submitted

MODEL = "fake-det_1-0-0"
PASSED_ON_BYTES = 1024 * 1024
"""bytes of the largest page that is sent to a detector as it is"""
QUAD = (0.0, 0.0, 9.0, 0.0, 9.0, 5.0, 0.0, 5.0)


def make_queue(bus: Bus, *, max_batch: int = 8, max_wait_ms: float = 0) -> WorkQueue:
    return WorkQueue(bus, task="text-detection", model=MODEL, max_batch=max_batch, max_wait_ms=max_wait_ms)


def result_for(item: WorkItem, *, error: Failure | None = None) -> InferenceResult:
    output = None if error else Detections(quads=(QUAD,), scores=(0.9,))
    return InferenceResult(request_id=item.work.request_id, model=MODEL, output=output, error=error, run_ms=7)


@contextlib.asynccontextmanager
async def working(bus: Bus, *, error: Failure | None = None) -> AsyncGenerator[list[WorkItem]]:
    queue = make_queue(bus)
    await queue.start()
    done: list[WorkItem] = []

    async def loop() -> None:
        while batch := await queue.take():
            for item in batch:
                done.append(item)
                await queue.answer(item, result_for(item, error=error))

    task = asyncio.create_task(loop())
    try:
        yield done
    finally:
        await queue.stop()
        await task
        queue.close()


async def ask(
    client: InferenceClient,
    name: str = "doc-1",
    *,
    again: bool = False,
    lane: Lane = "interactive",
    image: bytes = b"x",
) -> InferenceResult:
    payload = DetectText(image=image)
    return await client.call(make_submitted(name), payload, task="text-detection", model=MODEL, lane=lane, again=again)


async def queued(bus: Bus) -> int:
    return (await bus.js.stream_info(INFERENCE.name)).state.messages


async def nothing_queued(bus: Bus) -> None:
    """The caller hears the answer before the server has dealt with the acknowledgement of the work."""
    async with asyncio.timeout(60):
        while await queued(bus) > 0:
            await asyncio.sleep(0.01)


async def test_an_answer_comes_back_and_the_work_leaves_the_queue(bus: Bus) -> None:
    async with working(bus) as done:
        result = await ask(InferenceClient(bus))
        assert result.output == Detections(quads=(QUAD,), scores=(0.9,))
        assert result.run_ms == 7
        assert len(done) == 1
    await nothing_queued(bus)


async def test_a_repeated_call_finds_the_first_answer_and_costs_no_model_time(bus: Bus) -> None:
    async with working(bus) as done:
        first = await ask(InferenceClient(bus))
        # The caller hears the answer as it passes; the stream has it a moment later.
        async with asyncio.timeout(60):
            while (await bus.js.stream_info(RESULTS.name)).state.messages == 0:
                await asyncio.sleep(0.01)
        # Another client: the first one's process is dead.
        assert await ask(InferenceClient(bus), again=True) == first
        assert len(done) == 1


async def test_an_absent_model_frees_the_slot_and_its_work_waits_once(bus: Bus) -> None:
    client = InferenceClient(bus, wait=0.2, retry_delay=3)
    for again in (False, True, True):
        with pytest.raises(TransientError, match="billow worker") as caught:
            await ask(client, again=again)
        assert caught.value.delay == 3
    assert await queued(bus) == 1
    async with working(bus):
        assert (await ask(InferenceClient(bus), again=True)).error is None


async def test_the_workers_error_reaches_the_caller_with_its_code(bus: Bus) -> None:
    failure = Failure(code="undecodable_payload", message="No image in it.", stage="worker")
    async with working(bus, error=failure):
        with pytest.raises(PermanentError, match="No image in it") as caught:
            await ask(InferenceClient(bus))
    assert caught.value.code == "undecodable_payload"


async def test_a_full_queue_says_busy_and_keeps_what_it_has(bus: Bus) -> None:
    config = (await bus.js.stream_info(INFERENCE.name)).config
    config.max_msgs_per_subject = 2
    await bus.js.update_stream(config)
    client = InferenceClient(bus, wait=0.1)
    for name in ("doc-1", "doc-2"):
        with pytest.raises(TransientError, match="No worker"):
            await ask(client, name)
    with pytest.raises(TransientError, match="full"):
        await ask(client, "doc-3")
    assert await queued(bus) == 2


async def test_the_backlog_of_an_absent_model_is_no_other_models_business(bus: Bus) -> None:
    config = (await bus.js.stream_info(INFERENCE.name)).config
    config.max_msgs_per_subject = 1
    await bus.js.update_stream(config)
    client = InferenceClient(bus, wait=0.1)
    absent = "absent-det_1-0-0"
    for name, why in (("doc-1", "No worker"), ("doc-2", "full")):
        with pytest.raises(TransientError, match=why):
            await client.call(
                make_submitted(name),
                DetectText(image=b"x"),
                task="text-detection",
                model=absent,
                lane="interactive",
                again=False,
            )
    async with working(bus):
        assert (await ask(InferenceClient(bus), "doc-3")).error is None
    assert await queued(bus) == 1


def test_sixteen_full_subjects_fit_into_the_queue_for_models() -> None:
    assert 16 * INFERENCE.max_msgs_per_subject * PASSED_ON_BYTES <= INFERENCE.max_bytes


async def test_what_waits_together_is_taken_together_and_interactive_first(bus: Bus) -> None:
    client = InferenceClient(bus)
    lanes: list[Lane] = ["bulk", "bulk", "interactive", "interactive"]
    calls = [asyncio.create_task(ask(client, f"doc-{n}", lane=lane)) for n, lane in enumerate(lanes)]
    while await queued(bus) < 4:
        await asyncio.sleep(0.01)
    queue = make_queue(bus, max_batch=4)
    await queue.start()
    while len(queue) < 4:
        await asyncio.sleep(0.01)
    batch = await queue.take()
    assert sorted(item.work.lane for item in batch) == ["bulk", "bulk", "interactive", "interactive"]
    for item in batch:
        await queue.answer(item, result_for(item))
    assert all(result.error is None for result in await asyncio.gather(*calls))
    await queue.stop()
    queue.close()


async def test_a_lone_request_waits_no_longer_than_the_batch_may(bus: Bus) -> None:
    queue, client = make_queue(bus, max_batch=8, max_wait_ms=50), InferenceClient(bus)
    await queue.start()
    took: list[float] = []
    # The best of several: each may be the one at which this machine stood still.
    for number in range(5):
        call = asyncio.create_task(ask(client, f"doc-{number}"))
        started = time.monotonic()
        (item,) = await queue.take()
        took.append(time.monotonic() - started)
        await queue.answer(item, result_for(item))
        await call
    assert min(took) < 2
    await queue.stop()
    queue.close()


async def test_work_of_a_dead_worker_is_done_by_another(bus: Bus) -> None:
    dead = make_queue(bus, max_batch=1)
    await dead.start()
    call = asyncio.create_task(ask(InferenceClient(bus, wait=60)))
    (item,) = await dead.take()
    # It dies: no answer, no heartbeat, no acknowledgement.
    dead.close()
    await dead.stop()
    async with working(bus) as done:
        assert (await call).output is not None
    assert [other.work.request_id for other in done] == [item.work.request_id]


async def test_work_that_kills_its_workers_ends_as_dead_letter_and_error(bus: Bus) -> None:
    call = asyncio.create_task(ask(InferenceClient(bus, wait=60)))
    for _ in range(MAX_DELIVERIES):
        queue = make_queue(bus, max_batch=1)
        await queue.start()
        (item,) = await queue.take()
        await queue.give_back(item)
        await queue.stop()
        queue.close()
    async with working(bus) as done:
        with pytest.raises(PermanentError, match="crash or an error") as caught:
            await call
    assert caught.value.code == "too_many_deliveries"
    assert done == []
    assert (await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.worker.text-detection")).data
    await nothing_queued(bus)


async def test_an_answer_survives_a_restart_of_the_server(bus: Bus, embedded_server: EmbeddedServer) -> None:
    client = InferenceClient(bus, wait=60)
    queue = make_queue(bus)
    await queue.start()
    call = asyncio.create_task(ask(client))
    (item,) = await queue.take()
    await embedded_server.kill()
    await embedded_server.restart()
    await queue.answer(item, result_for(item))
    assert (await call).output is not None
    await queue.stop()
    queue.close()
    assert (await bus.js.stream_info(RESULTS.name)).state.messages == 1


async def test_undecodable_work_is_buried_and_the_next_one_done(bus: Bus) -> None:
    await bus.js.publish(f"inference.text-detection.{MODEL}.interactive.default", b"\xffnonsense")
    async with working(bus) as done:
        await ask(InferenceClient(bus))
        assert len(done) == 1
    assert (await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.worker.text-detection")).data


async def test_documents_of_an_absent_model_do_not_keep_others_from_their_turn(bus: Bus) -> None:
    client = InferenceClient(bus, wait=0.5, retry_delay=0.1)
    calls: dict[str, int] = {}
    done: list[str] = []

    async def handler(delivery: Delivery) -> None:
        event = delivery.event(Submitted)
        if delivery.deliveries > 1:
            await client.still_waiting(event)
        name = event.document_id
        calls[name] = calls.get(name, 0) + 1
        if name != "needs-no-model":
            await ask(client, name, again=delivery.deliveries > 1)
        done.append(name)

    for n in range(12):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    consumer = EventConsumer(bus, OCR, handler, concurrency=2)
    await consumer.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping))
    while not calls:
        await asyncio.sleep(0.01)
    await publish_event(bus, make_submitted("needs-no-model"))
    started = time.monotonic()
    while not done:
        await asyncio.sleep(0.01)
        assert sum(calls.values()) <= 4 * 12, "all slots are taken by documents of the absent model"
        assert time.monotonic() - started < 60, "all slots are taken by documents of the absent model"
    assert done == ["needs-no-model"]
    # Back again, all of them go on, and the model has worked once for each.
    async with working(bus) as worked:
        while len(done) < 13:
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 120, f"only {len(done)} went on"
    assert len(worked) == 12
    stopping.set()
    await running


async def test_an_outage_leaves_no_subscription_behind(bus: Bus, embedded_server: EmbeddedServer) -> None:
    client = InferenceClient(bus, wait=0.5)
    await client.start()
    before = len(bus.client._subs)  # pyright: ignore[reportPrivateUsage]
    calls = [asyncio.create_task(ask(client, f"doc-{n}")) for n in range(3)]
    while await queued(bus) < 3:
        await asyncio.sleep(0.01)
    await embedded_server.kill()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, TransientError)
    await embedded_server.restart()
    assert len(bus.client._subs) <= before + 1  # pyright: ignore[reportPrivateUsage]


async def test_work_that_others_took_along_when_they_crashed_is_tried_alone(bus: Bus) -> None:
    client = InferenceClient(bus, wait=60)
    calls = [asyncio.create_task(ask(client, f"doc-{n}")) for n in range(3)]
    for _ in range(MAX_DELIVERIES - 1):
        queue = make_queue(bus, max_batch=3)
        await queue.start()
        while len(queue) < 3:
            await asyncio.sleep(0.01)
        batch = await queue.take()
        assert len(batch) == 3
        for item in batch:
            await queue.give_back(item)
        await queue.stop()
        queue.close()
    queue = make_queue(bus, max_batch=3, max_wait_ms=5000)
    await queue.start()
    for _ in range(3):
        (item,) = await queue.take()
        await queue.answer(item, result_for(item))
    assert all(result.error is None for result in await asyncio.gather(*calls))
    await queue.stop()
    queue.close()


async def test_a_result_that_is_too_large_is_answered_with_the_reason(bus: Bus) -> None:
    queue = make_queue(bus)
    await queue.start()
    call = asyncio.create_task(ask(InferenceClient(bus, wait=60)))
    (item,) = await queue.take()
    many = bus.client.max_payload // 40
    huge = InferenceResult(
        request_id=item.work.request_id, model=MODEL, output=Detections(quads=(QUAD,) * many, scores=(0.9,) * many)
    )
    await queue.answer(item, huge)
    with pytest.raises(PermanentError) as caught:
        await call
    assert caught.value.code == "message_too_large"
    await nothing_queued(bus)
    await queue.stop()
    queue.close()
