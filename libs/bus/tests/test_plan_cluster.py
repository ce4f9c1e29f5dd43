# pyright: reportUnknownMemberType=false
"""Copies and places in a cluster of three."""

import contextlib

from billow.bus.connection import Bus
from billow.bus.planning.apply import apply_changes
from billow.bus.planning.configs import Site
from billow.bus.planning.plan import make_plan
from billow.bus.provision import provision
from billow.bus.topology import BUCKETS, STREAMS
from billow.runtime.errors import TransientError
from billow.testkit.cluster import NODES, Hub
from billow.testkit.consuming import until
from billow.testkit.workstation import DOMAIN

ALL = [*(spec.name for spec in STREAMS), *(spec.stream for spec in BUCKETS)]


async def copies(bus: Bus) -> set[int | None]:
    return {(await bus.js.stream_info(name)).config.num_replicas for name in ALL}


async def test_who_knows_the_site_raises_the_copies_and_only_an_operator_lowers_them(hub: Hub) -> None:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN) as bus:

        async def provisioned() -> bool:
            # While new streams choose their leaders nobody answers for them.
            with contextlib.suppress(TransientError):
                await provision(bus)
                return True
            return False

        await until(provisioned, 60)
        assert await copies(bus) == {1}

        async def raised() -> bool:
            with contextlib.suppress(TransientError):
                await provision(bus, replicas=NODES)
                return await copies(bus) == {NODES}
            return False

        await until(raised, 60)
        await provision(bus)
        await provision(bus, replicas=1)
        assert await copies(bus) == {NODES}
        assert (await make_plan(bus)).changes == ()
        assert (await make_plan(bus, Site(replicas=NODES, cluster=DOMAIN))).changes[0].fields[0].field == "placement"

        lower = await make_plan(bus, Site(replicas=1))
        assert {field.field for change in lower.changes for field in change.fields} == {"num_replicas"}
        await apply_changes(bus, lower.changes)
        assert await copies(bus) == {1}
