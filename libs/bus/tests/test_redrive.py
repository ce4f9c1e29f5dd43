# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Sending what died again: as it was, where it was, and once. On a real server."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from nats.js.api import RawStreamMsg

from billow.bus import headers
from billow.bus import redrive as redriving
from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import Letter, letters, read_letter
from billow.bus.delivery import Delivery
from billow.bus.provision import ensure_consumer
from billow.bus.publish import publish_event
from billow.bus.redrive import redrive
from billow.bus.topology import (
    DOCUMENTS,
    INFERENCE,
    MAX_DELIVERIES,
    OCR,
    OCR_RUNS,
    RESULTS,
    RUNS,
    ConsumerSpec,
    inference_consumer,
)
from billow.bus.work import WorkItem, WorkQueue
from billow.runtime import trace
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.events import Promoted, Submitted
from billow.schemas.inference import Detections, DetectText, InferenceResult, InferenceWork
from billow.testkit.consuming import consuming, dead_letters, settled, until
from billow.testkit.events import MOMENT, make_completed, make_record, make_submitted

SUBJECT = "documents.default.submitted.doc-1"
TASK, MODEL = "text-detection", "fake_1-0-0"


async def die(bus: Bus, spec: ConsumerSpec = OCR, code: str = "bad") -> Letter:
    """Make a dead letter of what waits for a consumer; returns the newest one."""

    async def handler(_: Delivery) -> None:
        raise PermanentError("No.", code=code)

    async with consuming(bus, handler, spec=spec):
        await until(lambda: settled(bus, spec))
    return await anext(letters(bus))


async def on_subject(bus: Bus, subject: str = SUBJECT, stream: str = DOCUMENTS.name) -> list[RawStreamMsg]:
    """All messages there, oldest first."""
    count = (await bus.js.stream_info(stream, subjects_filter=subject)).state.subjects or {}
    found: list[RawStreamMsg] = []
    while len(found) < count.get(subject, 0):
        after = (found[-1].seq or 0) + 1 if found else 1
        found.append(await bus.js.get_msg(stream, seq=after, subject=subject, next=True, direct=True))
    return found


async def change(bus: Bus, stream: str, **changes: float) -> None:
    """Change the stream's configuration."""
    config = (await bus.js.stream_info(stream)).config
    await bus.js.update_stream(dataclasses.replace(config, **changes))


async def forget_ids(bus: Bus, stream: str) -> None:
    """As when the duplicate window has passed."""
    await change(bus, stream, duplicate_window=0.1)


async def test_a_message_comes_again_as_it_was_and_its_letter_is_gone(bus: Bus) -> None:
    data = codec.encode(make_submitted("doc-1"), codec.MSGPACK)
    fields = {
        headers.CONTENT_TYPE: codec.MSGPACK,
        "X-Mine": "cà phê",
        trace.HEADER: f"00-{'1' * 32}-{'2' * 16}-01",
        headers.MSG_ID: "mine",
    }
    await bus.js.publish(SUBJECT, data, headers=fields)
    letter = await die(bus)
    assert await redrive(bus, letter.sequence) == ("sent", "")
    first, second = await on_subject(bus)
    assert second.data == first.data == data
    assert second.headers is not None
    assert second.headers["X-Mine"] == "cà phê"
    assert second.headers[headers.CONTENT_TYPE] == codec.MSGPACK
    assert second.headers[trace.HEADER].split("-")[1] == "1" * 32
    assert not [name for name in second.headers if name.startswith("Billow-Dead")]
    assert await read_letter(bus, letter.sequence) is None
    assert (await redrive(bus, letter.sequence)).outcome == "gone"
    handled: list[Submitted] = []

    async def handler(delivery: Delivery) -> None:
        handled.append(delivery.event(Submitted))

    async with consuming(bus, handler):
        await until(lambda: settled(bus))
    assert handled == [make_submitted("doc-1")]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the duplicate window"])
@pytest.mark.parametrize("died", ["before", "after"])
async def test_a_redrive_that_was_broken_off_sends_nothing_twice(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, late: bool, died: str
) -> None:
    if late:
        await forget_ids(bus, DOCUMENTS.name)
    await publish_event(bus, make_submitted("doc-1"))
    letter = await die(bus)

    async def crash(*_: object) -> bool:
        raise TransientError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(redriving, "remove", crash)
        for _ in range(2):
            with pytest.raises(TransientError):
                await redrive(bus, letter.sequence)
            if late:
                await until(lambda: window_over(bus))
    if died == "before":
        await publish_event(bus, make_submitted("doc-1", event_id="said again by its backend"))
    assert (await redrive(bus, letter.sequence)).outcome == "sent_before"
    sent = [message for message in await on_subject(bus) if headers.REDRIVE_OF in (message.headers or {})]
    assert len(sent) == 1
    assert await dead_letters(bus) == 0


