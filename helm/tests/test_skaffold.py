"""skaffold.yaml: valid, its paths are there, and each profile builds and deploys what it says."""

import re
from collections import Counter
from typing import Any, cast

import pytest

from helm.tests import patches, skaffold
from helm.tests.binary import ROOT
from helm.tests.skaffold import PROFILES, RUNS, run_id
from helm.tests.skaffold_schema import faults

SERVICES = {"billow/ocr", "billow/layout", "billow/receipt", "billow/cli"}
CPU = SERVICES | {"billow/worker-cpu"}


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_it_is_valid_with_every_profile(profiles: tuple[str, ...]) -> None:
    for name, config in skaffold.documents().items():
        assert faults(skaffold.applied(config, *profiles)) == [], name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/build/artifacts/0/dokcer", {}),
        ("/build/artifacts/0/docker/buildArgs", ["SERVICE=ocr"]),
        ("/deploy/helm/releases/0/values", {}),
        ("/verify/0/executionMode/kubernetesCluster", []),
    ],
)
def test_a_fault_would_be_seen(path: str, value: object) -> None:
    core = skaffold.documents()["core"]
    assert faults(patches.apply(core, [{"op": "add", "path": path, "value": value}]))


def test_a_patch_of_what_is_not_there_would_be_seen() -> None:
    core = skaffold.documents()["core"]
    for path in ("/build/artifacts/9/docker/target", "/build/local/push", "/deploy/helm/releases/0/nothing"):
        with pytest.raises(patches.PatchError, match="nothing is at"):
            patches.apply(core, [{"path": path, "value": True}])
    # Skaffold tries each patch alone.
    both: list[dict[str, Any]] = [
        {"op": "add", "path": "/test", "value": []},
        {"op": "add", "path": "/test/-", "value": {}},
    ]
    with pytest.raises(patches.PatchError):
        patches.apply(core, both)


def test_the_modules_and_what_they_require() -> None:
    modules = skaffold.documents()
    assert list(modules) == ["core", "workers-cpu", "workers-gpu", "console"]
    for profiles in RUNS:
        for name, config in modules.items():
            assert set(skaffold.required(skaffold.applied(config, *profiles))) <= set(modules) - {name}
    assert [each["metadata"]["name"] for each in skaffold.run(modules=["console"])] == [
        "workers-cpu",
        "core",
        "console",
    ]
    named_by_profile = skaffold.run("gpu", modules=["core"])
    assert [each["metadata"]["name"] for each in named_by_profile] == ["workers-cpu", "workers-gpu", "core"]


def test_every_profile_is_known_where_it_changes_something() -> None:
    names = {
        name: {each["name"] for each in config.get("profiles", [])} for name, config in skaffold.documents().items()
    }
    assert names == {
        "core": {*PROFILES, "debug"},
        "workers-cpu": {"dev", "hybrid", "ci"},
        "workers-gpu": set(PROFILES),
        "console": {"hybrid"},
    }


def test_debug_comes_by_itself_and_no_other_profile_does() -> None:
    for config in skaffold.documents().values():
        for profile in config.get("profiles", []):
            expected = [{"command": "debug"}] if profile["name"] == "debug" else []
            assert profile.get("activation", []) == expected


def test_debug_and_another_profile_are_the_same_in_any_order() -> None:
    core = skaffold.documents()["core"]
    for name in PROFILES:
        assert skaffold.applied(core, "debug", name) == skaffold.applied(core, name, "debug")


