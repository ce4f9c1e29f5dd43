# pyright: reportUnknownMemberType=false
"""Two workstation sites that come and go, behind a leaf that dials over TLS and one that dials over WebSocket."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest

from billow.bus.connection import Bus
from billow.bus.topology import OCR, inference_consumer
from billow.client import Billow
from billow.testkit.consuming import until
from integration_tests.chaos.load import page
from integration_tests.chaos.verdict import Verdict, judge
from integration_tests.cluster import NODES, SITES, Cluster, Plan
from integration_tests.conftest import OpenCluster

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[1]
TENANT = "sites"
PATIENCE = 150.0
"""seconds: the machine may be busy with other things"""


async def hand_in(billow: Billow, count: int, prefix: str) -> list[str]:
    """Submit so many documents; returns their ids."""
    names = [f"{prefix}-{number}" for number in range(count)]
    await asyncio.gather(*(billow.submit(page(i), source="x.png", document_id=name) for i, name in enumerate(names)))
    return names


async def finish(billow: Billow, names: Sequence[str]) -> None:
    """Wait until all are completed."""
    records = await asyncio.gather(*(billow.result(name, timeout=PATIENCE) for name in names))
    assert {record.status for record in records} == {"completed"}


async def verdict(cluster: Cluster, names: Sequence[str]) -> Verdict:
    async with cluster.bus() as bus:
        return await judge(bus, cluster.database_url, TENANT, names)


async def in_hand(bus: Bus, plan: Plan) -> int:
    """Pages that a detector has taken and not answered."""
    spec = inference_consumer("text-detection", plan.detector, "interactive")
    return (await bus.js.consumer_info(spec.stream, spec.durable)).num_ack_pending or 0


async def put_out(cluster: Cluster, site: str) -> None:
    """Stop all workers of a site."""
    await asyncio.gather(*(cluster.shut_down(worker) for worker in cluster.workers_of(site)))


async def bring_back(cluster: Cluster, site: str) -> None:
    """Start them again."""
    for worker in cluster.workers_of(site):
        await cluster.start(worker)
    await asyncio.gather(*(cluster.process(worker).wait_ready(PATIENCE) for worker in cluster.workers_of(site)))


async def test_a_real_document_through_real_models(open_cluster: OpenCluster) -> None:
    async with open_cluster(Plan(real=True)) as cluster:
        async with Billow(cluster.url, tenant=TENANT) as billow:
            record = await billow.extract(ROOT / "samples" / "receipt-cafe.jpg", timeout=PATIENCE)
            assert record.status == "completed"
            assert record.fields["total"].value
            assert record.items
        seen = await verdict(cluster, [record.document_id])
        assert seen.good and seen.completed == 1, seen
        async with cluster.bus() as bus:
            for stream in ("DOCUMENTS", "INFERENCE", "RESULTS", "RUNS", "DEADLETTERS", "KV_WAITS", "KV_MODELS"):
                assert (await bus.js.stream_info(stream)).config.num_replicas == len(NODES), stream


async def test_each_site_serves_alone_and_may_do_nothing_else(open_cluster: OpenCluster) -> None:
    async with open_cluster() as cluster, Billow(cluster.url, tenant=TENANT) as billow:
        names: list[str] = []
        for site, other in (SITES, SITES[::-1]):
            await put_out(cluster, other)
            found = await hand_in(billow, 5, site)
            await finish(billow, found)
            names += found
            await bring_back(cluster, other)
            leaf = cluster.leaf_url(site)
            async with await Bus.connect(leaf, name="intruder", domain="hub") as intruder:
                with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
                    await intruder.js.publish(f"documents.{TENANT}.completed.{names[0]}", b"{}", timeout=2)
                with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
                    await intruder.js.stream_info("DOCUMENTS")
        seen = await verdict(cluster, names)
        assert seen.good and seen.completed == 10, seen


async def test_what_a_site_had_in_hand_when_it_dropped_is_done_by_the_other_once(open_cluster: OpenCluster) -> None:
    plan = Plan(detect_ms=500)
    async with open_cluster(plan) as cluster, Billow(cluster.url, tenant=TENANT) as billow, cluster.bus() as bus:
        lost, other = SITES
        await put_out(cluster, other)
        names = await hand_in(billow, 20, "dropped")

        async def taken() -> bool:
            return await in_hand(bus, plan) > 0

        await until(taken, PATIENCE)
        await cluster.cut(lost)
        await bring_back(cluster, other)
        await finish(billow, names)

        await cluster.join(lost)
        await cluster.until_whole()
        await put_out(cluster, other)
        # The site that returned works again, and says nothing twice of what it had in hand.
        more = await hand_in(billow, 5, "returned")
        await finish(billow, more)
        seen = await verdict(cluster, [*names, *more])
        assert seen.good and seen.completed == 25, seen


async def test_with_every_site_gone_documents_are_accepted_and_finish_later(open_cluster: OpenCluster) -> None:
    async with open_cluster() as cluster, Billow(cluster.url, tenant=TENANT) as billow, cluster.bus() as bus:
        for site in SITES:
            await put_out(cluster, site)
            await cluster.cut(site)
        names = await hand_in(billow, 20, "alone")

        async def all_looked_at() -> bool:
            info = await bus.js.consumer_info(OCR.stream, OCR.durable)
            return info.num_pending == 0 and info.delivered is not None and info.delivered.consumer_seq >= len(names)

        await until(all_looked_at, PATIENCE)
        assert [await billow.get(name) for name in names] == [None] * len(names)
        for site in SITES:
            await cluster.join(site)
        await cluster.until_whole()
        for site in SITES:
            await bring_back(cluster, site)
        await finish(billow, names)
        seen = await verdict(cluster, names)
        assert seen.good and seen.completed == 20, seen