async def window_over(bus: Bus) -> bool:
    """Whether an id that was used is taken for a new one again."""
    first = await bus.js.publish("documents.probe.submitted.probe", b"", headers={headers.MSG_ID: "probe"})
    return not first.duplicate and first.seq > 3


async def test_what_dies_again_is_a_letter_of_its_own_and_may_be_sent_again(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    first = await die(bus)
    await redrive(bus, first.sequence)
    second = await die(bus, code="worse")
    assert (second.code, second.sequence > first.sequence, second.deliveries) == ("worse", True, 1)
    assert (await redrive(bus, second.sequence)).outcome == "sent"
    assert len(await on_subject(bus)) == 3


async def test_a_document_that_completed_meanwhile_is_not_done_again(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    letter = await die(bus)
    await publish_event(bus, make_completed("doc-1", revision=2))
    await publish_event(bus, make_completed("doc-1"))
    done = await redrive(bus, letter.sequence)
    assert (done.outcome, "completed" in done.reason) == ("not_needed", True)
    assert len(await on_subject(bus)) == 1
    assert await dead_letters(bus) == 0


async def test_another_revision_that_completed_is_no_reason(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1", revision=2))
    letter = await die(bus)
    await publish_event(bus, make_completed("doc-1", revision=1))
    assert (await redrive(bus, letter.sequence)).outcome == "sent"


async def test_a_message_of_a_run_goes_back_to_its_run(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1", run_id="run-7"))
    letter = await die(bus, OCR_RUNS)
    assert (letter.run_id, letter.document_id, letter.event) == ("run-7", "doc-1", "submitted")
    assert (await redrive(bus, letter.sequence)).outcome == "sent"
    assert len(await on_subject(bus, "runs.default.run-7.submitted.doc-1", RUNS.name)) == 2
    assert await on_subject(bus) == []


async def test_an_old_promotion_never_wins_over_a_later_one(bus: Bus) -> None:
    promotions = ConsumerSpec(
        stream=DOCUMENTS.name,
        durable="promotions",
        service="receipt",
        filters=("documents.*.promoted.*",),
        ack_wait=15,
        max_ack_pending=10,
    )
    await publish_event(bus, promoted("first"))
    letter = await die(bus, promotions)
    await publish_event(bus, promoted("second"))
    assert (await redrive(bus, letter.sequence)).outcome == "not_needed"
    assert len(await on_subject(bus, "documents.default.promoted.doc-1")) == 2


def promoted(name: str) -> Promoted:
    return Promoted(
        tenant="default",
        document_id="doc-1",
        event_id=name,
        occurred_at=MOMENT,
        promotion=name,
        from_run="run-1",
        record=make_record("doc-1"),
    )


async def test_a_cut_letter_is_made_whole_from_its_stream(bus: Bus) -> None:
    size = bus.client.max_payload - 400
    await bus.js.publish(SUBJECT, b"x" * size)
    await bus.js.publish("documents.default.submitted.doc-2", b"x" * size)
    await die(bus)
    newer, older = [letter async for letter in letters(bus)]
    assert older.cut_from == size > older.size
    assert (await redrive(bus, older.sequence)).outcome == "sent"
    first, second = await on_subject(bus)
    assert second.data == first.data
    await bus.js.purge_stream(DOCUMENTS.name)
    refused = await redrive(bus, newer.sequence)
    assert (refused.outcome, "not in DOCUMENTS any more" in refused.reason) == ("refused", True)
    assert await dead_letters(bus) == 1, "the letter stays"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {headers.DEAD_SUBJECT: SUBJECT},
        {headers.DEAD_SUBJECT: SUBJECT, headers.DEAD_SEQUENCE: "RUNS:1"},
        {headers.DEAD_SUBJECT: "$JS.API.STREAM.PURGE.DOCUMENTS", headers.DEAD_SEQUENCE: "DOCUMENTS:1"},
        {headers.DEAD_SUBJECT: "documents.default.*.>", headers.DEAD_SEQUENCE: "DOCUMENTS:1"},
        {headers.DEAD_SUBJECT: "documents.default.submitted", headers.DEAD_SEQUENCE: "DOCUMENTS:1"},
        {headers.DEAD_SUBJECT: "documents.No Token.submitted.doc-1", headers.DEAD_SEQUENCE: "DOCUMENTS:1"},
    ],
)
async def test_a_letter_that_does_not_say_where_from_is_refused_and_stays(bus: Bus, fields: dict[str, str]) -> None:
    await bus.js.publish("deadletters.default.ocr.submitted", b"{}", headers=fields)
    done = await redrive(bus, 1)
    assert done.outcome == "refused"
    assert done.reason
    assert await dead_letters(bus) == 1


async def test_a_full_stream_leaves_the_letter(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    letter = await die(bus)
    await change(bus, DOCUMENTS.name, max_bytes=1_000)
    with pytest.raises(TransientError, match="full"):
        await redrive(bus, letter.sequence)
    await change(bus, DOCUMENTS.name, max_bytes=1_000_000)
    assert (await redrive(bus, letter.sequence)).outcome == "sent"


async def kill_work(bus: Bus) -> Letter:
    """The letter of work that nobody could do, its last trial noted."""
    work = InferenceWork(
        request_id="request-1",
        tenant="default",
        document_id="doc-1",
        model=MODEL,
        lane="interactive",
        payload=DetectText(image=b"x"),
        sent_at=MOMENT + timedelta(days=1),
    )
    await bus.js.publish(
        subjects.inference(TASK, MODEL, "interactive", "default"),
        codec.encode(work, codec.MSGPACK),
        headers={headers.CONTENT_TYPE: codec.MSGPACK},
    )
    spec = inference_consumer(TASK, MODEL, "interactive")
    await ensure_consumer(bus, spec)
    subscription = await bus.js.pull_subscribe_bind(spec.durable, INFERENCE.name)
    for _ in range(MAX_DELIVERIES - 1):
        (message,) = await subscription.fetch(1, timeout=10)
        await message.nak()
    await bus.js.publish(subjects.result("default", "trial", "request-1"), b"")
    async with taking(bus):
        await until(lambda: buried(bus))
    return await anext(letters(bus))


async def buried(bus: Bus) -> bool:
    return await dead_letters(bus) == 1


@contextlib.asynccontextmanager
async def taking(bus: Bus) -> AsyncGenerator[asyncio.Queue[WorkItem]]:
    """A worker's queue; what it hands out."""
    queue = WorkQueue(bus, task=TASK, model=MODEL, max_batch=1, max_wait_ms=0)
    taken: asyncio.Queue[WorkItem] = asyncio.Queue()
    await queue.start()

    async def work() -> None:
        while batch := await queue.take():
            for item in batch:
                output = Detections(quads=(), scores=())
                await queue.answer(item, InferenceResult(request_id="request-1", model=MODEL, output=output))
                taken.put_nowait(item)

    working = asyncio.create_task(work())
    try:
        yield taken
    finally:
        await queue.stop()
        await working
        queue.close()


async def answer(bus: Bus) -> InferenceResult:
    message = await bus.js.get_last_msg(RESULTS.name, subjects.result("default", TASK, "request-1"), direct=True)
    return codec.decode(message.data or b"", InferenceResult, codec.MSGPACK)


async def test_work_of_a_model_is_put_in_its_queue_again_and_answered(bus: Bus) -> None:
    letter = await kill_work(bus)
    assert (letter.code, letter.service, letter.event) == ("too_many_deliveries", "worker", TASK)
    assert (letter.document_id, letter.tenant, letter.deliveries) == ("doc-1", "default", MAX_DELIVERIES)
    assert (await answer(bus)).error is not None
    assert (await redrive(bus, letter.sequence)).outcome == "sent"
    assert await dead_letters(bus) == 0
    stored = (await bus.js.stream_info(RESULTS.name)).state.messages
    assert stored == 0, "neither its error nor its last trial counts any more"
    async with taking(bus) as taken:
        async with asyncio.timeout(30):
            item = await taken.get()
    assert item.work.payload == DetectText(image=b"x")
    assert (await answer(bus)).error is None


async def test_work_that_was_answered_meanwhile_is_not_done_again(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_: object) -> bool:
        raise TransientError("the connection is gone")

    letter = await kill_work(bus)
    with monkeypatch.context() as patch:
        patch.setattr(redriving, "remove", crash)
        with pytest.raises(TransientError):
            await redrive(bus, letter.sequence)
    async with taking(bus) as taken:
        async with asyncio.timeout(30):
            await taken.get()
        await forget_ids(bus, INFERENCE.name)
        assert (await redrive(bus, letter.sequence)).outcome == "not_needed"
        assert (await bus.js.stream_info(INFERENCE.name)).state.last_seq == 2
    assert await dead_letters(bus) == 0


async def test_work_that_no_model_can_read_is_refused(bus: Bus) -> None:
    subject = subjects.inference(TASK, MODEL, "interactive", "default")
    await bus.js.publish(subject, b"junk")
    async with taking(bus):
        await until(lambda: buried(bus))
    (letter,) = [letter async for letter in letters(bus)]
    assert letter.document_id == ""
    assert (await redrive(bus, letter.sequence)).outcome == "refused"
    assert await dead_letters(bus) == 1
