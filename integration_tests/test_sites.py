# pyright: reportUnknownMemberType=false
"""Two workstation sites that come and go, behind a leaf that dials over TLS and one that dials over WebSocket."""

import asyncio
from collections.abc import Sequence

import nats.errors
import nats.js.errors
import pytest

from billow.bus.connection import Bus
from billow.bus.topology import OCR, inference_consumer
from billow.client import Billow
from billow.testkit.consuming import until
from billow.testkit.models import DETECTOR_TOKEN
from integration_tests.chaos.load import page
from integration_tests.chaos.verdict import judge
from integration_tests.cluster import SITES, Cluster

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

PATIENCE = 240.0
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


async def prove(cluster: Cluster, tenant: str, names: Sequence[str]) -> None:
    """Nothing is lost, doubled or buried."""
    async with cluster.bus() as bus:
        seen = await judge(bus, cluster.database_url, tenant, names)
    assert seen.good and seen.completed == len(names), seen


async def test_each_site_serves_alone_and_may_do_nothing_else(cluster: Cluster) -> None:
    tenant = "serves-alone"
    async with Billow(cluster.url, tenant=tenant) as billow:
        names: list[str] = []
        for site, other in (SITES, SITES[::-1]):
            await cluster.put_out(*cluster.workers_of(other))
            found = await hand_in(billow, 5, site)
            await finish(billow, found)
            names += found
            await cluster.bring_back(*cluster.workers_of(other))
            leaf = cluster.leaf_url(site)
            async with await Bus.connect(leaf, name="intruder", domain="hub") as intruder:
                with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
                    await intruder.js.publish(f"documents.{tenant}.completed.{names[0]}", b"{}", timeout=2)
                with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
                    await intruder.js.stream_info("DOCUMENTS")
    await prove(cluster, tenant, names)


async def test_what_a_site_had_in_hand_when_it_dropped_is_done_by_the_other_once(cluster: Cluster) -> None:
    tenant = "dropped"
    lost, other = SITES
    detector = inference_consumer("text-detection", DETECTOR_TOKEN, "interactive")
    async with Billow(cluster.url, tenant=tenant) as billow, cluster.bus() as bus:
        await cluster.put_out(*cluster.workers_of(other))
        # Its request is open, so it is given pages; it looks at them only once it is cut off.
        await cluster.pause(f"{lost}-detector")
        names = await hand_in(billow, 20, "dropped")

        async def taken() -> bool:
            return ((await bus.js.consumer_info(detector.stream, detector.durable)).num_ack_pending or 0) > 0

        await until(taken, PATIENCE)
        await cluster.cut(lost)
        await cluster.unpause(f"{lost}-detector")
        await cluster.bring_back(*cluster.workers_of(other))
        await finish(billow, names)

        await cluster.join(lost)
        await cluster.until_whole()
        await cluster.put_out(*cluster.workers_of(other))
        # The site that returned works again, and says nothing twice of what it had in hand.
        names += await hand_in(billow, 5, "returned")
        await finish(billow, names)
    await prove(cluster, tenant, names)


async def test_with_every_site_gone_documents_are_accepted_and_finish_later(cluster: Cluster) -> None:
    tenant = "alone"
    async with Billow(cluster.url, tenant=tenant) as billow, cluster.bus() as bus:

        async def looked_at() -> int:
            info = await bus.js.consumer_info(OCR.stream, OCR.durable)
            return info.delivered.consumer_seq if info.delivered is not None and not info.num_pending else 0

        before = await looked_at()
        for site in SITES:
            await cluster.put_out(*cluster.workers_of(site))
            await cluster.cut(site)
        names = await hand_in(billow, 20, "alone")

        async def all_looked_at() -> bool:
            return await looked_at() >= before + len(names)

        await until(all_looked_at, PATIENCE)
        assert [await billow.get(name) for name in names] == [None] * len(names)
        for site in SITES:
            await cluster.join(site)
        await cluster.until_whole()
        await cluster.bring_back(*cluster.workers)
        await finish(billow, names)
    await prove(cluster, tenant, names)
