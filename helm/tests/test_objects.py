"""The chart lints, renders for every example and every pair of choices, and Kubernetes would take what comes out."""

import pytest

from helm.tests.chart import (
    BUILTIN,
    CHART,
    EXAMPLES,
    Object,
    lint,
    merged,
    named,
    notes,
    of_kind,
    pod_templates,
    render,
)
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


def test_only_a_pod_that_keeps_weights_asks_for_the_folder_of_a_workstation(rendered: dict[str, list[Object]]) -> None:
    """The folder is made on workstations only, and a worker without weights may run on any machine."""
    hybrid = named(rendered["hybrid"], "Deployment", "billow-worker-rules")["spec"]["template"]["spec"]
    assert "initContainers" not in hybrid
    for name in EXAMPLES:
        for owner, template in pod_templates(rendered[name]).items():
            spec = template["spec"]
            kept = [each for each in spec.get("volumes", []) if {"hostPath", "persistentVolumeClaim"} & set(each)]
            pulling = [each["name"] for each in spec.get("initContainers", [])]
            assert not kept or pulling == ["weights"], f"{name}: {owner}"


def test_the_folder_is_asked_for_where_a_worker_keeps_weights_in_it() -> None:
    rules = {"workers": [{"name": "rules", "model": "rules_1-0-0", "runtime": "python"}]}
    assert "install -d" in notes({}, EXAMPLES["hybrid"])
    assert "install -d" not in notes(rules, EXAMPLES["hybrid"])


@pytest.mark.parametrize("change", [{"fileStore": "90GB"}, {"syncInterval": "10s"}, {"users": "authorization {}"}])
def test_nats_starts_anew_with_what_it_reads_only_then(change: dict[str, str]) -> None:
    def annotations(**builtin: str) -> Object:
        values = merged({"nats": {"auth": {"enabled": False}}}, {"nats": {"builtin": builtin}})
        return named(render(merged(BUILTIN, values)), "StatefulSet", "billow-nats")["spec"]["template"]["metadata"]

    assert annotations()["annotations"] != annotations(**change)["annotations"]
    assert annotations() == annotations()


_GIVEN: list[tuple[dict[str, object], set[str]]] = [
    ({"nats": {"auth": {"passwords": {"ocr": "other"}}}}, {"Deployment/billow-ocr", "StatefulSet/billow-nats"}),
    ({"database": {"builtin": {"password": "other"}}}, {"Deployment/billow-receipt"}),
]


@pytest.mark.parametrize(("values", "started"), _GIVEN)
def test_a_credential_of_the_values_starts_the_pods_that_read_it(values: dict[str, object], started: set[str]) -> None:
    before, after = pod_templates(render(BUILTIN)), pod_templates(render(merged(BUILTIN, values)))
    assert {name for name in before if before[name] != after[name]} == started


def test_another_database_starts_the_pods_that_write_to_it() -> None:
    def of(url: str) -> dict[str, Object]:
        values = {"database": {"builtin": {"enabled": False}, "url": url}}
        return pod_templates(render(merged(BUILTIN, values)))

    before, after = of("postgresql+asyncpg://u:p@old/billow"), of("postgresql+asyncpg://u:p@new/billow")
    assert {name for name in before if before[name] != after[name]} == {"Deployment/billow-receipt"}


def test_what_nobody_gave_leaves_no_mark_at_the_pods(rendered: dict[str, list[Object]]) -> None:
    """Existing secrets, and passwords that the chart makes, are not known where it is rendered."""
    for name in EXAMPLES:
        for owner, template in pod_templates(rendered[name]).items():
            assert "checksum/secrets" not in template["metadata"].get("annotations", {}), f"{name}: {owner}"
