"""A workstation outside the cluster, as docs/workstation.md tells it: join with a token, then its compose file.

`docker compose` is not needed: what the file says of a service is given to the engine as it stands.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from billow.cli.workstation_token import SiteModel, SiteToken, pack
from integration_tests.cluster import Containers
from integration_tests.cluster.access import SITES, password_of
from integration_tests.cluster.containers import NODES
from integration_tests.cluster.docker import Container
from integration_tests.images.engine import check_engine
from integration_tests.images.ours import TAG

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[1]
_COMPOSE = ROOT / "deploy" / "workstation" / "compose.yaml"
_IMAGE = f"billow/worker-cpu:{TAG}"
_MODEL = "ppocr-v6-det-small_1-0-0"
_READY_SECONDS = 240.0
_KNOWN = {
    *(
        "cap_drop",
        "command",
        "depends_on",
        "entrypoint",
        "env_file",
        "environment",
        "image",
        "logging",
        "mem_limit",
        "networks",
    ),
    *("profiles", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes"),
}


class Site:
    """The folder that joining writes, and the services of the compose file that use it."""

    def __init__(self, folder: Path, containers: Containers) -> None:
        self._folder = folder
        self._containers = containers
        text = _COMPOSE.read_text().replace("${BILLOW_SITE:-./site}", str(folder))
        text = text.replace("${BILLOW_CPU_IMAGE:-billow/worker-cpu:0.1.0}", _IMAGE)
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))[
            "services"
        ]
        self._started: list[Container] = []

    def join(self) -> None:
        """As the page says, with a token of this hub, which has its streams."""
        at_hub = {"BILLOW_NATS_URL": self._containers.url, "SSL_CERT_FILE": str(self._containers.authority)}
        _billow("topology", "apply", "--yes", **at_hub)
        hub = tuple(f"tls://{self._containers.get(node).address}:7422" for node in NODES)
        token = SiteToken(
            site=SITES[0],
            hub=hub,
            user=SITES[0],
            password=password_of(SITES[0]),
            ca=self._containers.authority.read_text(),
            models=(SiteModel(name=_MODEL),),
        )
        _billow("workstation", "join", "-", "--folder", str(self._folder), text=pack(token))
        (self._folder / "leaf.conf").write_bytes((ROOT / "deploy" / "nats" / "leaf.conf").read_bytes())
        _billow("models", "pull", _MODEL, BILLOW_MODEL_CACHE=str(self._folder / "models"))

    def start(self, name: str) -> Container:
        """A service of the file."""
        service = self.services[name]
        assert set(service) <= _KNOWN, set(service) - _KNOWN
        environ: dict[str, str] = {}
        for file in service.get("env_file", []):
            environ |= dict(re.findall(r"^(\w+)='(.*)'$", Path(file).read_text(), re.MULTILINE))
        more: dict[str, Any] = {key: service[key] for key in ("cap_drop", "mem_limit", "read_only", "security_opt")}
        if "user" in service:
            more["user"] = service["user"]
        if "entrypoint" in service:
            more["entrypoint"] = service["entrypoint"]
        mounts = [str(each).split(":") for each in service.get("volumes", [])]
        assert all(mode == "ro" for _, _, mode in mounts)
        temporary = [str(each).partition(":") for each in service.get("tmpfs", [])]
        container = Container(
            service["image"],
            name=name,
            network=self._containers.network("hub"),
            command=service.get("command"),
            environ={**environ, **service["environment"]},
            files={Path(source): target for source, target, _ in mounts},
            memory={target: options for target, _, options in temporary},
            more=more,
        )
        self._started.append(container)
        container.start()
        return container

    def remove(self) -> None:
        for container in self._started:
            container.remove()


def _billow(*arguments: str, text: str = "", **environ: str) -> None:
    command = [sys.executable, "-m", "billow.cli", *arguments]
    done = subprocess.run(
        command, input=text, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def site(containers: Containers, tmp_path: Path) -> Generator[Site]:
    check_engine((_IMAGE,))
    own = Site(tmp_path / "site", containers)
    try:
        own.join()
        yield own
    finally:
        own.remove()


def test_the_compose_file_serves_a_model_by_its_own_leaf_and_stops_gently(site: Site) -> None:
    leaf, worker = site.start("leaf"), site.start("cpu-0")
    until = time.monotonic() + _READY_SECONDS
    # The image's health check.
    while worker.execute("test", "-f", "/run/billow/ready")[0] != 0:
        assert worker.running and leaf.running, worker.log().decode() + leaf.log().decode()
        assert time.monotonic() < until, worker.log().decode()
        time.sleep(0.2)
    assert worker.execute("sh", "-c", "echo 1 >/var/cache/billow/models/x")[0] != 0
    grace = int(site.services["cpu-0"]["stop_grace_period"].removesuffix("s"))
    worker.stop(timeout=grace)
    assert worker.wait(grace) == 0, worker.log().decode()
