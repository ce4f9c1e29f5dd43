"""The values for developers: an edit can be sent into a pod, and only what it concerns starts anew."""

import re
from pathlib import Path
from typing import Any

import pytest

from helm.tests.binary import ROOT
from helm.tests.chart import Object, containers, example, named, of_kind, pod_templates

_OURS = {"ocr": "ocr", "layout": "layout", "receipt": "receipt"} | {
    f"worker-{name}": "worker" for name in ("detector", "recogniser", "rules")
}
"""Folder below services/ by component."""


def _main(component: str) -> Object:
    deployment = named(example("dev"), "Deployment", f"billow-{component}")
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_one_machine_with_what_it_needs() -> None:
    objects = example("dev")
    makers = {f"{each['kind']}/{each['metadata']['name']}" for each in of_kind(objects, "Deployment", "StatefulSet")}
    assert makers == {f"Deployment/billow-{each}" for each in _OURS} | {
        "StatefulSet/billow-nats",
        "StatefulSet/billow-postgres",
    }
    assert of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject", "PriorityClass") == []


def test_only_the_root_file_system_is_open() -> None:
    objects = example("dev")
    for owner, template in pod_templates(objects).items():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True, owner
        for container in containers(template):
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}, owner
            assert security["allowPrivilegeEscalation"] is False, owner
            assert security["readOnlyRootFilesystem"] is not container["image"].startswith("billow/"), owner


@pytest.mark.parametrize("component", _OURS)
def test_a_reloader_runs_the_service_and_watches_what_it_imports(component: str) -> None:
    command: list[str] = _main(component)["command"]
    folder = _OURS[component]
    assert command[:4] == ["python", "-m", "billow.runtime.reload", f"billow.services.{folder}"]
    watched = command[4:]
    others = {path.name for path in (ROOT / "services").iterdir()} - {folder}
    assert not any(f"/src/services/{other}" in watched for other in others)
    assert {"/src/schemas", "/src/libs", f"/src/services/{folder}"} <= set(watched)
    for path in watched:
        assert (ROOT / Path(path).relative_to("/src")).is_dir(), path


def _stage(recipe: str, name: str) -> str:
    """Lines of a stage and of those that it is made from."""
    text = (ROOT / "deploy" / "images" / recipe).read_text()
    stages: dict[str, tuple[str, str]] = {}
    for part in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        base, _, alias = head.partition(" AS ")
        stages[alias] = (base, body)
    base, body = stages[name]
    return (_stage(recipe, base) if base in stages else "") + body


@pytest.mark.parametrize("recipe", ["service.Dockerfile", "worker.Dockerfile"])
def test_the_stage_has_the_tree_of_the_checkout_and_gives_it_to_its_user(recipe: str) -> None:
    stage = _stage(recipe, "dev")
    assert re.findall(r"^WORKDIR (\S+)", stage, re.MULTILINE)[-1] == "/src"
    assert re.search(r"^COPY \. \./?$", stage, re.MULTILINE)
    assert re.search(r"chown -R billow:billow [^\n]*/src\b", stage)
    assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] == "10001:10001"
    assert "--only-group reload" in stage
    # As an editable installation: what is imported lies under /src.
    assert "--no-editable" not in stage


def test_the_user_is_that_of_the_chart() -> None:
    pods: list[Any] = [template["spec"] for template in pod_templates(example("dev")).values()]
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {10001, 999}
