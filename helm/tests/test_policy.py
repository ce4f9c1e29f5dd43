"""What an administrator asks of pods before they may run."""

import re
from typing import cast

from helm.tests.chart import Object, containers, of_kind, pod_templates

Rendered = dict[str, list[Object]]


def _every_container(rendered: Rendered) -> list[tuple[str, Object, Object]]:
    return [
        (f"{name}: {owner}: {container['name']}", template["spec"], container)
        for name, objects in rendered.items()
        for owner, template in pod_templates(objects).items()
        for container in containers(template)
    ]


def test_nobody_is_root_and_nothing_can_be_gained(rendered: Rendered) -> None:
    for where, pod, container in _every_container(rendered):
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] > 0, where
        assert pod["securityContext"]["runAsGroup"] > 0, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, where
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, where
        assert not container["securityContext"].get("privileged"), where
        assert not any(pod.get(host) for host in ("hostNetwork", "hostPID", "hostIPC")), where


def test_the_root_file_system_is_read_only_and_what_is_written_has_a_volume(rendered: Rendered) -> None:
    for where, pod, container in _every_container(rendered):
        # Developers send edits into their pods; see test_development.py.
        edited = where.startswith("dev: ") and container["image"].startswith("billow/")
        assert container["securityContext"]["readOnlyRootFilesystem"] is not edited, where
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        claims = {"data"}
        mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
        assert set(mounts) <= volumes | claims, where
        assert "/tmp" in mounts.values() or container["name"] in ("nats", "exporter"), where


def test_images_have_a_tag_that_means_one_thing(rendered: Rendered) -> None:
    for where, _, container in _every_container(rendered):
        repository, _, tag = container["image"].rpartition(":")
        assert repository and tag and "/" not in tag, where
        assert tag != "latest", where


def test_requests_and_limits_are_set(rendered: Rendered) -> None:
    for where, _, container in _every_container(rendered):
        for part in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][part]), f"{where}: {part}"


