"""Our values for the official NATS chart say the same as the configuration files for servers without Kubernetes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.tests.binary import ROOT

_FOLDER = ROOT / "helm" / "nats"
_DEPLOY = ROOT / "deploy" / "nats"
# Keys that chart 1.x knows; what it does not know it ignores in silence.
_KNOWN = {
    "": {"tlsCA", "config", "container", "reloader", "podTemplate", "podDisruptionBudget", "natsBox", "configMap"},
    "config": {"cluster", "jetstream", "nats", "leafnodes", "websocket", "monitor", "merge", "patch"},
    "config.cluster": {"enabled", "port", "replicas", "name", "noAdvertise", "tls", "merge", "patch"},
    "config.jetstream": {"enabled", "fileStore", "memoryStore", "merge", "patch"},
    "container": {"image", "env", "merge", "patch", "ports"},
    "reloader": {"enabled", "image", "merge", "patch"},
    "podTemplate": {"topologySpreadConstraints", "configChecksumAnnotation", "merge", "patch"},
}


def _values(name: str) -> dict[str, Any]:
    return yaml.safe_load((_FOLDER / name).read_text())


def _setting(path: Path, key: str) -> str:
    found = re.findall(rf"^\s*{key}: *\"?([^\"\n]+)\"?$", path.read_text(), re.MULTILINE)
    assert len(set(found)) == 1, f"{path.name}: {key}: {found}"
    return found[0]


def _plain(value: object) -> str:
    """A value as it stands in nats.conf: what the chart writes without quotes has `<< >>` around it."""
    return str(value).removeprefix("<< ").removesuffix(" >>").replace("True", "true").replace("False", "false")


@pytest.mark.parametrize("name", ["hub", "leaf"])
def test_the_limits_are_those_of_the_configuration_files(name: str) -> None:
    merge: dict[str, object] = _values(f"{name}.yaml")["config"]["merge"]
    told = {key: _plain(value) for key, value in merge.items() if key != "$include"}
    assert told == {key: _setting(_DEPLOY / f"{name}.conf", key) for key in told}


def test_the_hub_keeps_streams_on_three_servers_under_its_domain() -> None:
    config = _values("hub.yaml")["config"]
    assert config["cluster"]["enabled"] and config["cluster"]["replicas"] == 3
    assert config["cluster"]["tls"]["merge"]["verify"] is True
    assert config["jetstream"]["merge"] == {
        "domain": "hub",
        "sync_interval": _setting(_DEPLOY / "hub.conf", "sync_interval"),
    }
    assert config["merge"]["$include"] == "./users.conf"
    assert config["leafnodes"]["merge"] == {"no_advertise": True, "compression": "off"}
    for part in ("cluster", "nats", "leafnodes", "websocket"):
        assert config[part]["tls"]["enabled"], part


def test_a_leaf_stores_nothing_and_dials_out() -> None:
    config = _values("leaf.yaml")["config"]
    assert config["jetstream"]["enabled"] is False
    leafnodes = config["leafnodes"]["merge"]
    assert leafnodes["reconnect"] == _setting(_DEPLOY / "leaf.conf", "reconnect")
    (remote,) = leafnodes["remotes"]
    assert _plain(remote["urls"]) == _setting(_DEPLOY / "leaf.conf", "urls")
    assert remote["dial_timeout"] == _setting(_DEPLOY / "leaf.conf", "dial_timeout")


@pytest.mark.parametrize("name", ["hub.yaml", "leaf.yaml"])
def test_only_keys_that_the_official_chart_has(name: str) -> None:
    values = _values(name)
    for path, known in _KNOWN.items():
        part: Any = values
        for key in path.split(".") if path else []:
            part = part.get(key, {})
        assert set(part) <= known, path


@pytest.mark.parametrize("name", ["hub.yaml", "leaf.yaml"])
def test_its_pods_are_locked_as_ours(name: str) -> None:
    values = _values(name)
    assert values["podTemplate"]["merge"]["spec"]["securityContext"]["runAsNonRoot"] is True
    for part in ("container", "reloader"):
        merge = values[part]["merge"]
        assert merge["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} == set(merge["resources"]["limits"])
    assert values["container"]["image"]["tag"] != "latest"
