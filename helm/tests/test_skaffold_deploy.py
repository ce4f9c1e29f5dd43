"""What Skaffold deploys with each profile: the chart with the images that were built, ports, and what verifies it."""

import functools
import re
from collections import Counter

import pytest
import yaml

from helm.tests import skaffold
from helm.tests.binary import ROOT
from helm.tests.chart import Object, containers, named, of_kind, pod_templates, render
from helm.tests.kubernetes import VERSIONS, faults
from helm.tests.skaffold import RUNS, run_id

VALUES = "helm/billow/examples"


def _images(*profiles: str) -> set[str]:
    return {each.image for each in skaffold.artifacts(*profiles)}


@functools.cache
def _objects(*profiles: str, tag: str = "a1b2c3d", digest: str = "") -> list[Object]:
    """What Helm makes of our chart in a run. Not to be changed."""
    release = skaffold.releases(*profiles)["billow"]
    files = [ROOT / each for each in release["valuesFiles"]]
    return render({}, *files, sets=skaffold.sets(release, sorted(_images(*profiles)), tag, digest))


def _rendered_images(objects: list[Object]) -> set[str]:
    found = [each["image"] for template in pod_templates(objects).values() for each in containers(template)]
    return {image for image in found if image.startswith("billow/")}


@pytest.mark.parametrize(
    ("profiles", "files"),
    [
        ((), ["single-node"]),
        (("dev",), ["dev"]),
        (("debug", "dev"), ["dev"]),
        (("gpu",), ["gpu"]),
        (("hybrid",), ["hybrid"]),
        (("ci",), ["single-node"]),
    ],
)
def test_which_values_a_profile_deploys(profiles: tuple[str, ...], files: list[str]) -> None:
    found = skaffold.releases(*profiles)
    assert found["billow"]["valuesFiles"] == [f"{VALUES}/{each}.yaml" for each in files]
    assert found["billow"]["chartPath"] == "helm/billow"
    assert {each["namespace"] for each in found.values()} == {"billow"}
    assert set(found) == ({"billow", "nats"} if "hybrid" in profiles else {"billow"})


def test_hybrid_deploys_the_official_chart_of_nats_first() -> None:
    found = skaffold.releases("hybrid")
    assert found["billow"]["dependsOn"] == ["nats"]
    nats = found["nats"]
    assert (nats["remoteChart"], nats["wait"]) == ("nats/nats", True)
    assert nats["valuesFiles"] == ["helm/nats/hub.yaml"]
    assert nats["setFiles"] == {r"configMap.merge.data.users\.conf": "deploy/nats/users.conf"}
    # The version that its values were checked with.
    assert f"--version {nats['version']} " in (ROOT / "helm" / "nats" / "hub.yaml").read_text()


@pytest.mark.parametrize("profiles", [run for run in RUNS if run], ids=run_id)
def test_the_chart_runs_exactly_what_was_built(profiles: tuple[str, ...]) -> None:
    built = {f"{image}:a1b2c3d" for image in _images(*profiles)}
    assert _rendered_images(_objects(*profiles)) == built


def test_core_alone_runs_what_it_built() -> None:
    built = [each.image for each in skaffold.artifacts(modules=["core"])]
    release = skaffold.releases()["billow"]
    objects = render({}, ROOT / VALUES / "single-node.yaml", sets=skaffold.sets(release, built))
    assert _rendered_images(objects) == {f"{image}:a1b2c3d" for image in built}


def test_a_pushed_image_is_named_with_its_digest() -> None:
    """Otherwise Skaffold would not know the pods whose logs it shows and files it changes."""
    digest = "sha256:" + "0" * 64
    images = _rendered_images(_objects("hybrid", tag="v1.2.3", digest=digest))
    assert images == {f"{image}:v1.2.3@{digest}" for image in _images("hybrid")}


@pytest.mark.parametrize("profile", ["gpu", "hybrid"])
def test_workers_on_gpus_get_the_image_for_gpus_and_others_do_not(profile: str) -> None:
    resource = "nvidia.com/gpu"
    found: dict[str, bool] = {}
    for each in of_kind(_objects(profile), "Deployment"):
        container = each["spec"]["template"]["spec"]["containers"][0]
        if container["name"] == "worker":
            on_gpu = resource in container["resources"]["limits"]
            found[each["metadata"]["name"]] = on_gpu
            assert container["image"] == f"billow/worker-{'onnx-gpu' if on_gpu else 'cpu'}:a1b2c3d"
    assert Counter(found.values()) == {True: 2, False: 1}


