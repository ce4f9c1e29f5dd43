# pyright: reportUnknownMemberType=false
"""Everything is lost but a backup: three servers, their streams and the database. The drill of `docs/operations.md`."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from billow.bus.images import ImageStore
from billow.client import Billow
from billow.schemas.record import Record
from billow.schemas.subjects import original_key
from billow.services.receipt.store import Store
from billow.testkit.consuming import until
from integration_tests.chaos.load import page
from integration_tests.cluster import NODES, Cluster, Containers
from integration_tests.cluster.containers import POSTGRES
from integration_tests.cluster.database import empty_database

pytestmark = pytest.mark.timeout(900)

TENANT = "shop"
DONE, UNDER_WAY = 8, 3
PATIENCE = 150.0


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncGenerator[tuple[Cluster, Containers]]:
    """New machines with nothing on them, and Billow running; everything of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="billow-disaster-") as own:
        containers = Containers(Path(own) / "containers")
        try:
            await asyncio.to_thread(containers.start)
            async with await Cluster.open(folder, containers=containers) as cluster:
                yield cluster, containers
        finally:
            await asyncio.to_thread(containers.remove)


async def billow(cluster: Cluster, user: str, *arguments: str | Path, code: int = 0) -> str:
    """The command as this user; its stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billow.cli", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | cluster.command_of(user) | {"BILLOW_DATABASE_URL": cluster.database_url},
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == code, out.decode() + err.decode()
    return out.decode()


def in_postgres(containers: Containers, *command: str, stdin: bytes = b"") -> bytes:
    """A command in the database's container, whose tools are of its version."""
    done = subprocess.run(
        ["docker", "exec", "-i", containers.get(POSTGRES).id, *command], input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


async def stored(cluster: Cluster, names: Sequence[str]) -> list[Record | None]:
    """Records as the database has them."""
    store = Store.create(cluster.database_url)
    try:
        return [await store.get(TENANT, name) for name in names]
    finally:
        await store.close()


async def waiting(cluster: Cluster) -> int:
    """Requests in the queue for models."""
    async with cluster.bus() as bus:
        return (await bus.js.stream_info("INFERENCE")).state.messages


async def work(cluster: Cluster) -> list[str]:
    """Documents that are done, one that failed, and some that wait for a model; their ids, in this order."""
    async with Billow(cluster.url, tenant=TENANT) as client:
        names = [f"done-{number}" for number in range(DONE)]
        for number, name in enumerate(names):
            await client.submit(page(number), source=f"{name}.png", document_id=name)
        await client.submit(b"no picture", source="failed.png", document_id="failed")
        records = [await client.result(name, timeout=PATIENCE) for name in (*names, "failed")]
        assert [record.status for record in records] == ["completed"] * DONE + ["failed"]
        await cluster.put_out(*(name for name in cluster.workers if name.endswith("-detector")))
        under_way = [f"under-way-{number}" for number in range(UNDER_WAY)]
        for number, name in enumerate(under_way, start=DONE):
            await client.submit(page(number), source=f"{name}.png", document_id=name)
    await until(lambda: _some(cluster), PATIENCE)
    return [*names, "failed", *under_way]


async def _some(cluster: Cluster) -> bool:
    return await waiting(cluster) > 0


async def originals(cluster: Cluster, names: Sequence[str]) -> list[bytes]:
    async with cluster.bus() as bus:
        images = ImageStore(bus.client, bus.domain)
        return [await images.get(TENANT, original_key(name)) for name in names]


async def test_everything_comes_back_from_a_backup(engine: None, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    async with site(tmp_path / "before") as (cluster, containers):
        names = await work(cluster)
        settled = names[: DONE + 1]
        started = time.monotonic()
        # The database first: what it has then is in the streams that are copied after it.
        dump = await asyncio.to_thread(in_postgres, containers, "pg_dump", "-U", "billow", "-Fc", "billow")
        await billow(cluster, "backup", "backup", folder, "--format", "jsonl")
        print(f"backup: {time.monotonic() - started:.1f} s")
        assert not [line for line in await cluster.denials() if '"backup"' in line]
        records, photos = await stored(cluster, settled), await originals(cluster, names)
        assert all(records)
        async with Billow(cluster.url, tenant=TENANT) as client:
            await client.submit(page(100), source="after.png", document_id="after")

    async with site(tmp_path / "after") as (cluster, containers):
        await cluster.put_out(*cluster.services)
        started = time.monotonic()
        await billow(cluster, "operator", "restore", folder, "--check")
        await billow(cluster, "operator", "restore", folder)
        await billow(cluster, "operator", "topology", "plan", "--replicas", str(len(NODES)), "--check")
        rebuilt = json.loads(await billow(cluster, "operator", "rebuild", "--replace", "--force", "--format", "jsonl"))
        print(f"restore and rebuild: {time.monotonic() - started:.1f} s")
        assert rebuilt["records"] == len(settled)
        assert await stored(cluster, settled) == records
        assert await originals(cluster, names) == photos

        await cluster.bring_back(*cluster.services)
        async with Billow(cluster.url, tenant=TENANT) as client:
            for name in names[DONE + 1 :]:
                assert (await client.result(name, timeout=PATIENCE)).status == "completed", name
            # What came after the backup is handed in again under its id; what is new goes its way.
            await client.submit(page(100), source="after.png", document_id="after")
            assert (await client.result("after", timeout=PATIENCE)).status == "completed"
            assert (await client.extract(page(101), source="new.png", timeout=PATIENCE)).status == "completed"
        proof = json.loads(await billow(cluster, "operator", "rebuild", "--format", "jsonl"))
        assert proof["proven"] and proof["equal"] == len(names) + 2
        assert await stored(cluster, settled) == records
        await _from_the_dump(cluster, containers, dump, settled, records)


async def _from_the_dump(
    cluster: Cluster, containers: Containers, dump: bytes, settled: Sequence[str], records: Sequence[Record | None]
) -> None:
    """The other way: the database from its own backup, and what it lacks from the stream."""
    await cluster.put_out(*cluster.services)
    await empty_database(cluster.database_url)
    restore = ("pg_restore", "-U", "billow", "-d", "billow", "--clean", "--if-exists", "--no-owner")
    await asyncio.to_thread(in_postgres, containers, *restore, stdin=dump)
    assert await stored(cluster, settled) == records
    report = json.loads(await billow(cluster, "operator", "rebuild", "--format", "jsonl", code=1))
    assert (report["equal"], report["only_stream"]) == (len(settled), UNDER_WAY + 2)
    await billow(cluster, "operator", "rebuild", "--replace", "--keep-older", "--force", "--format", "jsonl")
    await billow(cluster, "operator", "rebuild", "--format", "jsonl")
    await cluster.bring_back(*cluster.services)
