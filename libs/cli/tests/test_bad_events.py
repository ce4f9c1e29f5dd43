# pyright: reportUnknownMemberType=false
"""Malformed messages of every kind never stop a consumer: real handlers on a real server, more than 20,000 cases.

What is drawn depends on a number that is printed; `--hypothesis-seed=NUMBER` draws the same again.
"""

import asyncio
import contextlib
import random
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import structlog
import structlog.testing
from structlog.typing import EventDict

from billow.bus import headers, verdict
from billow.bus.connection import Bus
from billow.bus.consume import Delivery, EventConsumer, Handler
from billow.bus.deadletter_shelf import Letter, letters
from billow.bus.embedded import EmbeddedServer
from billow.bus.guard import guarding
from billow.bus.images import ImageStore
from billow.bus.inference import InferenceClient
from billow.bus.lane import LaneOf, origin_lane, submitted_lane
from billow.bus.provision import provision
from billow.bus.publish import find_event
from billow.bus.topology import (
    INFERENCE,
    LAYOUT,
    LAYOUT_RUNS,
    OCR,
    OCR_RUNS,
    RECEIPT,
    RECEIPT_CANCELLATIONS,
    RECEIPT_ERASURES,
    RECEIPT_FAILURES,
    RECEIPT_PROMOTIONS,
    RECEIPT_RUNS,
    RESULTS,
    ConsumerSpec,
)
from billow.bus.work import WorkQueue
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import (
    EVENT_NAMES,
    Analyzed,
    Completed,
    Erased,
    Event,
    Failed,
    ImageRef,
    Promoted,
    Recognized,
)
from billow.schemas.inference import Classifications, ClassifyTokens, Detections, DetectText, InferenceWork, Payload
from billow.schemas.labels import Task
from billow.services.layout.handlers import LayoutHandler
from billow.services.ocr.handlers import OcrHandler
from billow.services.ocr.reading import Reader
from billow.services.ocr.settings import OcrSettings
from billow.services.receipt.erasures import Erasures
from billow.services.receipt.forgetting import forgetting
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.services.worker.handlers import ModelHost
from billow.services.worker.statistics import WorkerStatistics
from billow.services.worker.tasks.protocol import Answer
from billow.testkit.consuming import settled, until
from billow.testkit.events import MOMENT, make_analyzed, make_cancelled, make_recognized, make_record, make_submitted
from billow.testkit.malformed import Message, Pattern, draw, send

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

DETECTOR, LABELLER = "fake-det_1-0-0", "fake-label_1-0-0"
GOOD_EVERY = 100
PATIENCE = 400
"""seconds"""
RUN = "run-1"
PHOTO = cv2.imencode(".png", np.full((90, 160, 3), 255, np.uint8))[1].tobytes()
IMAGE = ImageRef(key="photo")
BUGS = ("handler failed, will try again", "message kept for later")
"""What a consumer says when something went wrong that nobody foresaw."""


class FakeModel:
    """Finds nothing on a page, and no meaning in words."""

    def warm_up(self) -> None:
        pass

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        return [Answer(output=_nothing(payload)) for payload in payloads]


def _nothing(payload: Payload) -> Detections | Classifications:
    if isinstance(payload, ClassifyTokens):
        count = len(payload.words)
        return Classifications(labels=("",) * count, scores=(0.0,) * count, groups=(-1,) * count)
    return Detections(quads=(), scores=())


class Target(NamedTuple):
    """One consumer, what it gets, and what shows that it handled a good message."""

    spec: ConsumerSpec
    cases: int
    make: Callable[[str], Event]
    outcome: type[Event] | None


def submitted(name: str) -> Event:
    return make_submitted(name, image=IMAGE)


def submitted_run(name: str) -> Event:
    return make_submitted(name, image=IMAGE, run_id=RUN)


def recognized_run(name: str) -> Event:
    return make_recognized(name, run_id=RUN)


def analyzed_run(name: str) -> Event:
    return make_analyzed(name, run_id=RUN)


def promoted(name: str) -> Event:
    return Promoted(
        tenant="default",
        document_id=name,
        event_id=f"promote.{name}",
        occurred_at=MOMENT,
        promotion="promote",
        from_run=RUN,
        record=make_record(name, promoted_from=RUN),
    )


