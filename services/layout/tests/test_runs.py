# pyright: reportUnknownMemberType=false
"""The whole layout service with a document of a replay: another model, another stream."""

import asyncio

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import find_event, latest_event, publish, publish_event
from billow.bus.topology import INFERENCE, RESULTS
from billow.runtime.process import Lifecycle
from billow.schemas import codec, subjects
from billow.schemas.events import Analyzed, Origin
from billow.schemas.inference import Classifications, ClassifyTokens, InferenceResult, InferenceWork
from billow.services.layout.__main__ import serve
from billow.services.layout.settings import LayoutSettings
from billow.testkit.consuming import until
from billow.testkit.events import MOMENT, SOURCE, make_recognized
from billow.testkit.plugin import NatsServer

MODEL = "asked-for_2-0-0"


async def test_a_document_of_a_run_is_labelled_by_the_model_that_the_run_asks_for(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        lifecycle = Lifecycle()
        settings = LayoutSettings(nats_url=nats_server.url, layout_model="usual_1-0-0")
        service = asyncio.create_task(serve(settings, lifecycle))
        event = make_recognized(
            run_id="run-1",
            asked={"token-classification": MODEL},
            origin=Origin(source=SOURCE, submitted_at=MOMENT, lane="bulk"),
        )
        await publish_event(bus, event)
        await until(lambda: _is_stored(bus))
        await _answer(bus)
        await until(lambda: _is_analyzed(bus))
        lifecycle.stopping.set()
        await service

        analyzed = await find_event(bus, Analyzed, "default", "doc-1", 1, "run-1")
        assert analyzed is not None
        assert analyzed.models["token-classification"] == MODEL
        assert analyzed.origin == event.origin
        assert await latest_event(bus, Analyzed, "default", "doc-1") is None


async def _is_stored(bus: Bus) -> bool:
    return (await bus.js.stream_info(INFERENCE.name)).state.last_seq > 0


async def _is_analyzed(bus: Bus) -> bool:
    return await find_event(bus, Analyzed, "default", "doc-1", 1, "run-1") is not None


async def _answer(bus: Bus) -> None:
    message = await bus.js.get_msg(INFERENCE.name, seq=1)
    assert message.subject == subjects.inference("token-classification", MODEL, "bulk", "default")
    work = codec.decode(message.data or b"", InferenceWork, codec.MSGPACK)
    assert isinstance(work.payload, ClassifyTokens)
    count = len(work.payload.words)
    output = Classifications(labels=("",) * count, scores=(0.9,) * count, groups=(-1,) * count)
    result = InferenceResult(request_id=work.request_id, model=MODEL, output=output)
    await publish(
        bus,
        subjects.result("default", "token-classification", work.request_id),
        codec.encode(result, codec.MSGPACK),
        message_id=None,
        stream=RESULTS.name,
        extra={"Content-Type": codec.MSGPACK},
    )
