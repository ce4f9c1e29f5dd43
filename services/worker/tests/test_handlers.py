"""A worker's loop on a real server, with a model that does what the test says."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.topology import inference_consumer
from billow.bus.work import WorkQueue
from billow.engines.errors import EngineError
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.inference import Detections, DetectText, InferenceResult, Payload
from billow.schemas.record import Failure
from billow.services.worker.handlers import ModelHost
from billow.services.worker.statistics import WorkerStatistics
from billow.services.worker.tasks.protocol import Answer
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from billow.testkit.plugin import NatsServer

MODEL = "fake_1-0-0"
NOTHING = Detections(quads=(), scores=())


class ScriptedModel:
    """Answers what `script` says; remembers what it was asked."""

    def __init__(self, script: Callable[[Sequence[Payload]], list[Answer]]) -> None:
        self.script = script
        self.batches: list[int] = []
        self.warm = False

    def warm_up(self) -> None:
        self.warm = True

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        self.batches.append(len(payloads))
        return self.script(payloads)


def fine(payloads: Sequence[Payload]) -> list[Answer]:
    return [Answer(output=NOTHING, run_ms=3) for _ in payloads]


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


class Hosted(NamedTuple):
    """A worker that runs."""

    queue: WorkQueue
    stopping: asyncio.Event


@contextlib.asynccontextmanager
async def hosting(bus: Bus, model: ScriptedModel, *, max_wait_ms: float = 0) -> AsyncGenerator[Hosted]:
    clock = ServerClock(bus, inference_consumer("text-detection", MODEL, "interactive"))
    queue = WorkQueue(bus, task="text-detection", model=MODEL, max_batch=8, max_wait_ms=max_wait_ms, clock=clock)
    host = ModelHost(queue, model, token=MODEL, worker="here", statistics=WorkerStatistics(8))
    await host.warm_up()
    await queue.start()
    # It lives without the server's time for a minute where that did not answer at once, and then drops nothing.
    while not clock.aligned:
        with contextlib.suppress(TransientError):
            await clock.align()
    stopping = asyncio.Event()
    running = asyncio.create_task(host.run(stopping))
    try:
        yield Hosted(queue, stopping)
    finally:
        stopping.set()
        await running


async def ask(bus: Bus, name: str = "doc-1", deadline: datetime | None = None) -> InferenceResult:
    event = make_submitted(name, deadline=deadline)
    client = InferenceClient(bus, wait=60)
    return await client.call(
        event, DetectText(image=name.encode()), task="text-detection", model=MODEL, lane="interactive", again=False
    )


@contextlib.asynccontextmanager
async def one_batch(bus: Bus, model: ScriptedModel) -> AsyncGenerator[list[asyncio.Task[InferenceResult]]]:
    """Eight requests that are all in the worker's hands when its model, held up by a first one, has time for them.

    `model.batches` begins with these eight.
    """
    script, go_on = model.script, threading.Event()

    def hold_up(payloads: Sequence[Payload]) -> list[Answer]:
        assert go_on.wait(60)
        model.script = script
        model.batches.clear()
        return fine(payloads)

    model.script = hold_up
    async with hosting(bus, model) as hosted, asyncio.timeout(150):
        first = asyncio.create_task(ask(bus, "first"))
        await until(lambda: model.batches == [1], timeout=60)
        calls = [asyncio.create_task(ask(bus, f"doc-{n}")) for n in range(8)]
        await until(lambda: len(hosted.queue) == len(calls), timeout=50)
        go_on.set()
        await first
        yield calls


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"model": MODEL, **labels}) or 0.0


async def test_a_worker_warms_up_answers_and_says_who_it_is(bus: Bus) -> None:
    model = ScriptedModel(fine)
    async with hosting(bus, model):
        result = await ask(bus)
    assert model.warm
    assert (result.output, result.run_ms, result.model, result.worker) == (NOTHING, 3, MODEL, "here")
    assert result.queue_ms >= 0


async def test_one_bad_payload_does_not_spoil_its_neighbours(bus: Bus) -> None:
    bad = Answer(error=Failure(code="undecodable_payload", message="No image.", stage="worker"))

    def script(payloads: Sequence[Payload]) -> list[Answer]:
        return [
            bad if isinstance(payload, DetectText) and payload.image == b"doc-1" else Answer(output=NOTHING)
            for payload in payloads
        ]

    async with hosting(bus, ScriptedModel(script), max_wait_ms=300):
        answers = await asyncio.gather(*(ask(bus, f"doc-{n}") for n in range(3)), return_exceptions=True)
    assert isinstance(answers[1], PermanentError)
    assert answers[1].code == "undecodable_payload"
    for n in (0, 2):
        answer = answers[n]
        assert isinstance(answer, InferenceResult)
        assert answer.output == NOTHING


async def test_a_model_that_fails_once_gets_its_work_again(bus: Bus) -> None:
    calls = 0

    def script(payloads: Sequence[Payload]) -> list[Answer]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bad moment")
        return fine(payloads)

    async with hosting(bus, ScriptedModel(script)):
        assert (await ask(bus)).output == NOTHING
    assert calls == 2


async def test_a_batch_that_fails_is_halved_to_find_the_one(bus: Bus) -> None:
    def script(payloads: Sequence[Payload]) -> list[Answer]:
        if any(isinstance(payload, DetectText) and payload.image == b"doc-5" for payload in payloads):
            raise RuntimeError("not this one")
        return fine(payloads)

    model = ScriptedModel(script)
    async with one_batch(bus, model) as calls:
        assert all(result.output == NOTHING for result in await asyncio.gather(*(calls[:5] + calls[6:])))
        halved = list(model.batches)
        with pytest.raises(PermanentError) as caught:
            await calls[5]
    assert caught.value.code == "too_many_deliveries"
    assert halved[0] == 8
    assert sorted(halved[:7]) == [1, 1, 2, 2, 4, 4, 8], "not one by one"


@pytest.mark.parametrize("error", [MemoryError(), EngineError("no room on the device", code="out_of_memory")])
async def test_what_does_not_fit_alone_is_answered_at_once(bus: Bus, error: Exception) -> None:
    """A batch that takes too much memory is halved until it fits; only what never fits fails, without five tries."""

    def script(payloads: Sequence[Payload]) -> list[Answer]:
        images = [payload.image for payload in payloads if isinstance(payload, DetectText)]
        if len(images) > 2 or b"doc-5" in images:
            raise error
        return fine(payloads)

    model = ScriptedModel(script)
    async with one_batch(bus, model) as calls:
        with pytest.raises(PermanentError) as caught:
            await calls[5]
        assert all(result.output == NOTHING for result in await asyncio.gather(*(calls[:5] + calls[6:])))
    assert (caught.value.code, caught.value.retryable) == ("out_of_memory", True)
    assert model.batches.count(1) == 2, "it was tried alone once"


async def test_work_that_nobody_waits_for_costs_no_model_time(bus: Bus) -> None:
    saved = counted("billow_model_seconds_saved_total", reason="deadline_exceeded")
    dropped = counted("billow_inference_requests_total", outcome="deadline_exceeded")
    spent = counted("billow_model_seconds_total")
    model = ScriptedModel(fine)
    async with hosting(bus, model):
        # What an item costs is known from this one: 3 ms.
        await ask(bus, "wanted")
        for n in range(2):
            with pytest.raises(PermanentError) as caught:
                await ask(bus, f"late-{n}", deadline=datetime.now(UTC) - timedelta(hours=1))
            assert caught.value.code == "deadline_exceeded"
    assert model.batches == [1]
    assert counted("billow_model_seconds_saved_total", reason="deadline_exceeded") - saved == pytest.approx(0.006)
    assert counted("billow_inference_requests_total", outcome="deadline_exceeded") - dropped == 2
    assert counted("billow_model_seconds_total") - spent == pytest.approx(0.003)


async def test_what_a_worker_does_is_counted(bus: Bus) -> None:
    names = (
        "billow_batch_items_sum",
        "billow_batch_items_count",
        "billow_batch_duration_seconds_count",
        "billow_queue_duration_seconds_count",
    )
    before = {name: counted(name) for name in names}
    answered = counted("billow_inference_requests_total", outcome="answered")
    async with one_batch(bus, ScriptedModel(fine)) as calls:
        await asyncio.gather(*calls)
    # The one that held it up counts too.
    assert [counted(name) - before[name] for name in names] == [9, 2, 2, 9]
    assert counted("billow_inference_requests_total", outcome="answered") - answered == 9


async def test_stopping_answers_what_is_in_hand(bus: Bus) -> None:
    begun = asyncio.Event()
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(payloads: Sequence[Payload]) -> list[Answer]:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
        return fine(payloads)

    async with hosting(bus, ScriptedModel(script)) as hosted:
        call = asyncio.create_task(ask(bus))
        await begun.wait()
        hosted.stopping.set()
        go_on.set()
        assert (await call).output == NOTHING
    async with asyncio.timeout(60):
        while (await bus.js.stream_info("INFERENCE")).state.messages > 0:
            await asyncio.sleep(0.01)
