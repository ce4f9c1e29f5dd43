# pyright: reportUnknownMemberType=false
"""What a start makes of the topology, on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from nats.js import api
from structlog.testing import capture_logs

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.planning.plan import make_plan
from billow.bus.provision import ensure_consumer, ensure_stream, provision
from billow.bus.settings import Access
from billow.bus.topology import (
    CONSUMERS,
    DOCUMENTS,
    FLOWS,
    INFERENCE,
    OCR,
    RESULTS,
    RUNS,
    STREAMS,
    inference_consumer,
)
from billow.runtime.errors import StackUnreachableError, TransientError
from billow.schemas.events import EVENT_NAMES
from billow.testkit.cluster import Node


async def test_all_streams_and_consumers_are_as_declared(bus: Bus) -> None:
    for spec in STREAMS:
        config = (await bus.js.stream_info(spec.name)).config
        assert (tuple(config.subjects or ()), config.max_age, config.duplicate_window) == (
            spec.subjects,
            spec.max_age,
            spec.duplicate_window,
        )
        assert config.allow_direct
    for spec in CONSUMERS:
        config = (await bus.js.consumer_info(spec.stream, spec.durable)).config
        assert (config.ack_wait, config.max_deliver, config.max_ack_pending) == (
            spec.ack_wait,
            -1,
            spec.max_ack_pending,
        )
        assert config.backoff in (None, [])


async def test_a_full_work_queue_refuses_and_never_drops(bus: Bus) -> None:
    config = (await bus.js.stream_info(INFERENCE.name)).config
    assert config.retention == api.RetentionPolicy.WORK_QUEUE
    assert config.discard == api.DiscardPolicy.NEW
    assert config.discard_new_per_subject


async def test_provisioning_again_keeps_what_is_stored(bus: Bus) -> None:
    await bus.js.publish("results.default.text-detection.r1", b"x")
    await provision(bus)
    assert (await bus.js.stream_info(RESULTS.name)).state.messages == 1


async def test_what_is_there_stays_as_it_is_and_the_log_says_what_to_do(bus: Bus) -> None:
    other = msgspec.structs.replace(DOCUMENTS, max_age=3600.0)
    with capture_logs() as logs:
        await ensure_stream(bus, other)
        await ensure_consumer(bus, msgspec.structs.replace(OCR, ack_wait=3))
    assert (await bus.js.stream_info(DOCUMENTS.name)).config.max_age == DOCUMENTS.max_age
    assert (await bus.js.consumer_info(OCR.stream, OCR.durable)).config.ack_wait == OCR.ack_wait
    told = [entry for entry in logs if "billow topology plan" in entry["event"]]
    assert [entry["fields"] for entry in told] == [["max_age"], ["ack_wait"]]


async def test_provisioning_again_says_nothing(bus: Bus) -> None:
    with capture_logs() as logs:
        await provision(bus)
    assert logs == []


async def test_a_consumer_that_is_gone_is_made_again_with_its_stream(bus: Bus) -> None:
    await bus.js.delete_stream(OCR.stream)
    await ensure_consumer(bus, OCR)
    assert (await bus.js.consumer_info(OCR.stream, OCR.durable)).config.filter_subject == OCR.filters[0]


async def test_several_processes_start_at_once(embedded_server: EmbeddedServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(await Bus.connect(embedded_server.url, name="test")) for _ in range(4)]
        await asyncio.gather(*map(provision, buses))
        assert (await make_plan(buses[0])).changes == ()


@pytest_asyncio.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Node]:
    """A server with a user who may look and not make anything."""
    publish = {"allow": ["$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.INFO.>"]}
    users = [
        {"user": "chief", "password": "c"},
        {"user": "reader", "password": "r", "permissions": {"publish": publish}},
    ]
    more = {
        "authorization": {"users": users},
        "jetstream": {"store_dir": str(tmp_path / "store"), "max_file_store": 1024**4},
    }
    async with Node("guarded", tmp_path, tmp_path, 0, more) as server:
        await server.restart()
        yield server


async def test_who_may_make_nothing_starts_where_all_is_there(guarded: Node) -> None:
    chief = Access(nats_user="chief", nats_password="c")
    reader = Access(nats_user="reader", nats_password="r")
    async with (
        await Bus.connect(guarded.url, name="test", access=chief) as owner,
        await Bus.connect(guarded.url, name="test", access=reader) as bus,
    ):
        await provision(owner)
        with capture_logs() as logs:
            await provision(bus)
        assert logs == []
        await owner.js.delete_key_value("WAITS")
        with pytest.raises(TransientError, match=r"KV_WAITS is missing.*billow topology apply"):
            await provision(bus)


async def test_a_jetstream_domain_is_asked_by_its_own_prefix() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as store:
        async with (
            await EmbeddedServer.start(store, domain="hub") as server,
            await Bus.connect(server.url, name="test", domain="hub") as bus,
        ):
            await provision(bus)
            assert bus.api_prefix == "$JS.hub.API"
            assert (await bus.js.stream_info(DOCUMENTS.name)).config.name == DOCUMENTS.name


async def test_nobody_there_is_said_with_what_to_do() -> None:
    with pytest.raises(StackUnreachableError, match=r"billow up.*BILLOW_NATS_URL"):
        await Bus.connect("nats://127.0.0.1:9", name="test", timeout=0.5)


def test_every_event_has_a_publisher_and_each_consumer_listens_to_declared_events() -> None:
    assert {flow.event for flow in FLOWS} == set(EVENT_NAMES)
    assert all(flow.published_by for flow in FLOWS)
    for flow in FLOWS:
        for consumer in flow.consumed_by:
            prefix = "runs.*.*" if consumer.stream == RUNS.name else "documents.*"
            assert f"{prefix}.{EVENT_NAMES[flow.event]}.*" in consumer.filters


def test_a_models_consumer_takes_one_lane_of_all_tenants() -> None:
    spec = inference_consumer("text-detection", "m_1-0-0", "bulk")
    assert spec.durable == "m_1-0-0_bulk"
    assert spec.filters == ("inference.text-detection.m_1-0-0.bulk.*",)
