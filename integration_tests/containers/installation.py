"""The chart, installed on the containers of a hub and, behind a leaf, on a workstation of its own.

The hub is `helm/billow/examples/hybrid.yaml` with other addresses and no GPU. The workstation is `site.yaml` beside it:
it runs the two OCR models and speaks with its leaf alone.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Self
from unittest import mock

import yaml

from billow.bus.connection import Bus
from billow.client import Billow
from helm.tests.chart import EXAMPLES, NAMESPACE, Object, merged, of_kind, render
from integration_tests.cluster.access import DOMAIN, SITES, environ_of, passwords
from integration_tests.cluster.containers import NODES, Containers, at_once
from integration_tests.cluster.database import empty_database
from integration_tests.cluster.streams import remove_streams
from integration_tests.containers.manifests import PodSpec, Secrets, pod_of
from integration_tests.containers.pods import Pod

RELEASE = NAMESPACE
SITE = SITES[0]
CACHE = "models-of-the-workstation"
_HOOKS = ("topology", "migrations")
_TENANT_USER = "client-default"
_FOR_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
"""What leads to the package index on this machine leads there from a container."""


class Installation:
    """Two releases of the chart on running containers; `async with Installation.open(...)`."""

    def __init__(
        self,
        containers: Containers,
        folder: Path,
        *,
        tag: str,
        hub: Mapping[str, Any] | None = None,
        site: Mapping[str, Any] | None = None,
        files: Mapping[Path, str] | None = None,
    ) -> None:
        """Render both; nothing runs yet.

        Args:
            containers: Started ones.
            folder: Takes volumes and logs.
            tag: Of our images.
            hub: Values over those of the hub.
            site: The same for the workstation.
            files: Of this machine -> where every pod sees them, read-only.

        Raises:
            RenderError: the chart refuses the values.
            ManifestError: it says something that pods here do not understand.
        """
        self.containers = containers
        self.folder = folder
        self._files = dict(files or {})
        self._pods: list[Pod] = []
        secrets = _secrets(containers)
        at_hub = render(merged(_hub_values(containers, tag), hub or {}), EXAMPLES["hybrid"])
        at_site = render(merged(_site_values(containers, tag, folder / CACHE), site or {}), EXAMPLES["site"])
        self.hooks: dict[str, PodSpec] = {name: pod_of(at_hub, "Job", f"{RELEASE}-{name}", secrets) for name in _HOOKS}
        """Name of a Job -> its pod."""
        self.specs: dict[str, PodSpec] = {}
        """Component -> its pod: `ocr`, `layout`, `receipt`, `worker-<name>`."""
        self._networks: dict[str, str] = {}
        for network, objects in (("hub", at_hub), (SITE, at_site)):
            for deployment in of_kind(objects, "Deployment"):
                spec = pod_of(objects, "Deployment", deployment["metadata"]["name"], secrets)
                self.specs[spec.component] = spec
                self._networks[spec.component] = network

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, containers: Containers, folder: Path, **options: Any) -> AsyncGenerator[Self]:
        """Empty streams and database, then hand out an installation of which nothing runs; all is removed in the end.

        `options` are those of the class. While it is open this process trusts the hub's certificates.
        """
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(containers.authority)
        installation = cls(containers, folder, **options)
        try:
            await empty_database(installation.database_url)
            async with installation.bus() as bus:
                await remove_streams(bus)
            yield installation
        finally:
            await asyncio.to_thread(installation.close)
            os.environ.pop("SSL_CERT_FILE")
            if before is not None:
                os.environ["SSL_CERT_FILE"] = before

    def install(self) -> list[Pod]:
        """As `helm install --wait` does: the hooks, then one pod of each component, ready. Blocks.

        Raises:
            PodError: one fails, or does not become ready.
        """
        self.run_hooks()
        pods = [self.new(component) for component in self.specs]
        at_once(pod.start for pod in pods)
        at_once(pod.wait_ready for pod in pods)
        return pods

    def run_hooks(self) -> None:
        """Run the Jobs that come before pods of a new version. Blocks. Raises PodError: one fails."""
        pods = [self._remember(Pod(spec, self.containers.network("hub"), self.folder)) for spec in self.hooks.values()]
        at_once(pod.run_to_end for pod in pods)

    def new(self, component: str, *, image: str = "", environ: Mapping[str, str] | None = None) -> Pod:
        """A further pod of a component, not started: `start` and `wait_ready` it. It is removed with the installation.

        Args:
            component: One of `specs`.
            image: Instead of the chart's.
            environ: Over the chart's.
        """
        network = self.containers.network(self._networks[component])
        pod = Pod(self.specs[component], network, self.folder, image=image, environ=environ, files=self._files)
        return self._remember(pod)

    def pods(self, component: str = "") -> list[Pod]:
        """Those that run, of one component or of all."""
        wanted = [pod for pod in self._pods if component in ("", pod.spec.component)]
        return [pod for pod in wanted if pod.spec.component in self.specs and pod.started and pod.running]

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the records."""
        return _database_url(self.containers)

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncGenerator[Bus]:
        """A connection with all rights at the hub."""
        async with await Bus.connect(self.containers.url, name="test", timeout=30) as bus:
            yield bus

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncGenerator[Billow]:
        """A backend of the tenant `default`, with its rights and no more, on this machine."""
        with mock.patch.dict(os.environ, environ_of(_TENANT_USER)):
            billow = await Billow(self.containers.servers, tenant="default").connect(timeout=30)
        try:
            yield billow
        finally:
            await billow.close()

    def close(self) -> None:
        """Write the log of every pod into `logs`, and remove all pods. Blocks."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        at_once(pod.remove for pod in self._pods)
        for pod in self._pods:
            (logs / f"{pod.name}.log").write_text(pod.log())
        self._pods.clear()

    def _remember(self, pod: Pod) -> Pod:
        self._pods.append(pod)
        return pod


def _hub_values(containers: Containers, tag: str) -> dict[str, Any]:
    workers: list[Object] = yaml.safe_load(EXAMPLES["hybrid"].read_text())["workers"]
    return {
        "image": {"tag": tag},
        "nats": {"url": containers.servers, "domain": DOMAIN, "replicas": len(NODES)},
        "gpu": {"timeSlicing": {"enabled": False}},
        "workers": [each for each in workers if not each.get("gpu")],
    }


def _site_values(containers: Containers, tag: str, cache: Path) -> dict[str, Any]:
    return {
        "image": {"tag": tag},
        "nats": {"url": containers.leaf_url(SITE), "domain": DOMAIN},
        "models": {"cache": {"hostPath": str(cache)}, "pull": pull_values()},
        "workerDefaults": {"env": {"BILLOW_NATS_INBOX_PREFIX": f"_INBOX.{SITE}"}},
    }


def pull_values() -> dict[str, Any]:
    """`models.pull`: weights are pulled from where this machine's own packages come from."""
    return {"env": {name: os.environ[name] for name in _FOR_PIP if name in os.environ}}


def _secrets(containers: Containers) -> Secrets:
    """Those that `hybrid.yaml` refers to."""
    return {
        "billow-nats-users": passwords(),
        "nats-ca": {"ca.crt": containers.authority.read_text()},
        "billow-database": {"url": _database_url(containers)},
    }


def _database_url(containers: Containers) -> str:
    return f"postgresql+asyncpg://{containers.database}"
