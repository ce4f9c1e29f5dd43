"""The topology on a real server."""

import msgspec
import pytest
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import ensure_stream, provision
from billow.bus.topology import CONSUMERS, DOCUMENTS, FLOWS, INFERENCE, RESULTS, STREAMS, inference_consumer
from billow.runtime.errors import StackUnreachableError
from billow.schemas.events import EVENT_NAMES


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


async def test_a_changed_declaration_updates_the_stream(bus: Bus) -> None:
    await ensure_stream(bus, msgspec.structs.replace(DOCUMENTS, max_age=3600.0))
    assert (await bus.js.stream_info(DOCUMENTS.name)).config.max_age == 3600.0


async def test_who_does_not_know_the_cluster_keeps_its_number_of_copies(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    in_cluster = msgspec.structs.replace(DOCUMENTS, max_age=3600.0)
    found = await bus.js.stream_info(DOCUMENTS.name)
    found.config.num_replicas = 3

    async def info(_: str) -> api.StreamInfo:
        return found

    async def update(config: api.StreamConfig) -> None:
        asked.append(config.num_replicas)

    monkeypatch.setattr(bus.js, "stream_info", info)
    monkeypatch.setattr(bus.js, "update_stream", update)
    await ensure_stream(bus, in_cluster)
    assert asked == [3]


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
            assert f"documents.*.{EVENT_NAMES[flow.event]}.*" in consumer.filters


def test_a_models_consumer_takes_one_lane_of_all_tenants() -> None:
    spec = inference_consumer("text-detection", "m_1-0-0", "bulk")
    assert spec.durable == "m_1-0-0_bulk"
    assert spec.filters == ("inference.text-detection.m_1-0-0.bulk.*",)
