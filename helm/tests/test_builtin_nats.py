"""The rendered NATS, Job and pods, started here with the settings and secrets that the chart gives them."""

import asyncio
import base64
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from billow.bus.embedded import find_binary
from helm.tests.chart import Object, containers, merged, named, of_kind, render
from helm.tests.test_scaling import KEDA

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

_WORKERS = {
    "workers": [{"name": "rules", "model": "rules_1-0-0", "runtime": "python", "minReplicas": 0, "maxReplicas": 2}]
}
_PATIENCE = 180
"""seconds"""


class Cluster:
    """Objects of a release, and a server in place of its NATS."""

    def __init__(self, objects: list[Object], folder: Path) -> None:
        self.objects = objects
        self.folder = folder
        self.port = 0
        self.monitor = 0

    def secret(self, name: str) -> dict[str, str]:
        """Its content, decoded."""
        data = named(self.objects, "Secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def environment(self, container: Object) -> dict[str, str]:
        """Variables of a container as its kubelet would set them, with the addresses of this machine."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= named(self.objects, "ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                found |= self.secret(source["secretRef"]["name"])
        for each in container.get("env", []):
            if "value" in each:
                found[each["name"]] = each["value"]
            else:
                reference = each["valueFrom"]["secretKeyRef"]
                found[each["name"]] = self.secret(reference["name"])[reference["key"]]
        found["BILLOW_NATS_URL"] = f"nats://127.0.0.1:{self.port}"
        found.pop("BILLOW_METRICS_PORT", None)
        found.pop("HOME", None)
        return found

    async def run(self, command: list[str], container: Object, **more: str) -> asyncio.subprocess.Process:
        """Start what a container runs, as its own process."""
        environ = {**os.environ, "BILLOW_LOG_FORMAT": "json", **self.environment(container), **more}
        return await asyncio.create_subprocess_exec(*command, env=environ, stdout=sys.stderr, stderr=sys.stderr)

    def lag(self, scaled: Object) -> dict[str, int]:
        """Pending and in hand by consumer, read where and as KEDA's scaler reads it; only what it finds."""
        found: dict[str, int] = {}
        for trigger in scaled["spec"]["triggers"]:
            wanted = trigger["metadata"]
            url = f"http://127.0.0.1:{self.monitor}/jsz?acc={wanted['account']}&consumers=true&config=true"
            with urllib.request.urlopen(url, timeout=10) as answer:
                accounts: list[dict[str, Any]] = json.load(answer)["account_details"]
            streams = [each for account in accounts for each in account.get("stream_detail", [])]
            for stream in streams:
                for consumer in stream.get("consumer_detail", []):
                    if (stream["name"], consumer["name"]) == (wanted["stream"], wanted["consumer"]):
                        found[consumer["name"]] = consumer["num_pending"] + consumer["num_ack_pending"]
        return found


@asynccontextmanager
async def _nats(cluster: Cluster) -> AsyncGenerator[None]:
    """The server of the release, with its own configuration but for addresses and folders."""
    config = named(cluster.objects, "ConfigMap", "billow-nats-server")["data"]
    text = config["nats.conf"].replace("0.0.0.0:4222", "127.0.0.1:-1").replace("0.0.0.0:8222", "127.0.0.1:-1")
    text = text.replace("/data", str(cluster.folder / "data")).replace("/run/nats", str(cluster.folder))
    assert str(cluster.folder / "data") in text
    (cluster.folder / "nats.conf").write_text(f'{text}\nports_file_dir: "{cluster.folder}"\n')
    (cluster.folder / "users.conf").write_text(config["users.conf"])
    container = containers(named(cluster.objects, "StatefulSet", "billow-nats")["spec"]["template"])[0]
    with (cluster.folder / "nats.log").open("w") as log:
        server = await asyncio.create_subprocess_exec(
            str(find_binary()), "-c", str(cluster.folder / "nats.conf"), env=cluster.environment(container), stderr=log
        )
    try:
        # It is there a moment before anything stands in it.
        await _until(lambda: any(file.read_text() for file in cluster.folder.glob("*.ports")), server)
        ports = json.loads(next(cluster.folder.glob("*.ports")).read_text())
        cluster.port = int(re.findall(r"\d+$", ports["nats"][0])[0])
        cluster.monitor = int(re.findall(r"\d+$", ports["monitoring"][0])[0])
        yield
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def _until(true: Any, process: asyncio.subprocess.Process) -> None:
    """Wait for a condition; fails at once if the process ends first."""
    async with asyncio.timeout(_PATIENCE):
        while not true():
            assert process.returncode is None, f"ended with {process.returncode}"
            await asyncio.sleep(0.05)


async def _ready_and_drained(cluster: Cluster, component: str, module: str) -> None:
    """Start a pod's process, wait until its readiness probe would pass, look at its consumers, stop it."""
    container = containers(named(cluster.objects, "Deployment", f"billow-{component}")["spec"]["template"])[0]
    ready = cluster.folder / f"ready-{component}"
    process = await cluster.run([sys.executable, "-m", module], container, BILLOW_READY_FILE=str(ready))
    try:
        await _until(ready.exists, process)
        scaled = named(cluster.objects, "ScaledObject", f"billow-{component}")
        wanted = {each["metadata"]["consumer"] for each in scaled["spec"]["triggers"]}
        assert cluster.lag(scaled) == dict.fromkeys(wanted, 0)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_PATIENCE):
            assert await process.wait() == 0
        assert not ready.exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_users_streams_readiness_and_lag_work_as_rendered(tmp_path: Path) -> None:
    objects = render(merged(KEDA, _WORKERS))
    cluster = Cluster(objects, tmp_path)
    async with _nats(cluster):
        job = of_kind(objects, "Job")[0]["spec"]["template"]["spec"]["containers"][0]
        assert job["command"][0] == "billow"
        billow = str(Path(sys.executable).with_name("billow"))
        topology = await cluster.run([billow, *job["command"][1:]], job)
        async with asyncio.timeout(_PATIENCE):
            assert await topology.wait() == 0
        await _ready_and_drained(cluster, "ocr", "billow.services.ocr")
        await _ready_and_drained(cluster, "worker-rules", "billow.services.worker")
        # What scaled to zero can come back: its consumers stayed.
        assert len(cluster.lag(named(objects, "ScaledObject", "billow-worker-rules"))) == 2
