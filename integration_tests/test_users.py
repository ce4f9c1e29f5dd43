# pyright: reportUnknownMemberType=false
"""Everybody with the rights that `billow topology export permissions` gives, no more; passwords by the environment.

The clusters of all tests run so: services and workers at the hub as users of their own, workers of a site as its leaf.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from billow.testkit.consuming import until
from integration_tests.cluster import NODES, Cluster, Plan
from integration_tests.conftest import OpenCluster

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[1]


async def billow(cluster: Cluster, user: str, *arguments: str | Path) -> tuple[int, str, str]:
    """The command as this user: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billow.cli", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | cluster.command_of(user),
    )
    out, err = await asyncio.wait_for(process.communicate(), 150)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_exported_users_are_enough_for_everybody_and_not_too_much(open_cluster: OpenCluster) -> None:
    async with open_cluster(Plan(real=True)) as cluster:
        before = await cluster.denials()
        photo = ROOT / "samples" / "receipt-cafe.jpg"
        code, out, err = await billow(cluster, "client-default", "extract", photo, "--format", "jsonl")
        assert code == 0, err
        record = json.loads(out)
        assert record["status"] == "completed"
        assert record["fields"]["total"]["value"]
        assert record["items"]
        assert {"ocr", "layout", "receipt", "worker-rules_1-0-0"} <= await cluster.users()
        code, out, err = await billow(cluster, "operator", "topology", "plan", "--replicas", "3", "--check")
        assert code == 0, out + err
        assert sorted(await cluster.denials()) == sorted(before)
        async with cluster.bus() as bus:
            for stream in (
                "DOCUMENTS",
                "INFERENCE",
                "RESULTS",
                "RUNS",
                "DEADLETTERS",
                "KV_WAITS",
                "OBJ_IMAGES_default",
            ):
                assert (await bus.js.stream_info(stream)).config.num_replicas == len(NODES), stream

        # What the operator may do, a backend may not.
        code, _, _ = await billow(cluster, "client-default", "topology", "apply", "--yes")
        assert code != 0

        async def is_logged() -> bool:
            return len(await cluster.denials()) > len(before)

        # The engine has a server's lines a moment later than the server has written them.
        await until(is_logged, 60)