def test_what_runs_for_long_has_probes_and_drains(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        for each in of_kind(objects, "Deployment", "StatefulSet"):
            spec = each["spec"]["template"]["spec"]
            for container in spec["containers"]:
                where = f"{name}: {each['metadata']['name']}"
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert {"httpGet", "exec"} & set(container[probe]), f"{where}: {probe}"
                # A single server has no other to send its clients to: it ends at once, with all written.
                assert "preStop" in container.get("lifecycle", {}) or container["name"] == "nats", where
                # An image may take its time to start, but a hanging process must not live for ever.
                liveness = container["livenessProbe"]
                assert liveness["periodSeconds"] * liveness["failureThreshold"] <= 120, where
                ports = {port["name"] for port in container["ports"]}
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert container[probe].get("httpGet", {}).get("port", next(iter(ports))) in ports, where


def test_readiness_means_that_the_process_takes_work(rendered: Rendered) -> None:
    for objects in rendered.values():
        settings = {each["metadata"]["name"]: each["data"] for each in of_kind(objects, "ConfigMap")}
        for each in of_kind(objects, "Deployment"):
            container = each["spec"]["template"]["spec"]["containers"][0]
            own = settings[container["envFrom"][0]["configMapRef"]["name"]]
            if "exec" in container["readinessProbe"]:
                assert container["readinessProbe"]["exec"]["command"][-1] == own["BILLOW_READY_FILE"]
            assert {"name": "metrics", "containerPort": int(own["BILLOW_METRICS_PORT"])} in container["ports"]


_SECRET = re.compile(r"password|passwd|secret|token|credential|database_url", re.IGNORECASE)


def _clear_texts(thing: object, path: str = "") -> list[str]:
    """Paths of texts under a name that sounds like a secret, and of URLs with a password."""
    found: list[str] = []
    if isinstance(thing, dict):
        entries = cast(Object, thing)
        if _SECRET.search(str(entries.get("name", ""))) and isinstance(entries.get("value"), str):
            found.append(f"{path}.{entries['name']}")
        for key, value in entries.items():
            found += _clear_texts(value, f"{path}.{key}")
    elif isinstance(thing, list):
        for number, value in enumerate(cast(list[object], thing)):
            found += _clear_texts(value, f"{path}[{number}]")
    elif isinstance(thing, str) and re.search(r"://[^/\s:@]+:[^/\s@$]+@", thing):
        found.append(path)
    return found


def test_no_secret_stands_in_the_clear(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        for each in objects:
            if each["kind"] == "Secret":
                continue
            assert _clear_texts(each) == [], f"{name}: {each['kind']}/{each['metadata']['name']}"
            for key in each.get("data", {}) if each["kind"] == "ConfigMap" else ():
                assert not _SECRET.search(key), f"{name}: {each['metadata']['name']}: {key}"


def test_a_secret_in_the_clear_would_be_seen() -> None:
    assert _clear_texts({"env": [{"name": "BILLOW_NATS_PASSWORD", "value": "x"}]})
    assert _clear_texts({"data": {"a": "nats://ocr:secret@hub:4222"}})


def test_selectors_find_the_pods_that_they_are_for(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        labels = [template["metadata"]["labels"] for template in pod_templates(objects).values()]
        for each in of_kind(objects, "Deployment", "StatefulSet"):
            own = each["spec"]["template"]["metadata"]["labels"]
            selector = each["spec"]["selector"]["matchLabels"]
            assert selector.items() <= own.items(), name
            assert sum(selector.items() <= other.items() for other in labels) == 1, (
                f"{name}: {each['metadata']['name']}"
            )
        for each in of_kind(objects, "PodDisruptionBudget"):
            selector = each["spec"]["selector"]["matchLabels"]
            assert sum(selector.items() <= other.items() for other in labels) == 1, (
                f"{name}: {each['metadata']['name']}"
            )
        for each in of_kind(objects, "Service"):
            assert any(each["spec"]["selector"].items() <= other.items() for other in labels) or not labels, name


def test_nobody_has_a_token_of_kubernetes(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
        assert all(each["automountServiceAccountToken"] is False for each in of_kind(objects, "ServiceAccount"))
        for owner, template in pod_templates(objects).items():
            assert template["spec"]["automountServiceAccountToken"] is False, f"{name}: {owner}"
            assert template["spec"].get("serviceAccountName") in accounts | {None}, f"{name}: {owner}"


def test_what_is_referred_to_is_there_or_named_by_the_user(rendered: Rendered) -> None:
    given = {"ours", "ca", "models", "billow-nats-users", "nats-ca", "billow-database"}
    for name, objects in rendered.items():
        there = {
            kind: {each["metadata"]["name"] for each in of_kind(objects, kind)} for kind in ("Secret", "ConfigMap")
        }
        keys = {each["metadata"]["name"]: set(each["data"]) for each in of_kind(objects, "Secret")}
        for where, pod, container in _every_container({name: objects}):
            for source in container.get("envFrom", []):
                for kind, field in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
                    if field in source:
                        assert source[field]["name"] in there[kind] | given, where
            for variable in container.get("env", []):
                if ref := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert ref["name"] in given or ref["key"] in keys[ref["name"]], f"{where}: {variable['name']}"
            for volume in pod.get("volumes", []):
                if "secret" in volume:
                    assert volume["secret"]["secretName"] in there["Secret"] | given, where


def test_nothing_speaks_with_anybody_unless_allowed(rendered: Rendered) -> None:
    for name, objects in rendered.items():
        policies = of_kind(objects, "NetworkPolicy")
        if not policies:
            continue
        closed = next(each for each in policies if each["metadata"]["name"].endswith("-nothing"))
        assert closed["spec"]["policyTypes"] == ["Ingress", "Egress"], name
        assert "ingress" not in closed["spec"] and "egress" not in closed["spec"], name
        selector = closed["spec"]["podSelector"]["matchLabels"]
        for owner, template in pod_templates(objects).items():
            assert selector.items() <= template["metadata"]["labels"].items(), f"{name}: {owner}"
