"""What the chart says of a pod is read whole, or refused; needs no Docker."""

import copy

import pytest

from helm.tests.chart import EXAMPLES, Object, named, render
from integration_tests.containers.manifests import ManifestError, Secrets, pod_of, quantity

SECRETS: Secrets = {
    "billow-nats-users": {"BILLOW_PASSWORD_RECEIPT": "of-receipt", "BILLOW_PASSWORD_OPERATOR": "of-the-operator"},
    "billow-database": {"url": "postgresql+asyncpg://somewhere/billow"},
    "nats-ca": {"ca.crt": "a certificate"},
}


@pytest.fixture(scope="module")
def hybrid() -> list[Object]:
    return render({}, EXAMPLES["hybrid"])


def test_a_pod_has_the_settings_secrets_and_volumes_of_the_chart(hybrid: list[Object]) -> None:
    pod = pod_of(hybrid, "Deployment", "billow-receipt", SECRETS)
    main = pod.main
    assert (pod.component, pod.user, pod.grace) == ("receipt", 10001, 43)
    assert main.environ["BILLOW_NATS_URL"] == "tls://nats.billow.svc:4222"
    assert main.environ["BILLOW_NATS_PASSWORD"] == "of-receipt"
    assert main.environ["BILLOW_DATABASE_URL"] == SECRETS["billow-database"]["url"]
    assert (main.read_only, main.dropped, main.escalates) == (True, ("ALL",), False)
    assert (main.memory, main.cpus) == (512 << 20, 1.0)
    assert main.ready == ("test", "-f", "/run/billow/ready")
    assert (main.live_path, main.live_port) == ("/metrics", 9464)
    mounts = {mount.path: (pod.volumes[mount.volume], mount.read_only) for mount in main.mounts}
    assert set(mounts) == {"/tmp", "/run/billow", "/etc/billow/ca"}
    assert mounts["/etc/billow/ca"][0].files == {"ca.crt": "a certificate"}
    assert mounts["/etc/billow/ca"][1] is True


def test_a_job_has_its_command(hybrid: list[Object]) -> None:
    pod = pod_of(hybrid, "Job", "billow-topology", SECRETS)
    assert pod.main.command == ("billow", "topology", "apply", "--yes")
    assert pod.main.environ["BILLOW_NATS_USER"] == "operator"
    assert pod.main.environ["BILLOW_NATS_PASSWORD"] == "of-the-operator"


def test_a_field_that_is_not_known_is_told_and_not_overlooked(hybrid: list[Object]) -> None:
    changed = copy.deepcopy(hybrid)
    named(changed, "Deployment", "billow-receipt")["spec"]["template"]["spec"]["hostNetwork"] = True
    with pytest.raises(ManifestError, match="Deployment billow-receipt has hostNetwork"):
        pod_of(changed, "Deployment", "billow-receipt", SECRETS)


def test_a_secret_that_is_not_there_is_told(hybrid: list[Object]) -> None:
    with pytest.raises(ManifestError, match="there is no secret billow-database"):
        pod_of(hybrid, "Deployment", "billow-receipt", {k: v for k, v in SECRETS.items() if k != "billow-database"})
    with pytest.raises(ManifestError, match="key BILLOW_PASSWORD_RECEIPT of secret billow-nats-users"):
        pod_of(hybrid, "Deployment", "billow-receipt", {**SECRETS, "billow-nats-users": {}})


@pytest.mark.parametrize(
    ("text", "number"), [("512Mi", 512 << 20), ("2Gi", 2 << 30), ("250m", 0.25), ("2", 2), ("1.5", 1.5)]
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number
