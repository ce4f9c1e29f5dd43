"""Renders the chart and finds things in what came out."""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from helm.tests.binary import ROOT, find_helm

CHART = ROOT / "helm" / "billow"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
NAMESPACE = "billow"

Object = dict[str, Any]

BUILTIN: Mapping[str, Any] = {"nats": {"builtin": {"enabled": True}}, "database": {"builtin": {"enabled": True}}}
"""The least that the chart asks for."""


class RenderError(Exception):
    """Helm refused the values; its message, as a user sees it."""


def _run(verb: list[str], values: Mapping[str, Any], files: Iterable[Path], sets: Iterable[str] = ()) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as own:
        json.dump(values, own)
        own.flush()
        command = [str(find_helm()), *verb]
        for path in [*files, Path(own.name)]:
            command += ["--values", str(path)]
        for assignment in sets:
            command += ["--set", assignment]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=150)
    if done.returncode:
        raise RenderError(done.stderr + done.stdout)
    return done.stdout


def render(values: Mapping[str, Any] | None = None, *files: Path, sets: Iterable[str] = ()) -> list[Object]:
    """Every object of the chart with `files` and, over them, `values`, then `sets` (`key=value`, as for `--set`).

    Raises:
        RenderError: Helm refuses them.
    """
    verb = ["template", "billow", str(CHART), "--namespace", NAMESPACE]
    text = _run(verb, values or {}, files, sets)
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def example(name: str) -> list[Object]:
    """Every object of an example."""
    return render({}, EXAMPLES[name])


def lint(values: Mapping[str, Any], *files: Path) -> str:
    """What `helm lint --strict` says. Raises RenderError where it finds a fault."""
    return _run(["lint", "--strict", str(CHART)], values, files)


def notes(values: Mapping[str, Any], *files: Path) -> str:
    """What the user reads after installing."""
    verb = ["install", "billow", str(CHART), "--namespace", NAMESPACE, "--dry-run=client"]
    return _run(verb, values, files).partition("NOTES:\n")[2]


def refusal(values: Mapping[str, Any]) -> str:
    """Helm's message for values that it must refuse, over the least that works."""
    try:
        render(merged(BUILTIN, values))
    except RenderError as e:
        return str(e)
    raise AssertionError(f"the chart accepts {values}")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: mappings by key, all else replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(cast(Object, old), cast(Object, value)) if both else value
    return result


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """Those of these kinds, in order."""
    return [each for each in objects if each["kind"] in kinds]


def named(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The one of that kind and name. Raises AssertionError if there is not exactly one."""
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
    return found[0]


def pod_templates(objects: Iterable[Object]) -> dict[str, Object]:
    """Pod templates by "Kind/name" of what makes the pods."""
    makers = of_kind(objects, "Deployment", "StatefulSet", "Job")
    return {f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"] for each in makers}


def containers(template: Object) -> list[Object]:
    """Init containers too."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]
