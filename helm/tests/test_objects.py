"""The chart lints, renders for every example and every pair of choices, and Kubernetes would take what comes out."""

import pytest

from helm.tests.chart import BUILTIN, CHART, EXAMPLES, Object, lint, merged, named, notes, of_kind, render
from helm.tests.kubernetes import VERSIONS, faults


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_lint_strictly(name: str) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in lint({}, EXAMPLES[name])


def test_versions_from_1_30_on_are_checked() -> None:
    assert VERSIONS[0] == "1.30.0"
    assert len(VERSIONS) >= 8


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(rendered: dict[str, list[Object]], version: str) -> None:
    found = [
        f"{name}: {each['kind']}/{each['metadata']['name']}: {fault}"
        for name, objects in rendered.items()
        for each in objects
        for fault in faults(each, version)
    ]
    assert found == []


def test_a_fault_would_be_seen() -> None:
    broken: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}}
    assert faults(broken, VERSIONS[0])
    assert faults({**broken, "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}, VERSIONS[0])


def test_every_template_renders_something_somewhere(rendered: dict[str, list[Object]]) -> None:
    kinds = {each["kind"] for objects in rendered.values() for each in objects}
    workloads = {"Deployment", "StatefulSet", "Job", "HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget"}
    around = {"ConfigMap", "Secret", "Service", "ServiceAccount", "ServiceMonitor", "Ingress", "NetworkPolicy"}
    assert kinds == workloads | around | {"PersistentVolumeClaim", "PriorityClass"}


def test_no_two_objects_have_one_name(rendered: dict[str, list[Object]]) -> None:
    for name, objects in rendered.items():
        keys = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
        assert len(keys) == len(set(keys)), name


def test_the_notes_say_what_to_do_next() -> None:
    text = notes(BUILTIN)
    assert "What to do next:" in text
    assert "billow extract" in text
    assert "BILLOW_PASSWORD_CLIENT_DEFAULT" in text
    assert "kubectl label node" in notes({}, EXAMPLES["hybrid"])


def test_rendering_again_changes_nothing_but_the_passwords_made() -> None:
    first, second = render(BUILTIN), render(BUILTIN)
    assert [each for each in first if each["kind"] != "Secret"] == [each for each in second if each["kind"] != "Secret"]


_TOLD_ELSEWHERE = {"services", "workers"}
"""Entries whose keys are those of `serviceDefaults` and `workerDefaults`."""
_SAME_EVERYWHERE = {"key", "values", "label", "tolerations", "pool", "priority", "resources", "requests", "limits"}


def test_every_value_has_a_comment() -> None:
    """A value's meaning stands above it, or above the neighbours that it follows without a gap."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    missing: list[str] = []
    top = ""
    documented: dict[int, bool] = {}
    for number, line in enumerate(lines, 1):
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if not text:
            documented = {}
        elif text.startswith("#"):
            documented[depth] = True
        elif not text.startswith("-"):
            key = text.partition(":")[0]
            top = key if depth == 0 else top
            told = documented.get(depth, False) or key in _SAME_EVERYWHERE or top in _TOLD_ELSEWHERE
            if not told and not text.endswith(":"):
                missing.append(f"{number}: {line}")
            documented = {at: told for at, told in documented.items() if at <= depth}
    assert missing == []


def test_servers_are_not_pushed_out_by_the_pods_that_need_them() -> None:
    objects = render(BUILTIN)
    worth = {each["metadata"]["name"]: each["value"] for each in of_kind(objects, "PriorityClass")}
    for each in of_kind(objects, "StatefulSet"):
        assert worth[each["spec"]["template"]["spec"]["priorityClassName"]] == max(worth.values())


def test_bulk_pods_give_way_to_those_on_which_a_person_waits() -> None:
    workers = [{"name": "rules", "model": "rules_1-0-0", "priority": "bulk"}]
    objects = render(merged(BUILTIN, {"workers": workers}))
    worth = {each["metadata"]["name"]: each["value"] for each in of_kind(objects, "PriorityClass")}
    pods = {
        each["metadata"]["name"]: worth[each["spec"]["template"]["spec"]["priorityClassName"]]
        for each in of_kind(objects, "Deployment")
    }
    assert all(pods["billow-worker-rules"] < value for name, value in pods.items() if name != "billow-worker-rules")
    assert len(pods) == 4


@pytest.mark.parametrize(("limit", "collected"), [("1Gi", "870MiB"), ("1.5Gi", "1305MiB"), ("512Mi", "435MiB")])
def test_nats_collects_memory_before_its_limit_is_met(limit: str, collected: str) -> None:
    values = {"nats": {"builtin": {"resources": {"limits": {"memory": limit}}}}}
    server = named(render(merged(BUILTIN, values)), "StatefulSet", "billow-nats")["spec"]["template"]["spec"]
    assert {"name": "GOMEMLIMIT", "value": collected} in server["containers"][0]["env"]


def test_pods_of_the_version_that_goes_do_not_decide_where_new_ones_run() -> None:
    for each in of_kind(render(BUILTIN), "Deployment"):
        for spread in each["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["matchLabelKeys"] == ["pod-template-hash"]


def test_a_folder_of_a_workstation_must_be_there_and_the_user_is_told_how() -> None:
    """Made by the kubelet it would belong to root, and nobody here is root."""
    values = {"models": {"cache": {"kind": "hostPath"}}}
    objects = render(merged(BUILTIN, values))
    worker = named(objects, "Deployment", "billow-worker-detector")["spec"]["template"]["spec"]
    (folder,) = (each["hostPath"] for each in worker["volumes"] if "hostPath" in each)
    assert folder == {"path": "/var/lib/billow/models", "type": "Directory"}
    user = worker["securityContext"]["runAsUser"]
    assert f"install -d -o {user} -g {user} {folder['path']}" in notes(merged(BUILTIN, values))


@pytest.mark.parametrize("change", [{"fileStore": "90GB"}, {"syncInterval": "10s"}, {"users": "authorization {}"}])
def test_nats_starts_anew_with_what_it_reads_only_then(change: dict[str, str]) -> None:
    def annotations(**builtin: str) -> Object:
        values = merged({"nats": {"auth": {"enabled": False}}}, {"nats": {"builtin": builtin}})
        return named(render(merged(BUILTIN, values)), "StatefulSet", "billow-nats")["spec"]["template"]["metadata"]

    assert annotations()["annotations"] != annotations(**change)["annotations"]
    assert annotations() == annotations()
