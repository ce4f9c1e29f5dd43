"""A server that the chart brings, as a container as the chart says: settings, volumes, probes, end. All calls block."""

import base64
import contextlib
import http.client
import time
from collections.abc import Generator
from pathlib import Path

from helm.tests.chart import Object, named, of_kind
from integration_tests.cluster.docker import Network
from integration_tests.containers.manifests import pod_of
from integration_tests.containers.pods import Pod

_STARTS = 180.0
"""seconds; the chart's probes allow longer, for disks with much on them"""


class Server:
    """A server of the release `single-node` as a container; its claim is a folder that outlives it."""

    def __init__(self, objects: list[Object], name: str, network: Network, folder: Path) -> None:
        self.name = name
        self.objects = objects
        self.workload = named(objects, "StatefulSet", name)
        self.container: Object = self.workload["spec"]["template"]["spec"]["containers"][0]
        self.secrets = secrets_of(objects)
        self._network = network
        self._folder = folder
        self.pod = self._new()

    def _new(self) -> Pod:
        """A pod of it, with the claim of the one before."""
        spec = pod_of(*_without_claims(self.objects, self.workload, self._folder / "claim"), self.secrets)
        pod = Pod(spec, self._network, self._folder)
        # Others find it by the name of its Service.
        pod.name = self.name
        return pod

    def start(self) -> None:
        """Run it and wait for its startup probe, then for the other two."""
        self.pod.start()
        until = time.monotonic() + _STARTS
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            while not self.probe(kind):
                assert self.pod.running, f"ended:\n{self.pod.log()}"
                assert time.monotonic() < until, f"no {kind} after {_STARTS:g} s:\n{self.pod.log()}"
                time.sleep(0.1)

    def probe(self, kind: str) -> bool:
        """Whether a probe of the chart succeeds."""
        match self.container[kind]:
            case {"exec": {"command": command}}:
                return self.pod.execute(*command)[0] == 0
            case {"httpGet": {"path": path, "port": port}}:
                return self._answers(path, port)
            case unknown:
                raise AssertionError(f"no probe that is known here: {unknown}")

    def _answers(self, path: str, port: str) -> bool:
        number = next(each["containerPort"] for each in self.container["ports"] if each["name"] == port)
        address = self.pod.container.address
        if not address:
            return False
        connection = http.client.HTTPConnection(address, number, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status == 200
        return False

    def stop(self) -> float:
        """As a kubelet does: preStop, then SIGTERM. Returns the seconds that it took; it must end by itself."""
        began = time.monotonic()
        if command := self.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command"):
            code, output = self.pod.execute(*command)
            assert code == 0, output
        assert self.pod.terminate() == 0, self.pod.log()
        return time.monotonic() - began

    def start_again(self) -> None:
        """The next pod on the same claim."""
        self.pod.remove()
        self.pod = self._new()
        self.start()


def secrets_of(objects: list[Object]) -> dict[str, dict[str, str]]:
    """Those that the chart makes."""
    return {each["metadata"]["name"]: _decoded(each) for each in of_kind(objects, "Secret")}


def _decoded(secret: Object) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def _without_claims(objects: list[Object], workload: Object, claim: Path) -> tuple[list[Object], str, str]:
    """Its claim as a folder of this machine and its ConfigMap as files, which is what a pod here knows."""
    template = workload["spec"]["template"]
    volumes: list[Object] = [each for each in template["spec"]["volumes"] if "configMap" not in each]
    for volume in template["spec"]["volumes"]:
        if "configMap" in volume:
            target = claim.parent / f"files-{volume['configMap']['name']}"
            target.mkdir(parents=True, exist_ok=True)
            for name, content in named(objects, "ConfigMap", volume["configMap"]["name"])["data"].items():
                (target / name).write_text(content)
            volumes.append({"name": volume["name"], "hostPath": {"path": str(target)}})
    for each in workload["spec"]["volumeClaimTemplates"]:
        volumes.append({"name": each["metadata"]["name"], "hostPath": {"path": str(claim / each["metadata"]["name"])}})
    spec = {**template["spec"], "volumes": volumes}
    own = {**workload, "spec": {**workload["spec"], "template": {**template, "spec": spec}}}
    others = [each for each in objects if each is not workload]
    return [*others, own], workload["kind"], workload["metadata"]["name"]


@contextlib.contextmanager
def running(objects: list[Object], name: str, network: Network, folder: Path) -> Generator[Server]:
    """A server, started and ready; removed in the end. Its claim stays in `folder`."""
    server = Server(objects, name, network, folder)
    try:
        server.start()
        yield server
    finally:
        server.pod.remove()
