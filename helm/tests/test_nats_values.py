"""Our values for the official NATS chart say the same as the configuration files for servers without Kubernetes."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from helm.tests.binary import ROOT
from helm.tests.chart import example, of_kind
from helm.tests.kubernetes import VERSIONS, faults

_FOLDER = ROOT / "helm" / "nats"
_DEPLOY = ROOT / "deploy" / "nats"
_CHART = "2.14.3"
"""Version of the chart whose keys these are, and with whose templates the values were tried."""

_TLS = "enabled secretName dir cert key merge patch"
_IMAGE = "repository tag pullPolicy registry digest fullImageName"
# What it does not know it ignores in silence. Below merge, patch, env and extraResources everything is free.
_KEYS = {
    "": "global nameOverride fullnameOverride namespaceOverride tlsCA config container reloader promExporter service "
    "statefulSet podTemplate headlessService configMap podDisruptionBudget serviceAccount natsBox extraResources",
    "tlsCA": "enabled configMapName secretName dir key",
    "config": "cluster jetstream nats leafnodes websocket mqtt gateway monitor profiling resolver lameDuckGracePeriod "
    "lameDuckDuration serverNamePrefix merge patch",
    "config.cluster": "enabled port replicas noAdvertise routeURLs tls merge patch",
    "config.cluster.tls": _TLS,
    "config.jetstream": "enabled fileStore memoryStore merge patch",
    "config.jetstream.fileStore": "enabled dir pvc maxSize",
    "config.jetstream.fileStore.pvc": "enabled size storageClassName merge patch name",
    "config.jetstream.memoryStore": "enabled maxSize",
    "config.nats": "port tls",
    "config.nats.tls": _TLS,
    "config.leafnodes": "enabled port remotes tls merge patch",
    "config.leafnodes.tls": _TLS,
    "config.websocket": "enabled port tls ingress merge patch",
    "config.websocket.tls": _TLS,
    "config.monitor": "enabled port tls",
    "container": "image ports env startupProbe readinessProbe livenessProbe merge patch resources",
    "container.image": _IMAGE,
    "reloader": "enabled image env natsVolumeMountPrefixes merge patch",
    "promExporter": "enabled image port monitorDomain env merge patch podMonitor",
    "promExporter.podMonitor": "enabled merge patch name",
    "service": "enabled ports merge patch name",
    "service.ports": "nats leafnodes websocket mqtt cluster gateway monitor profiling",
    "podTemplate": "configChecksumAnnotation terminationGracePeriodSeconds topologySpreadConstraints merge patch",
    "podDisruptionBudget": "enabled merge patch name",
    "natsBox": "enabled contexts defaultContextName container deployment podTemplate contextsSecret contentsSecret "
    "serviceAccount",
}
_FREE = re.compile(r"(.*\.)?(merge|patch|env)|extraResources|podTemplate\.topologySpreadConstraints|service\.ports\..*")


def _values(name: str) -> dict[str, Any]:
    return yaml.safe_load((_FOLDER / name).read_text())


def _setting(path: Path, key: str) -> str:
    found = re.findall(rf"^\s*{key}: *\"?([^\"\n]+)\"?$", path.read_text(), re.MULTILINE)
    assert len(set(found)) == 1, f"{path.name}: {key}: {found}"
    return found[0]


def _plain(value: object) -> str:
    """A value as it stands in nats.conf: what the chart writes without quotes has `<< >>` around it."""
    return str(value).removeprefix("<< ").removesuffix(" >>").replace("True", "true").replace("False", "false")


def _unknown(values: dict[str, Any], path: str = "") -> list[str]:
    """Paths that the chart would ignore."""
    found: list[str] = []
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        if key not in _KEYS.get(path, "").split():
            found.append(here)
        elif isinstance(value, dict) and not _FREE.fullmatch(here):
            found += _unknown(cast(dict[str, Any], value), here)
    return found


@pytest.mark.parametrize("name", ["hub", "leaf"])
def test_the_limits_are_those_of_the_configuration_files(name: str) -> None:
    merge: dict[str, object] = _values(f"{name}.yaml")["config"]["merge"]
    told = {key: _plain(value) for key, value in merge.items() if key != "$include"}
    assert told == {key: _setting(_DEPLOY / f"{name}.conf", key) for key in told}


def test_the_hub_keeps_streams_on_three_servers_under_its_domain() -> None:
    config = _values("hub.yaml")["config"]
    assert config["cluster"]["enabled"] and config["cluster"]["replicas"] == 3
    assert config["cluster"]["tls"]["merge"]["verify"] is True
    # The chart has no value for it and takes the release's name.
    assert config["cluster"]["merge"] == {"name": "hub"}
    assert config["jetstream"]["merge"] == {
        "domain": "hub",
        "sync_interval": _setting(_DEPLOY / "hub.conf", "sync_interval"),
    }
    assert config["merge"]["$include"] == "./users.conf"
    assert config["leafnodes"]["merge"] == {"no_advertise": True, "compression": "off"}
    for part in ("cluster", "nats", "leafnodes", "websocket"):
        assert config[part]["tls"]["enabled"], part


def test_only_the_port_of_the_sites_leads_out_of_the_cluster() -> None:
    values = _values("hub.yaml")
    assert "service" not in values
    (door,) = (each for each in values["extraResources"] if each["kind"] == "Service")
    assert [port["targetPort"] for port in door["spec"]["ports"]] == ["leafnodes"]
    assert door["spec"]["selector"]["app.kubernetes.io/component"] == "nats"


@pytest.mark.parametrize(("name", "open_to_all"), [("hub", {"nats", "leafnodes", "websocket"}), ("leaf", set[str]())])
def test_only_ports_that_ask_for_a_password_are_open_to_everybody(name: str, open_to_all: set[str]) -> None:
    (policy,) = (each["spec"] for each in _values(f"{name}.yaml")["extraResources"] if each["kind"] == "NetworkPolicy")
    told = [({port["port"] for port in each["ports"]}, each.get("from")) for each in policy["ingress"]]
    assert set[str]().union(*(ports for ports, source in told if source is None)) == open_to_all
    inside = {"monitor", "prom-metrics", "cluster"} if name == "hub" else {"nats", "monitor"}
    assert set[str]().union(*(ports for ports, source in told if source)) == inside


def test_a_leaf_stores_nothing_and_dials_out() -> None:
    values = _values("leaf.yaml")
    config = values["config"]
    assert config["jetstream"]["enabled"] is False
    leafnodes = config["leafnodes"]["merge"]
    assert leafnodes["reconnect"] == _setting(_DEPLOY / "leaf.conf", "reconnect")
    (remote,) = leafnodes["remotes"]
    assert _plain(remote["urls"]) == _setting(_DEPLOY / "leaf.conf", "urls")
    assert remote["dial_timeout"] == _setting(_DEPLOY / "leaf.conf", "dial_timeout")
    # The chart would let it listen for other leaves, without a password.
    assert config["leafnodes"]["patch"] == [{"op": "remove", "path": "/port"}]
    assert values["service"]["ports"]["leafnodes"]["enabled"] is False


def test_two_sites_are_not_taken_for_one() -> None:
    """The hub drops a leaf when another of the same name comes, and the chart calls every first server `nats-0`."""
    values = _values("leaf.yaml")
    assert values["config"]["merge"]["server_name"] == "<< $BILLOW_NATS_NAME >>"
    (secret,) = (each["secretRef"]["name"] for each in values["container"]["merge"]["envFrom"])
    text = (_FOLDER / "leaf.yaml").read_text()
    assert re.search(rf"create secret generic {secret} --from-literal=BILLOW_NATS_NAME=", text)


@pytest.mark.parametrize("name", ["hub.yaml", "leaf.yaml"])
def test_only_keys_that_the_official_chart_has(name: str) -> None:
    assert _unknown(_values(name)) == []
    assert f"--version {_CHART} " in (_FOLDER / name).read_text()


@pytest.mark.parametrize("name", ["hub.yaml", "leaf.yaml"])
def test_its_pods_are_locked_as_ours(name: str) -> None:
    values = _values(name)
    assert values["podTemplate"]["merge"]["spec"]["securityContext"]["runAsNonRoot"] is True
    parts = [part for part in ("container", "reloader", "promExporter") if part in values]
    for part in parts:
        merge = values[part]["merge"]
        assert merge["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} == set(merge["resources"]["limits"])
    assert values["container"]["image"]["tag"] != "latest"


def test_the_hub_is_not_pushed_out_by_the_pods_that_need_it() -> None:
    """By a class of its own: those of our chart come later, and some clusters refuse the system's elsewhere."""
    values = _values("hub.yaml")
    (own,) = (each for each in values["extraResources"] if each["kind"] == "PriorityClass")
    assert values["podTemplate"]["merge"]["spec"]["priorityClassName"] == own["metadata"]["name"]
    assert all(faults(own, version) == [] for version in VERSIONS)
    ours = [each["value"] for each in of_kind(example("hybrid"), "PriorityClass")]
    assert ours and own["value"] > max(ours)
    assert not own["metadata"]["name"].startswith("system-")


@pytest.mark.parametrize("name", ["hub.yaml", "leaf.yaml"])
def test_memory_is_collected_before_the_limit_is_met(name: str) -> None:
    container = _values(name)["container"]
    limit: str = container["merge"]["resources"]["limits"]["memory"]
    mebibytes = int(limit[:-2]) * (1024 if limit.endswith("Gi") else 1)
    assert 0.8 * mebibytes <= int(container["env"]["GOMEMLIMIT"].removesuffix("MiB")) < mebibytes
