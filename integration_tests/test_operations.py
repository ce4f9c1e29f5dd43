# pyright: reportUnknownMemberType=false
"""What `docs/operations.md` promises of backup, restore and a machine that is lost."""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from typer.testing import CliRunner

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.images import ImageStore
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.cli.__main__ import app
from billow.runtime.errors import BillowError
from billow.testkit.cluster import NODES, Hub
from billow.testkit.consuming import until
from billow.testkit.events import make_completed, make_submitted
from billow.testkit.workstation import DOMAIN

pytestmark = pytest.mark.timeout(600)

TENANT = make_submitted().tenant
SUBMITTED, COMPLETED = 20, 5
PATIENCE = 120.0


async def fill(bus: Bus, replicas: int = 1) -> None:
    """Documents, some with a record, and an original."""
    await provision(bus, replicas=replicas)
    for number in range(SUBMITTED):
        await publish_event(bus, make_submitted(f"doc-{number}"))
    for number in range(COMPLETED):
        await publish_event(bus, make_completed(f"doc-{number}"))
    images = ImageStore(bus.client, bus.domain)
    await images.ensure_bucket(TENANT, replicas=replicas)
    await images.put(TENANT, "doc-0/original", b"a photo")


async def kept(bus: Bus) -> tuple[int, bytes]:
    """Messages of `DOCUMENTS`, and the original."""
    info = await bus.js.stream_info("DOCUMENTS")
    return info.state.messages, await ImageStore(bus.client, bus.domain).get(TENANT, "doc-0/original")


WHOLE = (SUBMITTED + COMPLETED, b"a photo")


async def test_a_copy_of_the_folder_of_a_stopped_server_is_a_backup_and_makes_the_database_too(tmp_path: Path) -> None:
    async with (
        await EmbeddedServer.start(tmp_path / "nats") as server,
        await Bus.connect(server.url, name="test") as bus,
    ):
        await fill(bus)
    shutil.copytree(tmp_path / "nats", tmp_path / "backup")
    shutil.rmtree(tmp_path / "nats")

    shutil.copytree(tmp_path / "backup", tmp_path / "restored")
    async with await EmbeddedServer.start(tmp_path / "restored") as server:
        async with await Bus.connect(server.url, name="test") as bus:
            assert await kept(bus) == WHOLE
        lost = f"sqlite+aiosqlite:///{tmp_path / 'lost.db'}"
        result = await asyncio.to_thread(
            CliRunner(env={"BILLOW_NATS_URL": server.url}).invoke,
            app,
            ["rebuild", "--replace", "--compare", lost, "--format", "jsonl"],
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["records"] == COMPLETED
        again = await asyncio.to_thread(
            CliRunner(env={"BILLOW_NATS_URL": server.url}).invoke,
            app,
            ["rebuild", "--compare", lost, "--format", "jsonl"],
        )
        assert again.exit_code == 0, again.output
        assert json.loads(again.stdout)["equal"] == COMPLETED


async def caught_up(bus: Bus) -> bool:
    """Whether every copy of every stream is current."""
    with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
        for info in await bus.js.streams_info():
            copies = info.cluster.replicas if info.cluster is not None else None
            if not copies or len(copies) != NODES - 1 or not all(each.current for each in copies):
                return False
        return True
    return False


async def is_whole(bus: Bus) -> bool:
    """Whether all that was stored is handed out; servers that are choosing who leads answer nothing."""
    with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, BillowError, TimeoutError):
        return await kept(bus) == WHOLE
    return False


async def test_a_node_that_comes_back_without_its_disk_catches_up_and_may_then_carry_all(hub: Hub) -> None:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN, timeout=60) as bus:
        await fill(bus, replicas=NODES)
        await until(lambda: caught_up(bus), PATIENCE)
        await hub.kill_node(0)
        shutil.rmtree(hub.nodes[0].store_dir)
        await hub.restart_node(0)
        await until(lambda: caught_up(bus), PATIENCE)
        # The next one goes too: what the first has now is all there is of it, beside the third.
        await hub.kill_node(1)
        await until(lambda: is_whole(bus), PATIENCE)


async def test_copies_of_all_three_folders_are_a_backup_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN, timeout=60) as bus:
        await fill(bus, replicas=NODES)
        await until(lambda: caught_up(bus), PATIENCE)
    for index, node in enumerate(hub.nodes):
        await hub.stop_node(index)
        shutil.move(node.store_dir, tmp_path / f"backup-{index}")
    for index, node in enumerate(hub.nodes):
        shutil.copytree(tmp_path / f"backup-{index}", node.store_dir)
    await asyncio.gather(*(hub.restart_node(index) for index in range(NODES)))
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN, timeout=60) as bus:
        await until(lambda: caught_up(bus), PATIENCE)
        await until(lambda: is_whole(bus), PATIENCE)
