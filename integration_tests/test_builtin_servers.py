"""The chart's own NATS and PostgreSQL, run as it says: user, read-only root, settings, volumes, probes, end."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from billow.bus.connection import Bus
from billow.bus.settings import Access
from helm.tests.chart import EXAMPLES, NAMESPACE, Object, merged, of_kind, pod_templates, render
from integration_tests.cluster.containers import at_once
from integration_tests.cluster.docker import Network
from integration_tests.containers.installation import pull_values
from integration_tests.containers.manifests import pod_of
from integration_tests.containers.pods import Pod
from integration_tests.containers.server import Server, running, secrets_of
from integration_tests.images import NATS, POSTGRES
from integration_tests.images.engine import check_engine
from integration_tests.images.ours import CPU, TAG

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[1]


def _tag(image: str) -> dict[str, Any]:
    repository, _, tag = image.rpartition(":")
    return {"image": {"repository": repository, "tag": tag}}


_OURS = tuple(f"{name}:{TAG}" for name in CPU)

_VALUES: Mapping[str, Any] = {
    "image": {"tag": TAG},
    # Of the images that can be made without a registry.
    "database": {"builtin": _tag(POSTGRES)},
    "nats": {"builtin": _tag(NATS)},
}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """The release of one machine."""
    return render(_VALUES, EXAMPLES["single-node"])


@pytest.fixture
def network(engine: None) -> Generator[Network]:
    own = Network()
    try:
        yield own
    finally:
        own.remove()


def _is_locked(server: Server, user: int) -> None:
    code, output = server.pod.execute("id", "-u")
    assert (code, output.strip()) == (0, str(user))
    code, output = server.pod.execute("sh", "-c", "echo 1 >/written")
    assert code != 0 and "Read-only" in output, output


async def test_postgres_runs_keeps_its_rows_and_stops_quickly(
    objects: list[Object], network: Network, tmp_path: Path
) -> None:
    with running(objects, f"{NAMESPACE}-postgres", network, tmp_path) as server:
        _is_locked(server, user=999)

        def url() -> str:
            given = server.secrets[f"{NAMESPACE}-database"]["url"]
            return given.replace(f"@{NAMESPACE}-postgres:", f"@{server.pod.container.address}:")

        job = next(
            each["spec"]["containers"][0]
            for name, each in pod_templates(objects).items()
            if name.startswith("Job/") and "migrations" in name
        )
        migrated = await asyncio.to_thread(_run, job["command"][1:], {"BILLOW_DATABASE_URL": url()})
        assert migrated.returncode == 0, migrated.stderr
        engine = create_async_engine(url())
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE kept (id int)"))
            await connection.execute(text("INSERT INTO kept VALUES (42)"))
        # A client that stays connected must not hold it up; nothing waits for the grace to pass.
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            assert server.stop() < server.pod.spec.grace / 2
            await connection.invalidate()
        await engine.dispose()
        await asyncio.to_thread(server.start_again)
        assert "was not properly shut down" not in server.pod.log()
        engine = create_async_engine(url())
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT id FROM kept"))).scalar_one() == 42
        await engine.dispose()


def _run(arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Python on this machine with variables over its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env={**os.environ, **environ}, check=False, capture_output=True, text=True, timeout=240
    )


def _billow(server: Server, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user of the server, with the password of the chart's secret."""
    key = f"BILLOW_PASSWORD_{user.upper().replace('-', '_')}"
    environ = {
        "BILLOW_NATS_URL": f"nats://{server.pod.container.address}:4222",
        "BILLOW_NATS_USER": user,
        "BILLOW_NATS_INBOX_PREFIX": f"_INBOX.{user}",
        "BILLOW_NATS_PASSWORD": server.secrets[f"{NAMESPACE}-nats-users"][key],
    }
    return _run(["-m", "billow.cli", *arguments], environ)


def _messages(server: Server, stream: str) -> int:
    """What it says of a stream where it is monitored."""
    with urllib.request.urlopen(f"http://{server.pod.container.address}:8222/jsz?streams=true", timeout=10) as answer:
        accounts: list[dict[str, Any]] = json.load(answer)["account_details"]
    return next(
        each["state"]["messages"] for account in accounts for each in account["stream_detail"] if each["name"] == stream
    )


async def test_nats_runs_with_users_keeps_its_streams_and_stops_quickly(
    objects: list[Object], network: Network, tmp_path: Path
) -> None:
    with running(objects, f"{NAMESPACE}-nats", network, tmp_path) as server:
        (job,) = (each["spec"]["containers"][0] for name, each in pod_templates(objects).items() if "topology" in name)
        refused = _billow(server, "client-default", *job["command"][1:])
        assert refused.returncode != 0
        made = _billow(server, "operator", *job["command"][1:])
        assert made.returncode == 0, made.stderr
        submitted = _billow(server, "client-default", "submit", str(ROOT / "samples" / "receipt-cafe.jpg"))
        assert submitted.returncode == 0, submitted.stderr
        assert _messages(server, "DOCUMENTS") == 1
        # Clients stay connected until it is gone, and have nowhere else to go.
        address = f"nats://{server.pod.container.address}:4222"
        password = server.secrets[f"{NAMESPACE}-nats-users"]["BILLOW_PASSWORD_OCR"]
        async with await Bus.connect(address, name="test", access=Access(nats_user="ocr", nats_password=password)):
            assert await asyncio.to_thread(server.stop) < server.pod.spec.grace / 4
        await asyncio.to_thread(server.start_again)
        assert _messages(server, "DOCUMENTS") == 1


async def test_the_chart_alone_reads_a_receipt_on_one_machine(network: Network, tmp_path: Path) -> None:
    """`examples/single-node.yaml`, all of it, with what NOTES.txt says to do next."""
    check_engine(_OURS)
    # The claim of a cluster is a folder here.
    cache = {"kind": "hostPath", "hostPath": str(tmp_path / "models")}
    values = merged(_VALUES, {"models": {"cache": cache, "pull": pull_values()}})
    objects = render(values, EXAMPLES["single-node"])
    secrets = secrets_of(objects)
    with contextlib.ExitStack() as stack:
        nats, _ = (
            stack.enter_context(running(objects, f"{NAMESPACE}-{name}", network, tmp_path / name))
            for name in ("nats", "postgres")
        )
        for job in of_kind(objects, "Job"):
            pod = Pod(pod_of(objects, "Job", job["metadata"]["name"], secrets), network, tmp_path)
            stack.callback(pod.remove)
            pod.run_to_end()
        pods: list[Pod] = []
        for deployment in of_kind(objects, "Deployment"):
            pod = Pod(pod_of(objects, "Deployment", deployment["metadata"]["name"], secrets), network, tmp_path)
            stack.callback(pod.remove)
            pods.append(pod)
        assert len(pods) == 6
        at_once(pod.start for pod in pods)
        at_once(pod.wait_ready for pod in pods)
        assert all(pod.live for pod in pods)
        photo = ROOT / "samples" / "receipt-cafe.jpg"
        done = await asyncio.to_thread(_billow, nats, "client-default", "extract", str(photo), "--format", "jsonl")
        assert done.returncode == 0, done.stderr + "".join(pod.log()[-1000:] for pod in pods)
        record = json.loads(done.stdout)
        assert record["status"] == "completed"
        assert record["fields"]["total"]["value"]