def test_the_debugger_holds_the_services_and_no_reloader() -> None:
    """Skaffold puts its launcher before a command whose first word is `python`."""
    for each in of_kind(_objects("debug", "dev"), "Deployment"):
        name: str = each["metadata"]["name"].removeprefix("billow-")
        command = each["spec"]["template"]["spec"]["containers"][0]["command"]
        assert command == ["python", "-m", f"billow.services.{name.partition('-')[0]}"]
    for each in of_kind(_objects("dev"), "Deployment"):
        assert each["spec"]["template"]["spec"]["containers"][0]["command"][:3] == [
            "python",
            "-m",
            "billow.runtime.reload",
        ]


def test_ci_leaves_nothing_behind_in_the_cluster() -> None:
    objects = _objects("ci")
    assert of_kind(objects, "PriorityClass", "PersistentVolumeClaim") == []
    assert "sync_interval: 10s" in named(objects, "ConfigMap", "billow-nats-server")["data"]["nats.conf"]


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_forwarded_ports_are_those_of_services_that_are_there(profiles: tuple[str, ...]) -> None:
    services = {
        each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
        for each in of_kind(_objects(*profiles) if profiles else _objects("ci"), "Service")
    }
    if "hybrid" in profiles:
        # Of the official chart, whose release is `nats`.
        services |= {"nats": {4222}, "nats-headless": {4222, 8222}}
    forwards = [each for config in skaffold.run(*profiles) for each in config.get("portForward", [])]
    assert {4222, 8222} <= {each["localPort"] for each in forwards}
    assert len({each["localPort"] for each in forwards}) == len(forwards)
    for each in forwards:
        assert each["namespace"] == "billow"
        assert each["port"] in services[each["resourceName"]], each


def _verified(*profiles: str) -> tuple[skaffold.Config, Object]:
    (core,) = (each for each in skaffold.run(*profiles) if each["metadata"]["name"] == "core")
    (case,) = core["verify"]
    manifest = ROOT / case["executionMode"]["kubernetesCluster"]["jobManifestPath"]
    return case, yaml.safe_load(manifest.read_text())


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_verify_hands_in_a_receipt_as_a_client_that_may(profiles: tuple[str, ...]) -> None:
    case, job = _verified(*profiles)
    assert case["container"]["image"] in _images(*profiles)
    command: list[str] = case["container"]["command"]
    assert command[:2] == ["billow", "extract"]
    # It waits for the record, and gives up before Skaffold does.
    assert float(command[command.index("--timeout") + 1]) < case["timeout"]
    recipe = (ROOT / "deploy" / "images" / "cli.Dockerfile").read_text()
    folder, _, sample = command[-1].rpartition("/")
    assert re.search(rf"cp samples/{sample} {folder}/", recipe)
    assert (ROOT / "samples" / sample).is_file()

    assert [faults(job, version) for version in (VERSIONS[0], VERSIONS[-1])] == [[], []]
    assert job["metadata"]["namespace"] == "billow"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    # Skaffold keeps of the manifest the container that has the name of the case's.
    assert container["name"] == case["container"]["name"]
    environ = {each["name"]: each.get("value") for each in container["env"]}
    user = environ["BILLOW_NATS_USER"]
    assert environ["BILLOW_NATS_INBOX_PREFIX"] == f"_INBOX.{user}"
    users = "deploy/nats/users.conf" if "hybrid" in profiles else "helm/billow/files/users.conf"
    assert f'user: "{user}"' in (ROOT / users).read_text()
    (secret,) = (each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each)
    assert secret["key"] == "BILLOW_PASSWORD_" + str(user).upper().replace("-", "_")


@pytest.mark.parametrize("profiles", [run for run in RUNS if run], ids=run_id)
def test_verify_reaches_nats_as_the_services_do(profiles: tuple[str, ...]) -> None:
    objects = _objects(*profiles)
    _, job = _verified(*profiles)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    theirs = named(objects, "ConfigMap", "billow-ocr")["data"]
    for key in ("BILLOW_NATS_URL", "BILLOW_NATS_DOMAIN", "SSL_CERT_FILE"):
        assert told.get(key) == theirs.get(key), key
    ours = named(objects, "Deployment", "billow-ocr")["spec"]["template"]["spec"]
    password = next(each for each in ours["containers"][0]["env"] if each["name"] == "BILLOW_NATS_PASSWORD")
    (secret,) = (each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each)
    assert secret["name"] == password["valueFrom"]["secretKeyRef"]["name"]
    spec = job["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == set(volumes)
    if "hybrid" in profiles:
        authority = next(each for each in ours["volumes"] if each["name"] == "ca")
        assert volumes["ca"]["secret"] == authority["secret"]