def _paths(config: object, key: str = "") -> list[str]:
    """Every file or folder that a module names; those of an artifact are looked at elsewhere."""
    if isinstance(config, dict):
        return [path for name, each in cast(skaffold.Config, config).items() for path in _paths(each, name)]
    if isinstance(config, list):
        return [path for each in cast(list[object], config) for path in _paths(each, key)]
    return [str(config)] if key in {"chartPath", "valuesFiles", "jobManifestPath"} else []


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_every_path_is_there(profiles: tuple[str, ...]) -> None:
    configs = skaffold.run(*profiles)
    paths = [path for config in configs for path in _paths(config)]
    paths += [path for each in skaffold.releases(*profiles).values() for path in each.get("setFiles", {}).values()]
    assert len(paths) >= 3
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for each in skaffold.artifacts(*profiles):
        assert each.context == ROOT
        assert each.dockerfile.is_file(), each.image
        for path in each.rebuilt_for:
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_recipes_have_the_stages_and_arguments_that_artifacts_ask_for(profiles: tuple[str, ...]) -> None:
    for each in skaffold.artifacts(*profiles):
        recipe = each.dockerfile.read_text()
        assert each.target is None or re.search(rf"^FROM \S+ AS {each.target}$", recipe, re.MULTILINE), each.image
        declared = set(re.findall(r"^ARG (\w+)", recipe, re.MULTILINE))
        assert set(each.build_args) <= declared, each.image
        # Debian's docker has no BuildKit.
        assert "--mount" not in "".join(line for line in recipe.splitlines() if not line.startswith("#")), each.image


@pytest.mark.parametrize(
    ("profiles", "images"),
    [
        ((), CPU | {"billow/worker-onnx-gpu", "billow/worker-tensorflow-gpu"}),
        (("dev",), CPU),
        (("debug", "dev"), CPU),
        (("ci",), CPU),
        (("gpu",), CPU | {"billow/worker-onnx-gpu"}),
        (("hybrid",), CPU | {"billow/worker-onnx-gpu"}),
    ],
)
def test_what_a_profile_builds(profiles: tuple[str, ...], images: set[str]) -> None:
    assert Counter(each.image for each in skaffold.artifacts(*profiles)) == Counter(images)


def test_a_module_alone_builds_what_it_needs() -> None:
    assert {each.image for each in skaffold.artifacts(modules=["core"])} == CPU
    assert {each.image for each in skaffold.artifacts(modules=["console"])} == CPU
    assert {each.image for each in skaffold.artifacts(modules=["workers-cpu"])} == {"billow/worker-cpu"}
    gpu = {each.image: each.build_args for each in skaffold.artifacts(modules=["workers-gpu"])}
    assert gpu == {
        "billow/worker-onnx-gpu": {"VARIANT": "onnx-gpu"},
        "billow/worker-tensorflow-gpu": {"VARIANT": "tensorflow-gpu"},
    }


def test_each_image_is_built_as_what_it_is_named() -> None:
    for each in skaffold.artifacts():
        name = each.image.removeprefix("billow/")
        if name == "cli":
            assert (each.dockerfile.name, each.build_args) == ("cli.Dockerfile", {})
        elif name.startswith("worker-"):
            assert each.dockerfile.name == "worker.Dockerfile"
            assert each.build_args == {"VARIANT": name.removeprefix("worker-")}
        else:
            assert (each.dockerfile.name, each.build_args) == ("service.Dockerfile", {"SERVICE": name})


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_only_developers_get_the_stage_with_sources(profiles: tuple[str, ...]) -> None:
    for each in skaffold.artifacts(*profiles):
        developed = "dev" in profiles and each.image != "billow/cli"
        assert each.target == ("dev" if developed else None), each.image
        assert bool(each.sync) is developed, each.image


@pytest.mark.parametrize("profiles", RUNS, ids=run_id)
def test_tags_come_from_git(profiles: tuple[str, ...]) -> None:
    for config in skaffold.run(*profiles):
        if config.get("build", {}).get("artifacts"):
            assert config["build"]["tagPolicy"] == {"gitCommit": {"variant": "Tags"}}
            pushed: dict[str, dict[str, bool]] = {"hybrid": {"push": True}, "ci": {"push": False}}
            expected = [pushed[each] for each in profiles if each in pushed] or [{}]
            assert [config["build"]["local"]] == expected
