# pyright: reportUnknownMemberType=false
"""The hub and its leaf are what tests take them for."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.settings import Access
from billow.bus.topology import RESULTS
from billow.testkit.cluster import NODES, Hub, provision_hub
from billow.testkit.consuming import until
from billow.testkit.workstation import DOMAIN


@pytest_asyncio.fixture
async def backend(hub: Hub) -> AsyncGenerator[Bus]:
    async with await Bus.connect(hub.url, name="backend", domain=DOMAIN) as bus:
        await provision_hub(bus)
        yield bus


@pytest_asyncio.fixture
async def desk(hub: Hub, backend: Bus) -> AsyncGenerator[Bus]:
    access = Access(nats_inbox_prefix=hub.workstation.inbox_prefix)
    async with await Bus.connect(hub.leaf_url, name="desk", domain=DOMAIN, access=access) as bus:
        yield bus


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def publish_at_last(bus: Bus, subject: str, data: bytes) -> None:
    """What the hub listens to becomes known at the leaf a moment after the stream was made or the link joined."""
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.js.publish(subject, data, timeout=2)
                return
            except (nats.errors.Error, nats.js.errors.Error):
                await asyncio.sleep(0.05)


async def say_here(message: Msg) -> None:
    await message.respond(b"here")


async def is_answered(bus: Bus, subject: str) -> bool:
    try:
        return (await bus.client.request(subject, timeout=2)).data == b"here"
    except nats.errors.Error:
        return False


async def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    async with await Hub.start(tmp_path) as hub:
        pids = hub.pids
        assert len(pids) == NODES + 1
        assert all(map(alive, pids))
    assert not any(map(alive, pids))
    logs = [tmp_path / f"{name}.log" for name in ("hub-0", "hub-1", "hub-2", "leaf")]
    assert all("Server Exiting" in log.read_text() for log in logs)


async def test_a_dead_server_loses_nothing_and_catches_up(hub: Hub, backend: Bus) -> None:
    await publish_at_last(backend, "results.default.toy.r1", b"kept")
    leaders: list[str] = []

    async def led() -> bool:
        with contextlib.suppress(nats.errors.Error):
            cluster = (await backend.js.stream_info(RESULTS.name)).cluster
            leaders.extend([cluster.leader] if cluster is not None and cluster.leader else [])
        return bool(leaders)

    await until(led)
    dead = hub.node(leaders[0])
    await hub.kill_node(dead)

    async def kept() -> bool:
        try:
            return (await backend.js.get_last_msg(RESULTS.name, "results.default.toy.r1")).data == b"kept"
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
            return False

    async def all_current() -> bool:
        try:
            found = (await backend.js.stream_info(RESULTS.name)).cluster
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
            return False
        peers = (found.replicas or []) if found is not None and found.leader else []
        return len(peers) == NODES - 1 and all(peer.current and not peer.offline for peer in peers)

    await until(kept)
    await hub.restart_node(dead)
    await until(all_current, 100)


async def test_the_link_can_be_cut_and_mended_while_the_leaf_lives(hub: Hub, desk: Bus, backend: Bus) -> None:
    subject = "results.default.token-classification.r1"
    await publish_at_last(desk, subject, b"1")
    await hub.cut_leaf()
    with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
        await desk.js.publish(subject, b"2", timeout=1)
    assert desk.client.is_connected
    await hub.join_leaf()
    await publish_at_last(desk, subject, b"3")
    assert (await backend.js.get_last_msg(RESULTS.name, subject)).data == b"3"


async def test_the_workstation_may_do_its_work_and_nothing_else(hub: Hub, desk: Bus, backend: Bus) -> None:
    model, task = hub.workstation.model, hub.workstation.task
    await publish_at_last(desk, f"results.default.{task}.r1", b"answer")
    await backend.client.subscribe(f"$SRV.INFO.{model}", cb=say_here)
    await backend.client.flush()
    await until(lambda: is_answered(desk, f"$SRV.INFO.{model}"))

    async def is_stored() -> bool:
        # Any replica answers, and one may be behind.
        with contextlib.suppress(nats.errors.Error):
            stored = await desk.js.get_last_msg(RESULTS.name, f"results.default.{task}.r1", direct=True)
            return stored.data == b"answer"
        return False

    await until(is_stored)

    for subject in (
        "documents.default.submitted.d1",
        f"inference.{task}.{model}.bulk.default",
        "results.a.text-detection.r1",
    ):
        with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
            await desk.js.publish(subject, b"x", timeout=0.5)
    for name in ("stream_info", "delete_stream", "purge_stream"):
        with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
            await getattr(desk.js, name)(RESULTS.name)
    assert (await backend.js.stream_info("DOCUMENTS")).state.messages == 0
    assert (await backend.js.stream_info(RESULTS.name)).state.messages == 1


async def test_the_workstation_does_not_hear_others(desk: Bus, backend: Bus) -> None:
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    await desk.client.subscribe(">", cb=hear)

    async def listens() -> bool:
        # The other servers learn of the subscription a moment after the leaf.
        await backend.client.publish("_INBOX.desk.first", b"")
        return "_INBOX.desk.first" in heard

    await until(listens)
    await backend.client.publish("_INBOX.backend.x", b"secret")
    await backend.js.publish("documents.default.submitted.d1", b"secret")
    # What it may hear comes over the same link after these.
    await backend.client.publish("cancelled.default.d1", b"")
    await backend.client.publish("_INBOX.desk.last", b"")
    await until(lambda: "_INBOX.desk.last" in heard)
    assert [subject for subject in heard if subject != "_INBOX.desk.first"] == [
        "cancelled.default.d1",
        "_INBOX.desk.last",
    ]
