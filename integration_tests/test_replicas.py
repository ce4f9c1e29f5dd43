"""Three processes of each service share the work, and do it at least twice as fast as one."""

import asyncio
import math
import time

import cv2
import numpy as np
import pytest

from billow.bus.publish import publish_event
from billow.client import Billow
from billow.schemas.events import ImageRef
from billow.schemas.subjects import original_key
from billow.testkit.events import make_submitted
from integration_tests.chaos.verdict import judge
from integration_tests.cluster import Cluster, Plan
from integration_tests.cluster.plan import SERVICES
from integration_tests.conftest import OpenCluster

pytestmark = pytest.mark.timeout(900)

COUNT = 18
PLAN = Plan(
    replicas=3,
    # Two sites have a detector each; they must not be what the three wait for.
    detect_ms=400.0,
    recognise_ms=800.0,
    tag_ms=300.0,
    environ={f"BILLOW_{service.upper()}_CONCURRENCY": "1" for service in SERVICES},
)
"""Next to the sleep everything else is short, also on a busy machine."""
LEAST_SHARE = 0.1
"""Of a service's messages, what each of three processes sends at least; a third would be even."""
TIMES = 3
"""Measurements of the three at most: the claim is about speed, and the machine may have other things to do in one."""


def page() -> bytes:
    return cv2.imencode(".jpg", np.full((640, 480, 3), 200, np.uint8))[1].tobytes()


async def seconds_for(cluster: Cluster, tenant: str) -> float:
    """How long the documents take from the first submission until the last is completed; counts them too."""
    async with Billow(cluster.url, tenant=tenant) as billow, cluster.bus() as bus:
        # The first one opens connections and makes the bucket.
        await billow.submit(page(), source="x.png", document_id="first")
        assert (await billow.result("first", timeout=240)).status == "completed"
        names = [f"doc-{number}" for number in range(COUNT)]
        picture = ImageRef(key=original_key("first"))
        started = time.monotonic()
        await asyncio.gather(
            *(publish_event(bus, make_submitted(name, tenant=tenant, image=picture)) for name in names)
        )
        records = await asyncio.gather(*(billow.result(name, timeout=240) for name in names))
        taken = time.monotonic() - started
        assert {record.status for record in records} == {"completed"}
        assert all("text-recognition" in record.models for record in records)
        seen = await judge(bus, cluster.database_url, tenant, ["first", *names])
    assert seen.good and seen.completed == COUNT + 1, seen
    return taken


async def test_three_of_each_service_share_the_work_and_are_twice_as_fast(open_cluster: OpenCluster) -> None:
    async with open_cluster(PLAN) as cluster:
        others = [name for name in cluster.services if not name.endswith("-0")]
        await cluster.put_out(*others)
        alone = await seconds_for(cluster, "one-of-each")

        await cluster.bring_back(*others)
        before = {service: await cluster.sent_by(service) for service in SERVICES}
        together = math.inf
        for number in range(TIMES):
            together = min(together, await seconds_for(cluster, f"three-of-each-{number}"))
            if alone >= 2 * together:
                break
        for service in SERVICES:
            after = await cluster.sent_by(service)
            sent = {who: count - before[service].get(who, 0) for who, count in after.items()}
            assert len(sent) == 3, sent
            assert min(sent.values()) > LEAST_SHARE * sum(sent.values()), (service, sent)
    print(f"one of each: {alone:.1f} s, three: {together:.1f} s for {COUNT} documents: {alone / together:.2f} x")
    assert alone >= 2 * together, f"{alone:.1f} s by one, {together:.1f} s by three: {alone / together:.2f} x"
