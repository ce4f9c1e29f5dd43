"""The hub's servers die under load, one after the other and all at once: every consumer goes on by itself."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import pytest

from billow.client import Billow
from integration_tests.chaos.load import Load, page
from integration_tests.chaos.verdict import judge
from integration_tests.cluster import NODES, Cluster

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

PATIENCE = 240.0
"""seconds"""
LONGEST_STALL = 60.0
"""seconds without a completed document, on a machine that has other things to do; an idle one needs a few"""
_AWAY = 3.0
"""seconds"""


@contextlib.asynccontextmanager
async def loaded(cluster: Cluster, tenant: str, count: int, seconds: float) -> AsyncGenerator[Load]:
    """Hand in documents at a steady pace while the block runs.

    Then nothing is lost or doubled, no process had to be started again for that, and the stall was short.
    """
    processes = [cluster.process(name) for name in (*cluster.services, *cluster.workers)]
    before = [process.restarts for process in processes]
    await cluster.make_bucket(tenant)
    load = Load(cluster.url, count=count, seconds=seconds, tenant=tenant)
    running = asyncio.create_task(load.run())
    try:
        yield load
        await asyncio.wait_for(running, PATIENCE)
    finally:
        running.cancel()
    async with Billow(cluster.url, tenant=tenant) as billow:
        records = await asyncio.gather(*(billow.result(name, timeout=PATIENCE) for name in load.ids))
    assert {record.status for record in records} == {"completed"}
    assert [process.restarts for process in processes] == before
    async with cluster.bus() as bus:
        seen = await judge(bus, cluster.database_url, tenant, load.ids)
    print(f"longest stall: {seen.longest_stall:.1f} s; {load.refusals} attempts to submit were made again")
    assert seen.good and seen.completed == len(load.ids), seen
    assert seen.longest_stall < LONGEST_STALL, seen


async def test_each_node_in_turn_is_killed_under_load(cluster: Cluster) -> None:
    async with loaded(cluster, "in-turn", 200, 20.0):
        leader = await cluster.stream_leader("INFERENCE")
        for node in (leader, *(other for other in NODES if other != leader)):
            await cluster.kill(node)
            await asyncio.sleep(_AWAY)
            await cluster.start(node)
            await cluster.until_whole()


async def test_all_nodes_at_once_are_killed_under_load(cluster: Cluster) -> None:
    async with loaded(cluster, "all-at-once", 100, 10.0) as load:
        until = time.monotonic() + PATIENCE
        while len(load.accepted) < 20 and time.monotonic() < until:
            await asyncio.sleep(0.05)
        await asyncio.gather(*(cluster.kill(node) for node in NODES))
        await asyncio.gather(*(cluster.start(node) for node in NODES))
        await cluster.until_whole()


async def test_an_idle_system_takes_work_after_every_leader_died(cluster: Cluster) -> None:
    # Nobody publishes and nobody answers: only the heartbeats tell a consumer that its request is lost.
    async with Billow(cluster.url, tenant="idle") as billow:
        await cluster.make_bucket("idle")
        assert (await billow.extract(page(0), source="first.png", timeout=PATIENCE)).status == "completed"
        for number, node in enumerate(NODES):
            await cluster.kill(node)
            started = time.monotonic()
            record = await billow.extract(page(1 + number), source="next.png", timeout=PATIENCE)
            print(f"{time.monotonic() - started:.1f} s until a document is completed after {node} died")
            assert record.status == "completed"
            await cluster.start(node)
            await cluster.until_whole()
