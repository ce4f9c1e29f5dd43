"""What the rendered chart says of a pod, as data; a field that is not known here is an error and not overlooked."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from helm.tests.chart import Object, named

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

# Of what is not read, the cluster's scheduler, network and accounts would make something; a single container cannot.
_POD = {
    *("automountServiceAccountToken", "containers", "enableServiceLinks", "initContainers", "priorityClassName"),
    *("affinity", "tolerations", "restartPolicy", "securityContext", "serviceAccountName"),
    *("terminationGracePeriodSeconds", "topologySpreadConstraints", "volumes"),
}
_CONTAINER = {
    *("command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports"),
    *("readinessProbe", "resources", "securityContext", "startupProbe", "volumeMounts"),
}
_POD_SECURITY = {"runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"}
_SECURITY = {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"}

Secrets = Mapping[str, Mapping[str, str]]
"""Name of a secret -> key -> value."""


class ManifestError(Exception):
    """The chart says something that is not understood here, or refers to what is not there."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container sees a volume."""

    volume: str
    path: str
    read_only: bool


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one container of a pod is run."""

    name: str
    image: str
    command: tuple[str, ...]
    """Empty for the image's own."""
    environ: Mapping[str, str]
    read_only: bool
    dropped: tuple[str, ...]
    """Capabilities."""
    escalates: bool
    """Whether a process may gain privileges."""
    memory: int
    """bytes at most"""
    cpus: float
    """cores at most"""
    mounts: tuple[Mount, ...]
    ready: tuple[str, ...]
    """Command that succeeds when it takes work; empty for none."""
    live_path: str
    """HTTP path that answers while it lives; empty for none."""
    live_port: int


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One of: an empty folder, a folder of the machine, the files of a secret."""

    in_memory: bool = False
    size: int = 0
    """bytes at most of a folder in memory"""
    host_path: str = ""
    files: Mapping[str, str] | None = None
    """Name -> content."""


class PodSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A pod of a Deployment or Job."""

    name: str
    """Of what makes it."""
    component: str
    labels: Mapping[str, str]
    user: int
    group: int
    first: tuple[ContainerSpec, ...]
    """Run to their end, one after the other, before `main`."""
    main: ContainerSpec
    volumes: Mapping[str, Volume]
    grace: int
    """seconds between SIGTERM and SIGKILL"""
    startup: int
    """seconds in which it must be ready; 0 for a Job"""


def pod_of(objects: Sequence[Object], kind: str, name: str, secrets: Secrets) -> PodSpec:
    """The pod that a Deployment or Job of a rendered chart makes.

    Args:
        objects: All that was rendered.
        kind: `Deployment` or `Job`.
        name: Of that object.
        secrets: Those that the chart refers to.

    Raises:
        ManifestError: it has a field that is not known, or refers to what is not there.
    """
    template = named(objects, kind, name)["spec"]["template"]
    spec: Object = template["spec"]
    _known(f"{kind} {name}", spec, _POD)
    security: Object = spec["securityContext"]
    _known(f"{kind} {name}: securityContext", security, _POD_SECURITY)
    (main,) = spec["containers"]
    labels: dict[str, str] = template["metadata"]["labels"]
    # The time before SIGTERM is for the endpoints of a Service, of which there is none here.
    drain: int = main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    startup: Object = main.get("startupProbe", {})
    return PodSpec(
        name=name,
        component=labels["app.kubernetes.io/component"],
        labels=labels,
        user=security["runAsUser"],
        group=security["runAsGroup"],
        first=tuple(_container(each, objects, secrets) for each in spec.get("initContainers", [])),
        main=_container(main, objects, secrets),
        volumes={each["name"]: _volume(each, secrets) for each in spec.get("volumes", [])},
        grace=spec.get("terminationGracePeriodSeconds", 30) - drain,
        startup=startup.get("periodSeconds", 0) * startup.get("failureThreshold", 0),
    )


def quantity(text: str) -> float:
    """A quantity of Kubernetes in bytes or cores: `512Mi`, `250m`, `2`."""
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _container(given: Object, objects: Sequence[Object], secrets: Secrets) -> ContainerSpec:
    name: str = given["name"]
    _known(name, given, _CONTAINER)
    security: Object = given["securityContext"]
    _known(f"{name}: securityContext", security, _SECURITY)
    limits: dict[str, str] = given["resources"]["limits"]
    ports = {port["name"]: port["containerPort"] for port in given.get("ports", [])}
    live: Object = given.get("livenessProbe", {}).get("httpGet", {})
    return ContainerSpec(
        name=name,
        image=given["image"],
        command=tuple(given.get("command", ())),
        environ=_environ(given, objects, secrets),
        read_only=security["readOnlyRootFilesystem"],
        dropped=tuple(security["capabilities"]["drop"]),
        escalates=security["allowPrivilegeEscalation"],
        memory=int(quantity(str(limits["memory"]))),
        cpus=quantity(str(limits["cpu"])),
        mounts=tuple(
            Mount(volume=each["name"], path=each["mountPath"], read_only=each.get("readOnly", False))
            for each in given["volumeMounts"]
        ),
        ready=tuple(given.get("readinessProbe", {}).get("exec", {}).get("command", ())),
        live_path=live.get("path", ""),
        live_port=ports.get(live.get("port"), 0),
    )


def _environ(given: Object, objects: Sequence[Object], secrets: Secrets) -> dict[str, str]:
    environ: dict[str, str] = {}
    for source in given.get("envFrom", []):
        match source:
            case {"configMapRef": {"name": name}}:
                environ |= named(objects, "ConfigMap", name)["data"]
            case {"secretRef": {"name": name}}:
                environ |= _secret(secrets, name)
            case _:
                raise ManifestError(f"{given['name']}: envFrom {source} is not known here")
    for variable in given.get("env", []):
        match variable:
            case {"name": name, "value": value}:
                environ[name] = value
            case {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}:
                values = _secret(secrets, secret)
                if key not in values:
                    raise ManifestError(f"{given['name']}: {name} is key {key} of secret {secret}, which has none")
                environ[name] = values[key]
            case _:
                raise ManifestError(f"{given['name']}: env {variable} is not known here")
    return environ


def _volume(given: Object, secrets: Secrets) -> Volume:
    match given:
        case {"emptyDir": found}:
            in_memory = found.get("medium") == "Memory"
            return Volume(in_memory=in_memory, size=int(quantity(str(found["sizeLimit"]))))
        case {"hostPath": {"path": path}}:
            return Volume(host_path=path)
        case {"secret": {"secretName": name}}:
            return Volume(files=_secret(secrets, name))
        case _:
            raise ManifestError(f"volume {given} is not known here")


def _secret(secrets: Secrets, name: str) -> Mapping[str, str]:
    if name not in secrets:
        raise ManifestError(f"there is no secret {name}; there are {', '.join(sorted(secrets))}")
    return secrets[name]


def _known(where: str, given: Mapping[str, Any], names: set[str]) -> None:
    if unknown := set(given) - names:
        raise ManifestError(f"{where} has {', '.join(sorted(unknown))}, which is not known here")
