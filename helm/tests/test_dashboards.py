"""Dashboards ask for what exists: our metrics with the labels that they have, and those of known exporters."""

import json
import re
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

import billow.bus.link_bytes
import billow.services.receipt.metrics
import billow.services.worker.metrics
from billow.bus import topology
from helm.tests.chart import BUILTIN, CHART, merged, of_kind, render

_FILES = sorted((CHART / "files" / "dashboards").glob("*.json"))
_DECLARING = (billow.bus.link_bytes, billow.services.receipt.metrics, billow.services.worker.metrics)

# Of others, each with who tells it; what is not listed here is a slip of the pen.
_OTHERS = {
    # NATS: promExporter of helm/nats/hub.yaml (its prefix is `nats`).
    "nats_consumer_num_pending": {"stream_name", "consumer_name"},
    "nats_consumer_num_ack_pending": {"stream_name", "consumer_name"},
    "nats_consumer_num_redelivered": {"stream_name", "consumer_name"},
    "nats_consumer_delivered_consumer_seq": {"stream_name", "consumer_name"},
    "nats_stream_total_messages": {"stream_name"},
    "nats_stream_total_bytes": {"stream_name"},
    # NVIDIA: dcgm-exporter of the GPU operator.
    "DCGM_FI_DEV_FB_USED": {"gpu", "Hostname"},
    "DCGM_FI_DEV_FB_FREE": {"gpu", "Hostname"},
    "DCGM_FI_DEV_GPU_UTIL": {"gpu", "Hostname"},
    # Kubernetes: kube-state-metrics.
    "kube_deployment_status_replicas_ready": {"namespace", "deployment"},
    "kube_deployment_spec_replicas": {"namespace", "deployment"},
    "kube_pod_container_status_restarts_total": {"namespace", "pod"},
}
_WORDS = {"sum", "max", "by", "rate", "increase", "histogram_quantile", "count"}
_OF_SCRAPING = {"le"}


def _ours() -> dict[str, set[str]]:
    """Series that our processes show -> their labels."""
    assert all(_DECLARING)
    found: dict[str, set[str]] = {}
    # Collectors register themselves when they are made; one that was never used has no sample to ask for its labels.
    for collector in cast(Any, REGISTRY)._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for name in cast(Any, REGISTRY)._collector_to_names[collector]:
            if name.startswith("billow_"):
                found[name] = labels | {"le"}
    return found


def _panels(text: str) -> list[dict[str, Any]]:
    return json.loads(text)["panels"]


def _expressions() -> list[tuple[str, str]]:
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in _FILES
        for panel in _panels(path.read_text())
        for target in panel["targets"]
    ]


def _series(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|\"[^\"]*\"", " ", expression)
    return set(re.findall(r"[A-Za-z_]\w{2,}", bare)) - _WORDS


def _labels(expression: str) -> set[str]:
    matched = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
    grouped = [name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")]
    return {*matched, *grouped}


@pytest.mark.parametrize(("where", "expression"), _expressions())
def test_every_series_exists_with_the_labels_that_are_asked_for(where: str, expression: str) -> None:
    known = {**_ours(), **_OTHERS}
    series = _series(expression)
    assert series, where
    for name in series:
        assert name in known, f"{where}: nobody tells {name}"
    told = set[str]().union(*(known[name] for name in series))
    assert _labels(expression) <= told, f"{where}: {expression}"


def test_every_metric_of_ours_is_shown() -> None:
    shown = set[str]().union(*(_series(expression) for _, expression in _expressions()))
    wanted = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in _ours()}
    assert wanted == {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown if name.startswith("billow_")}


def test_streams_are_those_that_are_declared() -> None:
    declared = {each.name for each in topology.STREAMS}
    named = re.findall(r"stream_name=~?\"([^\"]+)\"", " ".join(expression for _, expression in _expressions()))
    assert {stream for each in named for stream in each.split("|")} <= declared
    assert named


def test_the_questions_of_an_operator_have_a_panel() -> None:
    titles = " / ".join(panel["title"].lower() for path in _FILES for panel in _panels(path.read_text()))
    questions = (
        "waiting",
        "latency",
        "how they ended",
        "not answered",
        "dead letters",
        "busy share",
        "memory of gpus",
        "restarts",
    )
    for question in questions:
        assert question in titles, question


def test_each_dashboard_is_a_config_map_that_grafana_finds() -> None:
    objects = render(merged(BUILTIN, {"metrics": {"dashboards": {"enabled": True}}}))
    boards = [each for each in of_kind(objects, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    texts = [text for each in boards for text in each["data"].values()]
    assert sorted(json.loads(text)["uid"] for text in texts) == sorted(
        json.loads(path.read_text())["uid"] for path in _FILES
    )
    for text in texts:
        ids = [panel["id"] for panel in _panels(text)]
        assert len(ids) == len(set(ids))
