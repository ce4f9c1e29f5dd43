"""What a service does when the next queue is full: its message waits, and nothing is lost."""

import itertools
import time

import pytest

from billow.bus.connection import Bus
from billow.bus.delivery import Delivery
from billow.bus.inference import InferenceClient
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, DOCUMENTS, INFERENCE
from billow.runtime.errors import PermanentError
from billow.schemas.events import Submitted
from billow.schemas.inference import DetectText
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_recognized, make_submitted

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false


async def _messages(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.messages


async def _has_one(bus: Bus, stream: str) -> bool:
    return await _messages(bus, stream) == 1


async def _at_most(bus: Bus, stream: str, *, messages: int = -1, subject: int = -1) -> None:
    config = (await bus.js.stream_info(stream)).config
    config.max_msgs, config.max_msgs_per_subject = messages, subject
    await bus.js.update_stream(config)


@pytest.mark.timeout(300)
async def test_what_cannot_be_buried_stays_and_others_go_on(bus: Bus) -> None:
    await _at_most(bus, DEADLETTERS.name, messages=1)
    seen: list[str] = []

    async def handler(delivery: Delivery) -> None:
        event = delivery.event(Submitted)
        seen.append(event.document_id)
        if event.document_id.startswith("bad"):
            raise PermanentError("It cannot be read.", code="undecodable_image")

    for name in ("bad-1", "bad-2", "good-1"):
        await publish_event(bus, make_submitted(name))
    async with consuming(bus, handler):
        await until(lambda: {"bad-1", "bad-2", "good-1"} <= set(seen))
        await publish_event(bus, make_submitted("good-2"))
        await until(lambda: "good-2" in seen)
        await until(lambda: _has_one(bus, DEADLETTERS.name))
        info = await bus.js.consumer_info(DOCUMENTS.name, "ocr")
        assert info.num_ack_pending
        await _at_most(bus, DEADLETTERS.name)
        await until(lambda: settled(bus), timeout=150)
    assert await _messages(bus, DEADLETTERS.name) == 2
    for sequence in (1, 2):
        dead = await bus.js.get_msg(DEADLETTERS.name, seq=sequence)
        assert (dead.headers or {})["Billow-Dead-Code"] == "undecodable_image"


@pytest.mark.timeout(300)
async def test_a_document_waits_while_its_models_queue_is_full(bus: Bus) -> None:
    await _at_most(bus, INFERENCE.name, subject=1)
    client = InferenceClient(bus, wait=0.2, retry_delay=0.3)
    tried: list[str] = []

    async def handler(delivery: Delivery) -> None:
        event = delivery.event(Submitted)
        tried.append(event.document_id)
        await client.call(
            event,
            DetectText(image=event.document_id.encode()),
            task="text-detection",
            model="absent_1-0-0",
            lane="interactive",
            again=delivery.deliveries > 1,
        )

    names = {f"doc-{number}" for number in range(5)}
    for name in names:
        await publish_event(bus, make_submitted(name))
    async with client, consuming(bus, handler):
        # Far more often than a message may fail: an orderly wait is no failure.
        await until(lambda: all(tried.count(name) > 6 for name in names), timeout=240)
    assert await _messages(bus, INFERENCE.name) == 1
    assert await _messages(bus, DEADLETTERS.name) == 0
    info = await bus.js.consumer_info(DOCUMENTS.name, "ocr")
    assert (info.num_ack_pending or 0) + (info.num_pending or 0) == 5


@pytest.mark.timeout(300)
async def test_an_outcome_waits_while_the_stream_is_full(bus: Bus) -> None:
    tried: list[float] = []

    async def handler(delivery: Delivery) -> None:
        event = delivery.event(Submitted)
        tried.append(time.monotonic())
        await publish_event(bus, make_recognized(event.document_id))

    await publish_event(bus, make_submitted("doc-1"))
    await _at_most(bus, DOCUMENTS.name, messages=1)
    async with consuming(bus, handler):
        await until(lambda: len(tried) > 2, timeout=120)
        assert await _messages(bus, DEADLETTERS.name) == 0
        await _at_most(bus, DOCUMENTS.name)
        await until(lambda: settled(bus), timeout=120)
    assert await _messages(bus, DOCUMENTS.name) == 2
    assert await _messages(bus, DEADLETTERS.name) == 0
    assert all(after - before > 0.5 for before, after in itertools.pairwise(tried)), "it came back too soon"
