# pyright: reportUnknownMemberType=false
"""The user `backup` copies everything and changes nothing; the operator restores."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.backup import restore, take
from billow.bus.connection import Bus
from billow.bus.exports.permissions import identities
from billow.bus.exports.users import users_config
from billow.bus.images import ImageStore
from billow.bus.planning.apply import apply_topology
from billow.bus.publish import publish_event
from billow.bus.settings import Access
from billow.testkit.cluster import Node
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted

TENANT = make_submitted().tenant
DENIED = "violation"


def access(user: str) -> Access:
    return Access(nats_user=user, nats_password="secret", nats_inbox_prefix=f"_INBOX.{user}")


@pytest.fixture(params=["", "hub"], ids=["no domain", "a domain"])
def domain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def server(tmp_path: Path, domain: str) -> AsyncIterator[Node]:
    """A server with the exported users and a document."""
    known = identities(tenants=(TENANT,), domain=domain)
    jetstream = {
        "store_dir": str(tmp_path / "store"),
        "max_file_store": 2**40,
        **({"domain": domain} if domain else {}),
    }
    users = users_config(known, {each.name: "secret" for each in known})
    async with Node(
        "guarded", tmp_path, tmp_path, 0, {"authorization": {"users": users}, "jetstream": jetstream}
    ) as node:
        await node.restart()
        async with await Bus.connect(node.url, name="operator", domain=domain, access=access("operator")) as bus:
            await apply_topology(bus)
        async with await Bus.connect(node.url, name="client", domain=domain, access=access(f"client-{TENANT}")) as bus:
            images = ImageStore(bus.client, bus.domain)
            await images.ensure_bucket(TENANT)
            await images.put(TENANT, "doc-1/original", b"a photo" * 100_000)
            await publish_event(bus, make_submitted())
        yield node


def denials(server: Node) -> list[str]:
    return [line for line in server.log_file.read_text().splitlines() if DENIED in line.lower()]


async def test_the_exported_users_are_enough_and_a_backup_may_change_nothing(
    server: Node, domain: str, tmp_path: Path
) -> None:
    async with await Bus.connect(server.url, name="backup", domain=domain, access=access("backup")) as bus:
        book = await take(bus, tmp_path / "backup")
        assert {"DOCUMENTS", f"OBJ_IMAGES_{TENANT}"} <= {entry.name for entry in book.streams}
        assert denials(server) == []
        forbidden = (
            *(f"$JS.API.STREAM.{verb}.DOCUMENTS" for verb in ("DELETE", "PURGE", "UPDATE", "RESTORE", "MSG.DELETE")),
            "$JS.API.CONSUMER.DELETE.DOCUMENTS.ocr",
            "$JS.API.CONSUMER.CREATE.DOCUMENTS.x",
            "$JS.SNAPSHOT.RESTORE.DOCUMENTS.x",
            "documents.default.submitted.d",
            "$KV.ROUTES.text-detection",
        )
        for number, subject in enumerate(forbidden, start=1):
            await bus.client.publish(subject, b"{}")
            await until(lambda number=number: len(denials(server)) == number)
            assert subject in denials(server)[-1]
    async with await Bus.connect(server.url, name="operator", domain=domain, access=access("operator")) as bus:
        before = len(denials(server))
        await restore(bus, tmp_path / "backup", overwrite=True)
        assert len(denials(server)) == before
        assert (await bus.js.stream_info("DOCUMENTS")).state.messages == 1
