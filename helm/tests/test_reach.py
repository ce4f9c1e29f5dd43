"""Who reaches whom: services with HTTP from outside, and pods among themselves."""

from typing import Any, cast

from helm.tests.chart import BUILTIN, Object, example, merged, named, of_kind, render
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


def _policies(**network: Any) -> dict[str, Object]:
    objects = render(merged(BUILTIN, {"networkPolicy": network}))
    return {
        each["metadata"]["name"].removeprefix("billow-"): each["spec"] for each in of_kind(objects, "NetworkPolicy")
    }


def _ways_out(spec: Object) -> dict[tuple[object, ...], object]:
    """Ports -> where to; None for anywhere."""
    return {tuple(port["port"] for port in each["ports"]): each.get("to") for each in spec["egress"]}


def test_processes_reach_names_nats_and_nothing_more() -> None:
    ways = _ways_out(_policies()["processes"])
    assert set(ways) == {(53, 53), (4222,)}
    names, nats = ways[53, 53], ways[4222,]
    assert {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}, "namespaceSelector": {}} in cast(
        list[Object], names
    )
    assert nats == [{"podSelector": {"matchLabels": _selector("nats")}}]


def test_servers_of_ours_reach_nobody() -> None:
    objects = render(BUILTIN)
    allowed = [each["spec"] for each in of_kind(objects, "NetworkPolicy") if "egress" in each["spec"]]
    for name in ("billow-nats", "billow-postgres"):
        labels = named(objects, "StatefulSet", name)["spec"]["template"]["metadata"]["labels"]
        assert not any(_chooses(spec["podSelector"], labels) for spec in allowed), name


def test_weights_come_from_where_they_may_by_the_ports_that_they_need() -> None:
    assert _ways_out(_policies()["weights"]) == {(443,): None}
    index = [{"ipBlock": {"cidr": "10.0.0.9/32"}}]
    assert _ways_out(_policies(weights=index, weightsPorts=[3141])["weights"]) == {(3141,): index}


def test_a_backend_of_another_namespace_is_let_in_to_nats_only_if_named() -> None:
    backend: Object = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    assert _policies()["nats"]["ingress"][0]["from"] == [{"podSelector": {}}]
    assert _policies(clientsFrom=[backend])["nats"]["ingress"][0]["from"] == [{"podSelector": {}}, backend]


def test_prometheus_finds_the_exporter_of_nats_and_reaches_it() -> None:
    values = {"nats": {"builtin": {"exporter": {"enabled": True}}}, "metrics": {"serviceMonitor": {"enabled": True}}}
    objects = render(merged(BUILTIN, values))
    pod = named(objects, "StatefulSet", "billow-nats")["spec"]["template"]
    assert named(objects, "Service", "billow-metrics")["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    exporter = pod["spec"]["containers"][1]
    assert exporter["ports"] == [{"name": "metrics", "containerPort": 7777}]
    ways_in = named(objects, "NetworkPolicy", "billow-nats")["spec"]["ingress"]
    assert [{"port": "metrics", "protocol": "TCP"}] in [each["ports"] for each in ways_in]


def test_a_site_has_workers_alone_that_speak_with_its_leaf() -> None:
    objects = example("site")
    deployments = of_kind(objects, "Deployment")
    assert {each["metadata"]["labels"]["billow/role"] for each in deployments} == {"worker"}
    assert not of_kind(objects, "Job", "StatefulSet", "Secret", "Ingress", "Service")
    for each in deployments:
        settings = named(objects, "ConfigMap", each["metadata"]["name"])["data"]
        assert settings["BILLOW_NATS_DOMAIN"] == "hub"
        assert settings["BILLOW_NATS_INBOX_PREFIX"] == "_INBOX.desk"
        assert "BILLOW_NATS_USER" not in settings
    policy = named(objects, "NetworkPolicy", "billow-processes")["spec"]
    assert _ways_out(policy)[4222,] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "nats"}}}]


def _selector(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "billow",
        "app.kubernetes.io/instance": "billow",
        "app.kubernetes.io/component": component,
    }


def _chooses(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))
