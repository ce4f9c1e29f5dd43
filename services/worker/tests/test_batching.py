"""Who shares a batch, on a real server, and what it costs those who are alone."""

import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.work import WorkQueue
from billow.schemas.inference import InferenceResult, Payload, Recognitions, RecognizeCrops
from billow.services.worker.handlers import ModelHost
from billow.services.worker.statistics import WorkerStatistics
from billow.services.worker.tasks.protocol import Answer
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from billow.testkit.plugin import NatsServer

TASK = "text-recognition"
MODEL = "fake-rec_1-0-0"
LONG_MS = 20_000.0


class Reader:
    """Answers each crop with its bytes as text; remembers the crops of each batch, and can be held up."""

    def __init__(self, works: Callable[[], None] = lambda: None) -> None:
        """`works` is called in each run; it may block."""
        self.works = works
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()

    def warm_up(self) -> None:
        pass

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        self.go.wait(60)
        self.works()
        texts = [
            tuple(crop.decode() for crop in payload.crops)
            for payload in payloads
            if isinstance(payload, RecognizeCrops)
        ]
        self.batches.append([text for own in texts for text in own])
        return [Answer(output=Recognitions(texts=own, confidences=(1.0,) * len(own)), run_ms=1) for own in texts]


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@contextlib.asynccontextmanager
async def hosting(bus: Bus, model: Reader, *, max_batch: int = 64, max_wait_ms: float = 2) -> AsyncGenerator[None]:
    queue = WorkQueue(bus, task=TASK, model=MODEL, max_batch=max_batch, max_wait_ms=max_wait_ms)
    host = ModelHost(queue, model, token=MODEL, worker="here", statistics=WorkerStatistics(max_batch))
    await queue.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(host.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


async def read(client: InferenceClient, name: str, *texts: str) -> InferenceResult:
    payload = RecognizeCrops(crops=tuple(text.encode() for text in texts or (name,)))
    result = await client.call(make_submitted(name), payload, task=TASK, model=MODEL, lane="interactive", again=False)
    assert isinstance(result.output, Recognitions)
    assert result.output.texts == (texts or (name,))
    return result


async def test_a_lone_request_is_answered_without_the_wait(bus: Bus) -> None:
    client = InferenceClient(bus, wait=60)
    async with hosting(bus, Reader(), max_wait_ms=LONG_MS):
        took: list[float] = []
        for n in range(8):
            started = time.perf_counter()
            await read(client, f"doc-{n}")
            took.append((time.perf_counter() - started) * 1000)
    assert statistics.median(took) < LONG_MS / 4, "an idle system waits for nobody"
    assert max(took) < LONG_MS, "not even the first, nor one right after another"


async def test_many_callers_share_batches(bus: Bus) -> None:
    client, loop = InferenceClient(bus, wait=60), asyncio.get_running_loop()
    callers, asked, waiting = 64, 0, 0

    async def caller(n: int) -> None:
        nonlocal callers, asked, waiting
        for turn in range(5):
            asked, waiting = asked + 1, waiting + 1
            await read(client, f"doc-{n}-{turn}")
            waiting -= 1
        callers -= 1

    async def all_asked() -> bool:
        # Whoever has its answer asks again, and then it is in the queue.
        stored = (await bus.js.stream_info("INFERENCE")).state.last_seq  # pyright: ignore[reportUnknownMemberType]
        return waiting == callers and stored >= asked

    # However slow this machine is, a run takes as long as the others need to ask.
    model = Reader(lambda: asyncio.run_coroutine_threadsafe(until(all_asked, timeout=60), loop).result())
    async with hosting(bus, model):
        await asyncio.gather(*(caller(n) for n in range(64)))
    sizes = [len(batch) for batch in model.batches]
    assert sum(sizes) == 320
    assert max(sizes) > 16, "four at once would be no company for 64"
    assert len(sizes) < 320 / 8, sizes


async def test_lines_of_different_documents_share_a_batch_up_to_its_size(bus: Bus) -> None:
    client, model = InferenceClient(bus, wait=60), Reader()
    async with hosting(bus, model, max_batch=8):
        model.go.clear()
        first = asyncio.create_task(read(client, "held"))
        await asyncio.sleep(0)
        calls = [asyncio.create_task(read(client, f"doc-{n}", f"{n}a", f"{n}b", f"{n}c")) for n in range(6)]
        async with asyncio.timeout(60):
            while (await bus.js.stream_info("INFERENCE")).state.messages < 7:  # pyright: ignore[reportUnknownMemberType]
                await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(first, *calls)
    assert any(len({text[0] for text in batch}) > 1 for batch in model.batches)
    assert all(len(batch) <= 8 + 2 for batch in model.batches), "it is full at 8, and no request is cut"
