# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeArgument=false
# pyright: reportUnknownArgumentType=false
"""What the API servers of Kubernetes 1.30 to the newest would say to an object, by their schemas, strict.

The schemas are those that the package kubernetes-validate holds; each is read and compiled once, as there are
thousands of objects to check. Custom resources are checked against the schemas in `crds/`.
"""

import functools
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from helm.tests.chart import Object

_OLDEST = (1, 30)
_CRDS = Path(__file__).parent / "crds"
_CUSTOM = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


VERSIONS = [each for each in kubernetes_validate.utils.all_versions() if _numbers(each) >= _OLDEST]

_seen: set[str] = set()


def faults(thing: Object, version: str) -> list[str]:
    """What that version of Kubernetes would refuse about it; empty if nothing.

    Raises:
        FileNotFoundError: there is no such kind in that version.
    """
    text = json.dumps([version, thing], sort_keys=True)
    if text in _seen:
        return []
    if thing["apiVersion"] in _CUSTOM:
        validator = _custom(thing["kind"])
    else:
        validator = _builtin(version, thing["kind"], thing["apiVersion"])
    found = [f"{'.'.join(str(part) for part in e.absolute_path)}: {e.message}" for e in validator.iter_errors(thing)]
    if not found:
        _seen.add(text)
    return found


@functools.cache
def _custom(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_CRDS / f"{kind.lower()}.json").read_text()))


@functools.cache
def _builtin(version: str, kind: str, api_version: str) -> Draft202012Validator:
    # `networking.k8s.io/v1` is `networking-v1` in the names of the files.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    return Draft202012Validator(_read(version, f"{kind.lower()}-{group}.json"), registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Registry:
    return Resource.from_contents(_read(version, "_definitions.json")) @ Registry()


def _read(version: str, name: str) -> Any:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    return json.loads((folder / name).read_text())