def erased(name: str) -> Event:
    return Erased(tenant="default", document_id=name, event_id=f"erase.{name}", occurred_at=datetime.now(UTC))


TARGETS = (
    Target(OCR, 4_000, submitted, Recognized),
    Target(LAYOUT, 3_500, make_recognized, Analyzed),
    Target(RECEIPT, 3_500, make_analyzed, Completed),
    Target(RECEIPT_CANCELLATIONS, 1_500, make_cancelled, Failed),
    Target(RECEIPT_PROMOTIONS, 1_500, promoted, Completed),
    Target(RECEIPT_ERASURES, 400, erased, None),
    Target(OCR_RUNS, 1_000, submitted_run, Recognized),
    Target(LAYOUT_RUNS, 1_000, recognized_run, Analyzed),
    Target(RECEIPT_RUNS, 1_000, analyzed_run, Completed),
)
LETTERS, WORK = 1_200, 2_500
assert sum(target.cases for target in TARGETS) + LETTERS + WORK >= 20_000


class Counting:
    """A handler that remembers how it ended with each message."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.handled: set[int] = set()
        self.refused: set[int] = set()
        self.surprises: list[str] = []
        """What it raised that says nothing of what to do."""

    async def __call__(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except PermanentError:
            self.refused.add(delivery.sequence)
            raise
        except (TransientError, asyncio.CancelledError):
            raise
        except OverflowError:
            self.refused.add(delivery.sequence)
            raise
        except Exception as e:
            self.surprises.append("".join(traceback.format_exception(e)))
            raise
        self.handled.add(delivery.sequence)


class Bench:
    """The parts of all services, in one process, on one server."""

    def __init__(self, bus: Bus, port: int, store: Store, inference: InferenceClient, erasures: Erasures) -> None:
        self.bus = bus
        self.port = port
        self.store = store
        self._inference = inference
        self._erasures = erasures

    @contextlib.asynccontextmanager
    async def serving(self, spec: ConsumerSpec) -> AsyncGenerator[Counting]:
        """The real handler of a consumer, with the models that it asks."""
        async with contextlib.AsyncExitStack() as stack:
            handler, lane_of = await self._handler(spec, stack)
            counting = Counting(handler)
            consumer = EventConsumer(
                self.bus,
                spec,
                counting,
                concurrency=32,
                lane_of=lane_of,
                buries=spec is not RECEIPT_FAILURES,
            )
            await consumer.start()
            await stack.enter_async_context(until_the_end(consumer.run))
            yield counting

    async def _handler(self, spec: ConsumerSpec, stack: contextlib.AsyncExitStack) -> tuple[Handler, LaneOf | None]:
        if spec in (OCR, OCR_RUNS):
            settings = OcrSettings(detection_model=DETECTOR)
            images = ImageStore(self.bus.client)
            await images.put("default", IMAGE.key, PHOTO)
            guard = await stack.enter_async_context(guarding(self.bus, spec, Recognized, self._inference))
            await stack.enter_async_context(self.working("text-detection", DETECTOR))
            reader = Reader(self._inference, settings)
            ocr = OcrHandler(self.bus, images, reader, guard, max_bytes=settings.max_bytes)
            return ocr.on_submitted, submitted_lane
        if spec in (LAYOUT, LAYOUT_RUNS):
            guard = await stack.enter_async_context(guarding(self.bus, spec, Analyzed, self._inference))
            await stack.enter_async_context(self.working("token-classification", LABELLER))
            layout = LayoutHandler(self.bus, self._inference, guard, model=LABELLER)
            return layout.on_recognized, origin_lane
        receipt = ReceiptHandler(self.bus, self.store, min_confidence=0.9)
        handlers: dict[str, Handler] = {
            RECEIPT.durable: receipt.on_analyzed,
            RECEIPT_RUNS.durable: receipt.on_analyzed,
            RECEIPT_PROMOTIONS.durable: receipt.on_promoted,
            RECEIPT_CANCELLATIONS.durable: receipt.on_cancelled,
            RECEIPT_FAILURES.durable: receipt.on_dead_letter,
        }
        if spec is RECEIPT_ERASURES:
            return self._erasures.on_erased, None
        return self._erasures.guarded(handlers[spec.durable]), origin_lane if spec is RECEIPT else None

    @contextlib.asynccontextmanager
    async def working(self, task: Task, model: str) -> AsyncGenerator[None]:
        queue = WorkQueue(self.bus, task=task, model=model, max_batch=32, max_wait_ms=1)
        host = ModelHost(queue, FakeModel(), token=model, worker="here", statistics=WorkerStatistics(32))
        await queue.start()
        async with until_the_end(host.run):
            yield


@contextlib.asynccontextmanager
async def until_the_end(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    stopping = asyncio.Event()
    running = asyncio.create_task(run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


@contextlib.asynccontextmanager
async def bench(server: EmbeddedServer, folder: Path) -> AsyncGenerator[Bench]:
    store = Store.create(f"sqlite+aiosqlite:///{folder / 'records.db'}")
    await store.migrate()
    try:
        async with await Bus.connect(server.url, name="test") as bus:
            await provision(bus)
            async with (
                InferenceClient(bus, wait=60) as inference,
                forgetting(bus, store.engine, again=0.05, sweep=0) as erasures,
            ):
                yield Bench(bus, server.port, store, inference, erasures)
    finally:
        await store.close()


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    given: str | None = request.config.getoption("--hypothesis-seed")
    chosen = int(given) if given and given.isdigit() else random.SystemRandom().randrange(2**32)
    print(f"draw the same again with --hypothesis-seed={chosen}")
    return chosen


def subject_of(event: Event) -> bytes:
    return subjects.stated(event.tenant, event.run_id, EVENT_NAMES[type(event)], event.document_id).encode()


def mixed(bad: list[Message], good: Callable[[str], Message]) -> tuple[list[Message], list[str]]:
    """Good ones between the bad ones and at the end, and their names."""
    found: list[Message] = []
    names: list[str] = []
    for start in range(0, len(bad), GOOD_EVERY):
        names.append(f"good-{start}")
        found += [*bad[start : start + GOOD_EVERY], good(names[-1])]
    return found, names


def no_bugs(log: list[EventDict]) -> None:
    """No handler met anything that nobody foresaw."""
    found = [entry for entry in log if entry["event"] in BUGS or entry["log_level"] in ("error", "critical")]
    assert found == [], f"{len(found)} times, at first: {found[0]}"


async def all_settled(bus: Bus, spec: ConsumerSpec, counting: Counting, count: int) -> None:
    """Wait until so many messages came to the handler, and each has an outcome.

    A server that has taken a message may store it a moment later: nothing is settled then, and nothing is left to do.
    """

    async def seen_and_settled() -> bool:
        return len(counting.handled | counting.refused) >= count and await settled(bus, spec)

    try:
        await until(seen_and_settled, timeout=PATIENCE)
    except AssertionError:
        assert not counting.surprises, counting.surprises[0]
        raise


async def buried(bus: Bus) -> list[Letter]:
    return [letter async for letter in letters(bus)]


@pytest.mark.parametrize("target", TARGETS, ids=[target.spec.durable for target in TARGETS])
async def test_malformed_events_end_as_dead_letters_and_good_ones_between_them_are_handled(
    target: Target, embedded_server: EmbeddedServer, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Should there be a bug, it is told within the time of a test.
    monkeypatch.setattr(verdict, "_LONGEST_PAUSE", 0.01)
    spec, event = target.spec, target.make("doc-1")
    plain, packed = codec.encode(event), codec.encode(event, codec.MSGPACK)
    tokens = (1, -1) if event.run_id is None else (1, 2, -1)
    pattern = Pattern((subject_of(event),), (plain, plain, packed), tokens=tokens)

    def good(name: str) -> Message:
        return Message(subject_of(target.make(name)), None, codec.encode(target.make(name)))

    messages, names = mixed(draw(pattern, target.cases, number), good)
    with structlog.testing.capture_logs() as log:
        async with bench(embedded_server, tmp_path) as parts:
            if target.outcome is None:
                for name in names:
                    await parts.store.save(make_record(name))
            async with parts.serving(spec) as counting:
                await send(parts.port, messages)
                await all_settled(parts.bus, spec, counting, len(messages))
            for name in names:
                if target.outcome is None:
                    assert await parts.store.get("default", name) is None
                else:
                    assert await find_event(parts.bus, target.outcome, "default", name, 1, event.run_id), name
            dead = await buried(parts.bus)
    assert not counting.surprises, counting.surprises[0]
    no_bugs(log)
    assert len(counting.handled | counting.refused) == len(messages)
    refused = counting.refused - counting.handled
    assert len(refused) > target.cases * 0.6, "most of them are bad"
    buried_ones = {letter.stream_sequence for letter in dead}
    if target.outcome is None:
        # What is erased has no dead letters either.
        assert buried_ones <= refused
    else:
        assert buried_ones == refused
    codes = {letter.code for letter in dead}
    assert codes >= {"undecodable_event", "misaddressed_event"}
    assert "too_many_deliveries" not in codes


async def test_malformed_dead_letters_never_stop_the_failures_of_others(
    embedded_server: EmbeddedServer, tmp_path: Path, number: int
) -> None:
    names_of_headers = [name for name in vars(headers) if name.startswith("DEAD_")]
    event = make_submitted("doc-1")
    pattern = Pattern(
        tuple(f"deadletters.default.ocr.{name}".encode() for name in ("submitted", "recognized", "analyzed")),
        (codec.encode(event), codec.encode(event, codec.MSGPACK)),
        headers=tuple(str(getattr(headers, name)).encode() for name in names_of_headers),
        values=(subject_of(event), b"DOCUMENTS:x", b"runs", b".", b"runs.a.b.submitted.c", b"true"),
        tokens=(1, 2),
    )

    def good(name: str) -> Message:
        event = make_submitted(name)
        lines = (headers.DEAD_SUBJECT.encode() + b": " + subject_of(event), headers.DEAD_CODE.encode() + b": bad")
        head = b"NATS/1.0\r\n%b\r\n%b\r\n\r\n" % lines
        return Message(b"deadletters.default.ocr.submitted", head, codec.encode(event))

    messages, names = mixed(draw(pattern, LETTERS, number), good)
    with structlog.testing.capture_logs() as log:
        async with bench(embedded_server, tmp_path) as parts:
            async with parts.serving(RECEIPT_FAILURES) as counting:
                await send(parts.port, messages)
                await all_settled(parts.bus, RECEIPT_FAILURES, counting, len(messages))
            for name in names:
                record = await parts.store.get("default", name)
                assert record is not None and record.error is not None
                assert record.error.code == "bad"
            listed = await buried(parts.bus)
    no_bugs(log)
    assert len(counting.handled) == len(messages) == len(listed)
    assert any("without a document" in entry["event"] for entry in log)


async def test_malformed_work_never_stops_a_worker(
    embedded_server: EmbeddedServer, tmp_path: Path, number: int
) -> None:
    def work(name: str, tenant: str = "default") -> InferenceWork:
        return InferenceWork(
            request_id=name,
            tenant=tenant,
            document_id=name,
            model=DETECTOR,
            lane="interactive",
            payload=DetectText(image=PHOTO),
            sent_at=MOMENT,
        )

    def subject(tenant: str) -> bytes:
        return subjects.inference("text-detection", DETECTOR, "interactive", tenant).encode()

    def good(name: str) -> Message:
        return Message(subject("default"), None, codec.encode(work(name), codec.MSGPACK))

    # A subject of this queue holds 500 at most.
    tenants = [f"tenant-{n}" for n in range(20)]
    packed, plain = codec.encode(work("doc-1"), codec.MSGPACK), codec.encode(work("doc-1"))
    pattern = Pattern(tuple(map(subject, tenants)), (packed, packed, plain), tokens=(-1,))
    messages, names = mixed(draw(pattern, WORK, number), good)

    async def is_done() -> bool:
        state = (await parts.bus.js.stream_info(INFERENCE.name)).state
        return state.last_seq == len(messages) and state.messages == 0

    with structlog.testing.capture_logs() as log:
        async with bench(embedded_server, tmp_path) as parts:
            async with parts.working("text-detection", DETECTOR):
                await send(parts.port, messages)
                await until(is_done, timeout=PATIENCE)
            for name in names:
                result = subjects.result("default", "text-detection", name)
                assert await parts.bus.js.get_last_msg(RESULTS.name, result, direct=True)
            dead = await buried(parts.bus)
    no_bugs(log)
    assert len(dead) > WORK * 0.6
    assert {letter.code for letter in dead} == {"undecodable_work"}
