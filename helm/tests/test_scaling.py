"""What grows and shrinks, by what, and how far."""

import json
from typing import Any

from typer.testing import CliRunner

from billow.cli.__main__ import app
from helm.tests.chart import BUILTIN, CHART, EXAMPLES, Object, example, merged, named, of_kind, render

_BY_KEDA = {"scaling": {"by": "keda", "min": 0, "max": 3}}
KEDA = merged(BUILTIN, {"keda": {"enabled": True}, "services": dict.fromkeys(("ocr", "layout", "receipt"), _BY_KEDA)})


def _triggers(scaled: Object) -> set[tuple[str, str]]:
    return {(each["metadata"]["stream"], each["metadata"]["consumer"]) for each in scaled["spec"]["triggers"]}


def test_the_consumers_of_the_chart_are_those_that_are_declared() -> None:
    """Write it anew: `billow topology export consumers -o helm/billow/files/consumers.json`."""
    done = CliRunner().invoke(app, ["topology", "export", "consumers"])
    assert json.loads(done.stdout) == json.loads((CHART / "files" / "consumers.json").read_text())


def test_each_service_scales_by_all_of_its_consumers_and_no_other() -> None:
    declared: list[dict[str, Any]] = json.loads((CHART / "files" / "consumers.json").read_text())["consumers"]
    objects = render(KEDA)
    for service in ("ocr", "layout", "receipt"):
        own = {(each["stream"], each["durable"]) for each in declared if each["service"] == service}
        assert _triggers(named(objects, "ScaledObject", f"billow-{service}")) == own


def test_a_worker_scales_by_both_lanes_of_its_model() -> None:
    scaled = named(example("hybrid"), "ScaledObject", "billow-worker-detector")
    assert _triggers(scaled) == {
        ("INFERENCE", "ppocr-v6-det-small_1-0-0_interactive"),
        ("INFERENCE", "ppocr-v6-det-small_1-0-0_bulk"),
    }
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (0, 4)


def test_a_missing_consumer_starts_one_worker_and_never_the_most(rendered: dict[str, list[Object]]) -> None:
    """KEDA from 2.20 on calls it an error, and `fallback` says what an error means."""
    for name, objects in rendered.items():
        for each in of_kind(objects, "ScaledObject"):
            fallback, least = each["spec"]["fallback"], each["spec"]["minReplicaCount"]
            assert fallback["replicas"] == max(1, least), name
            assert fallback["behavior"] == "currentReplicasIfHigher", name
            # What scales from zero begins with one pod, which makes the consumers.
            assert "replicas" not in named(objects, "Deployment", each["spec"]["scaleTargetRef"]["name"])["spec"]
            assert each["spec"]["initialCooldownPeriod"] >= 300


def test_nothing_is_scaled_by_two(rendered: dict[str, list[Object]]) -> None:
    for name, objects in rendered.items():
        targets = [
            each["spec"]["scaleTargetRef"]["name"]
            for each in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
        ]
        assert len(targets) == len(set(targets)), name
        for each in of_kind(objects, "Deployment"):
            assert ("replicas" in each["spec"]) != (each["metadata"]["name"] in targets), name


def test_services_grow_to_three_by_default() -> None:
    scalers = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(BUILTIN), "HorizontalPodAutoscaler")}
    assert set(scalers) == {"billow-ocr", "billow-layout", "billow-receipt"}
    assert all((spec["minReplicas"], spec["maxReplicas"]) == (1, 3) for spec in scalers.values())


def test_a_gateway_scales_by_its_requests() -> None:
    gateway = {
        "http": {"port": 8080},
        "natsUser": "client-default",
        "scaling": {"by": "hpa", "cpu": 0, "requestsPerSecond": 50},
    }
    objects = render(merged(BUILTIN, {"services": {"gateway": gateway}}))
    metrics = named(objects, "HorizontalPodAutoscaler", "billow-gateway")["spec"]["metrics"]
    assert [(each["type"], each["pods"]["target"]["averageValue"]) for each in metrics] == [("Pods", "50")]


def test_losing_a_zone_leaves_two_thirds() -> None:
    for each in of_kind(render({}, EXAMPLES["ha"]), "Deployment"):
        spread = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
        zones = [one for one in spread if one["topologyKey"] == "topology.kubernetes.io/zone"]
        assert [one["whenUnsatisfiable"] for one in zones] == ["DoNotSchedule"], each["metadata"]["name"]
