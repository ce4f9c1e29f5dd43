"""Who reaches whom: services with HTTP from outside, and pods among themselves."""

from typing import Any

from helm.tests.chart import BUILTIN, Object, merged, named, of_kind, render
from helm.tests.matrix import GATEWAY


def _with_gateway(**more: Any) -> list[Object]:
    return render(merged(BUILTIN, {"services": {"gateway": merged(GATEWAY, more)}}))


def test_a_service_joins_by_one_entry() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in render(BUILTIN)}
    added = {(each["kind"], each["metadata"]["name"]) for each in _with_gateway()} - names
    kinds = {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "PodDisruptionBudget"}
    kinds |= {"Service", "ServiceAccount"}
    assert added == {(kind, "billow-gateway") for kind in kinds} | {("NetworkPolicy", "billow-gateway-http")}
    container = named(_with_gateway(), "Deployment", "billow-gateway")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "billow/gateway:0.1.0"
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}


def test_it_is_reached_by_https_with_a_certificate_of_cert_manager() -> None:
    ingress = named(_with_gateway(), "Ingress", "billow-gateway")
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert ingress["spec"]["tls"] == [{"hosts": ["receipts.example.org"], "secretName": "billow-gateway-tls"}]
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    ports = named(_with_gateway(), "Service", backend["name"])["spec"]["ports"]
    assert backend["port"]["name"] in {port["name"] for port in ports}


def test_without_the_flag_nothing_is_reached_from_outside() -> None:
    assert of_kind(_with_gateway(ingress={"enabled": False}), "Ingress") == []
    assert {each["spec"].get("type", "ClusterIP") for each in of_kind(_with_gateway(), "Service")} == {"ClusterIP"}


def test_only_who_needs_the_database_reaches_it() -> None:
    objects = render(BUILTIN)
    source = named(objects, "NetworkPolicy", "billow-postgres")["spec"]["ingress"][0]["from"][0]["podSelector"]
    allowed = [
        each["metadata"]["name"]
        for each in of_kind(objects, "Deployment", "Job", "StatefulSet")
        if source["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert sorted(allowed) == ["billow-migrations-1", "billow-receipt"]


def test_keda_reaches_the_monitoring_page() -> None:
    objects = render(merged(BUILTIN, {"keda": {"enabled": True}}))
    monitor = named(objects, "NetworkPolicy", "billow-nats")["spec"]["ingress"][1]
    assert monitor["ports"] == [{"port": "monitor", "protocol": "TCP"}]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in monitor["from"]


def test_the_receipt_service_alone_gets_the_url_of_the_database() -> None:
    for each in of_kind(render(BUILTIN), "Deployment"):
        env = each["spec"]["template"]["spec"]["containers"][0].get("env", [])
        has = "BILLOW_DATABASE_URL" in {variable["name"] for variable in env}
        assert has == (each["metadata"]["name"] == "billow-receipt")


def test_passwords_go_to_their_own_process_only() -> None:
    for each in of_kind(render(BUILTIN), "Deployment"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        env = each["spec"]["template"]["spec"]["containers"][0]["env"]
        keys = [one["valueFrom"]["secretKeyRef"]["key"] for one in env if one["name"] == "BILLOW_NATS_PASSWORD"]
        assert len(keys) == 1
        if not component.startswith("worker-"):
            assert keys == [f"BILLOW_PASSWORD_{component.upper()}"]
