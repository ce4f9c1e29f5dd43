"""What docs/deploy.md and docs/operations.md do to a cluster fits the chart: pools, taints, copies, monitoring."""

import json
import re

import yaml

from helm.tests.binary import ROOT
from helm.tests.chart import EXAMPLES, Object, named, of_kind, render
from helm.tests.pages import blocks, page
from helm.tests.test_deploy_docs import PAGES, all_commands, hub, of_the_hybrid, of_three_zones, own_values


def test_one_machine_can_be_told_all_that_the_three_zones_ask_for() -> None:
    """A label has one value; these machines do everything."""
    asked: set[tuple[str, ...]] = set()
    pods = [each["spec"]["template"]["spec"] for each in of_kind(of_three_zones(), "Deployment", "Job")]
    for pod in [*pods, hub()["podTemplate"]["merge"]["spec"]]:
        for term in pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]:
            asked |= {(rule["key"], *rule["values"]) for rule in term["matchExpressions"]}
    assert asked == {("billow/pool", "cloud")}


def test_the_three_zones_need_no_storage_that_the_page_does_not_name() -> None:
    text = page("deploy.md")
    for each in of_kind(of_three_zones(), "PersistentVolumeClaim"):
        assert f"`{each['spec'].get('storageClassName', '')}`" in text, each["metadata"]["name"]
        assert each["spec"]["accessModes"] == ["ReadWriteOnce"]


def _tolerated(taint: str, tolerations: list[Object]) -> bool:
    """A taint as kubectl is told it, `key=value:effect`."""
    label, _, effect = taint.rpartition(":")
    key, _, value = label.partition("=")
    return any(
        each.get("effect", effect) == effect
        and each.get("key", key) == key
        and (each.get("operator") == "Exists" or each.get("value", "") == value)
        for each in tolerations
    )


def test_what_keeps_others_off_the_workstations_lets_workers_and_the_gpu_operator_in() -> None:
    taints = {
        word for _, each in all_commands("kubectl") if "taint" in each.words for word in each.words if ":No" in word
    }
    assert taints
    workers = named(of_the_hybrid()[: len(render({}, EXAMPLES["hybrid"]))], "Deployment", "billow-worker-detector")
    (operator,) = (each for _, each in all_commands("helm") if "nvidia/gpu-operator" in each.words)
    told = dict(
        operator.words[number + 1].split("=", 1) for number, word in enumerate(operator.words) if word in {"--set-json"}
    )
    standing = {key: json.loads(value) for key, value in told.items() if key.endswith(".tolerations")}
    # Device plugin and toolkit; and what finds out that there is a GPU at all.
    assert set(standing) == {"daemonsets.tolerations", "node-feature-discovery.worker.tolerations"}
    for taint in taints:
        assert _tolerated(taint, workers["spec"]["template"]["spec"]["tolerations"]), taint
        for key, tolerations in standing.items():
            assert _tolerated(taint, tolerations), f"{key}: {taint}"
            # These come instead of the default ones.
            assert _tolerated("nvidia.com/gpu=present:NoSchedule", tolerations), key


def test_a_taint_that_nobody_tolerates_is_seen() -> None:
    ours = [{"key": "billow/pool", "operator": "Equal", "value": "workstation", "effect": "NoSchedule"}]
    assert _tolerated("billow/pool=workstation:NoSchedule", ours)
    for other in ("billow/pool=workstation:NoExecute", "billow/pool=cloud:NoSchedule", "other=workstation:NoSchedule"):
        assert not _tolerated(other, ours)


def _blocks_with(words: str) -> list[str]:
    found = [each.text for name in PAGES for each in blocks(page(name)) if words in each.text]
    assert found
    return found


def test_each_backup_has_a_name_of_its_own_and_is_waited_for() -> None:
    """A name that was there before is refused, or its dump is taken for today's."""
    texts = [*_blocks_with("--from=cronjob/"), (ROOT / "deploy" / "backup" / "backup.yaml").read_text()]
    for text in texts:
        lines = [line.strip(" #") for line in text.splitlines()]
        for number, line in enumerate(lines):
            if made := re.search(r"create job --from=cronjob/\S+ (\S+)", line):
                variable = re.fullmatch(r'"\$([a-z]+)"', made[1])
                assert variable, line
                assert re.fullmatch(rf"{variable[1]}=[a-z-]+-\$\(date \+%Y%m%d-%H%M\)", lines[number - 1]), line
                after = lines[number + 1]
                assert "wait --for=condition=complete" in after and f'"job/${variable[1]}"' in after, line


def test_nothing_is_upgraded_before_the_copy_is_there() -> None:
    for text in _blocks_with("--from=cronjob/"):
        if "helm upgrade" not in text:
            continue
        named_first, *steps, _ = text.splitlines()
        assert named_first.startswith("copy=")
        # Pasted as a whole, it stops at the first step that fails.
        assert all(line.endswith(" &&") for line in steps), text


def test_a_claim_is_not_waited_for_while_its_pod_is_there() -> None:
    found = [each for _, each in all_commands("kubectl") if {"delete", "pvc"} <= set(each.words)]
    assert found
    for each in found:
        (block,) = (text for text in _blocks_with(each.line) if each.line in text)
        gone = "helm uninstall nats" in block[: block.index(each.line)]
        assert gone or "--wait=false" in each.words, each.line


def test_the_monitoring_of_the_page_reaches_what_it_asks() -> None:
    own = yaml.safe_load(own_values()["site/monitoring.yaml"])
    objects = render(own, EXAMPLES["hybrid"])
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = dict(own["metrics"]["serviceMonitor"]["labels"])
    assert wanted and wanted.items() <= monitor["metadata"]["labels"].items()
    assert [each for each in of_kind(objects, "ConfigMap") if "-dashboard-" in each["metadata"]["name"]]
    policy = named(objects, "NetworkPolicy", "billow-processes")["spec"]
    (metrics,) = (each for each in policy["ingress"] if {"port": "metrics", "protocol": "TCP"} in each["ports"])
    (namespace,) = (each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in metrics["from"])
    # NATS: the same Prometheus, in a namespace that its policy lets in.
    exporter = yaml.safe_load(own_values()["site/nats-monitoring.yaml"])["promExporter"]["podMonitor"]
    assert exporter["enabled"] and exporter["merge"]["metadata"]["labels"] == wanted
    (door,) = (each["spec"] for each in hub()["extraResources"] if each["kind"] == "NetworkPolicy")
    (let_in,) = (each["from"] for each in door["ingress"] if {"port": "prom-metrics"} in each["ports"])
    assert any(
        namespace in rule["values"]
        for each in let_in
        for rule in each.get("namespaceSelector", {}).get("matchExpressions", [])
    )


def test_monitoring_is_not_switched_on_where_it_would_see_nothing() -> None:
    """The switch alone leaves the network policy closed and the monitor without the label that Prometheus asks for."""
    assert all("metrics.serviceMonitor.enabled=true" not in page(name) for name in PAGES)
