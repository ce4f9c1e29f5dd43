# pyright: reportUnknownMemberType=false
"""The layout service on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

from billow.bus import headers
from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.guard import guarding
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import DEADLETTERS, INFERENCE, LAYOUT
from billow.schemas import codec, subjects
from billow.schemas.events import Analyzed
from billow.schemas.inference import Classifications, ClassifyTokens, InferenceResult, InferenceWork
from billow.services.layout.handlers import LayoutHandler
from billow.testkit.consuming import settled, until
from billow.testkit.events import make_cancelled, make_recognized
from billow.testkit.plugin import NatsServer


@contextlib.asynccontextmanager
async def layout(bus: Bus) -> AsyncGenerator[None]:
    """The service, with all the time of the world to wait for a model that is absent."""
    inference = InferenceClient(bus, wait=600)
    async with guarding(bus, LAYOUT, Analyzed, inference) as guard:
        handler = LayoutHandler(bus, inference, guard, model="absent_1-0-0")
        consumer = EventConsumer(bus, LAYOUT, handler.on_recognized, concurrency=1)
        await consumer.start()
        stopping = asyncio.Event()
        running = asyncio.create_task(consumer.run(stopping))
        yield
        stopping.set()
        await running


async def dead_letters(bus: Bus, count: int) -> bool:
    return (await bus.js.stream_info(DEADLETTERS.name)).state.messages == count


async def asked(bus: Bus) -> bool:
    return (await bus.js.stream_info(INFERENCE.name)).state.last_seq > 0


async def test_a_document_whose_deadline_passed_fails_instead_of_waiting_for_a_model(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        async with layout(bus):
            await publish_event(bus, make_recognized(deadline=datetime.now(UTC) - timedelta(seconds=1)))
            await until(lambda: dead_letters(bus, 1))
        letter = await bus.js.get_last_msg(DEADLETTERS.name, "deadletters.default.layout.recognized", direct=True)
        assert (letter.headers or {})[headers.DEAD_CODE] == "deadline_exceeded"


async def test_who_answered_and_what_it_was_sent_is_told(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        async with layout(bus):
            event = make_recognized("doc-1", link_bytes={"original": 400_000})
            await publish_event(bus, event)
            await until(lambda: asked(bus))
            message = await bus.js.get_msg(INFERENCE.name, seq=1)
            work = codec.decode(message.data or b"", InferenceWork, codec.MSGPACK)
            assert isinstance(work.payload, ClassifyTokens)
            count = len(work.payload.words)
            answer = InferenceResult(
                request_id=work.request_id,
                model="another_2-0-0",
                output=Classifications(labels=("",) * count, scores=(0.9,) * count, groups=(-1,) * count),
            )
            subject = subjects.result("default", "token-classification", work.request_id)
            await bus.js.publish(subject, codec.encode(answer, codec.MSGPACK))
            await until(lambda: settled(bus, LAYOUT), timeout=60)
        analyzed = await latest_event(bus, Analyzed, "default", "doc-1")
        assert analyzed is not None
        assert analyzed.models == {**event.models, "token-classification": "another_2-0-0"}
        assert analyzed.link_bytes["original"] == 400_000
        assert analyzed.link_bytes["token-classification"] == len(codec.encode(work.payload, codec.MSGPACK))


async def test_a_document_cancelled_while_a_model_is_asked_is_not_analyzed(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        async with layout(bus):
            await publish_event(bus, make_recognized("doc-1"))
            await until(lambda: asked(bus))
            cancelled = make_cancelled("doc-1")
            await publish_event(bus, cancelled)
            await announce(bus, cancelled)
            await until(lambda: settled(bus, LAYOUT), timeout=60)
        assert await latest_event(bus, Analyzed, "default", "doc-1") is None
        assert await dead_letters(bus, 0)
