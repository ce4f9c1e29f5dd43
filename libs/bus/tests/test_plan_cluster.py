# pyright: reportUnknownMemberType=false
"""Copies and places in a cluster of three."""

import contextlib

from billow.bus.connection import Bus
from billow.bus.planning.apply import apply_changes
from billow.bus.planning.configs import Site
from billow.bus.planning.plan import Change, make_plan
from billow.bus.planning.server import Server
from billow.bus.provision import provision
from billow.bus.topology import BUCKETS, STREAMS
from billow.runtime.errors import TransientError
from billow.testkit.cluster import NODES, Hub
from billow.testkit.consuming import until
from billow.testkit.workstation import DOMAIN

ALL = [*(spec.name for spec in STREAMS), *(spec.stream for spec in BUCKETS)]


async def copies(bus: Bus) -> set[int | None]:
    server = Server(bus)
    return {(await server.ask(f"STREAM.INFO.{name}"))["config"]["num_replicas"] for name in ALL}


async def are(bus: Bus, count: int) -> bool:
    # While streams choose their leaders nobody answers for them.
    with contextlib.suppress(TransientError):
        return await copies(bus) == {count}
    return False


async def planned(bus: Bus, site: Site | None = None) -> tuple[Change, ...]:
    """The changes of a plan, once the servers answer."""
    found: list[tuple[Change, ...]] = []

    async def answered() -> bool:
        with contextlib.suppress(TransientError):
            found.append((await make_plan(bus, site)).changes)
        return bool(found)

    await until(answered)
    return found[0]


async def test_who_knows_the_site_raises_the_copies_and_only_an_operator_lowers_them(hub: Hub) -> None:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN) as bus:

        async def provisioned(replicas: int = 0) -> bool:
            with contextlib.suppress(TransientError):
                await provision(bus, replicas=replicas)
                return True
            return False

        await until(provisioned)
        await until(lambda: are(bus, 1))

        async def raised() -> bool:
            return await provisioned(NODES) and await are(bus, NODES)

        await until(raised)
        await until(provisioned)
        await until(lambda: provisioned(1))
        await until(lambda: are(bus, NODES))
        assert await planned(bus) == ()
        assert (await planned(bus, Site(replicas=NODES, cluster=DOMAIN)))[0].fields[0].field == "placement"

        lower = await planned(bus, Site(replicas=1))
        assert {field.field for change in lower for field in change.fields} == {"num_replicas"}

        async def lowered() -> bool:
            with contextlib.suppress(TransientError):
                await apply_changes(bus, await planned(bus, Site(replicas=1)))
            return await are(bus, 1)

        await until(lowered)
