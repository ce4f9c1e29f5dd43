"""skaffold.yaml as Skaffold reads it: modules, profiles, and the values that the chart gets.

`artifacts("dev")` is what a run with that profile builds; whoever builds images by other means can be held to it.
"""

import functools
import itertools
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from helm.tests import patches
from helm.tests.binary import ROOT

FILE = ROOT / "skaffold.yaml"
PROFILES = ("dev", "gpu", "hybrid", "ci")
"""They are alternatives."""
RUNS: list[tuple[str, ...]] = [(), *((each,) for each in PROFILES), ("debug", "dev")]
"""Profiles in the order in which Skaffold applies them: those that are active by themselves come first."""
Config = dict[str, Any]

# What of a document a profile may say anew.
_PIPELINE = ("build", "test", "manifests", "deploy", "portForward", "resourceSelector", "verify", "customActions")
# These are merged key by key; everything else that a profile gives takes the place of what was there.
_MERGED = {"build", "manifests", "deploy", "resourceSelector"}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An image, and how it is built."""

    image: str
    context: Path
    dockerfile: Path
    build_args: dict[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
    """stage of the recipe; None for the last one"""
    sync: tuple[dict[str, str], ...] = ()
    """rules by which files go into running containers: src, dest, strip"""
    rebuilt_for: tuple[str, ...] = ()
    """paths whose change builds it anew; empty for all of the context"""


def run_id(profiles: tuple[str, ...]) -> str:
    """A run in the names of tests."""
    return "+".join(profiles) or "none"


@functools.cache
def documents() -> dict[str, Config]:
    """Modules by name, as they stand in the file. Not to be changed."""
    return {each["metadata"]["name"]: each for each in yaml.safe_load_all(FILE.read_text())}


def applied(config: Config, *profiles: str) -> Config:
    """A module with profiles, in this order; one that the module does not have changes nothing.

    Raises:
        patches.PatchError: Skaffold would refuse a patch.
    """
    result = config
    for name in profiles:
        for profile in config.get("profiles", []):
            if profile["name"] == name:
                given = {key: profile[key] for key in _PIPELINE if key in profile}
                result = patches.apply(_overlaid(result, given, _MERGED), profile.get("patches", []))
    return result


def _overlaid(base: Config, over: Config, merged: Iterable[str] = ()) -> Config:
    """What is empty in `over` says nothing, so a profile cannot take away but by a patch."""
    result = dict(base)
    for key, value in over.items():
        if value in ({}, [], "", 0, None):
            continue
        result[key] = _overlaid(base.get(key, {}), value) if key in merged else value
    return result


def run(*profiles: str, modules: Iterable[str] = ()) -> list[Config]:
    """The modules that take part in a run, each after those that it requires; all unless `modules` names some."""
    every = documents()
    found: dict[str, Config] = {}

    def visit(name: str) -> None:
        if name not in found:
            config = applied(every[name], *profiles)
            for each in required(config):
                visit(each)
            found[name] = config

    for name in modules or every:
        visit(name)
    return list(found.values())


def required(config: Config) -> list[str]:
    """Names of the modules that it requires."""
    return [name for each in config.get("requires", []) for name in each["configs"]]


def artifacts(*profiles: str, modules: Iterable[str] = ()) -> list[Artifact]:
    """What a run builds."""
    configs = run(*profiles, modules=modules)
    return [_artifact(each) for config in configs for each in config.get("build", {}).get("artifacts", [])]


def _artifact(entry: Config) -> Artifact:
    context = ROOT / entry.get("context", ".")
    custom = entry.get("custom")
    docker = _flags(custom["buildCommand"]) if custom else entry["docker"]
    return Artifact(
        image=entry["image"],
        context=context,
        dockerfile=context / docker["dockerfile"],
        build_args=docker.get("buildArgs", {}),
        target=docker.get("target"),
        sync=tuple(entry.get("sync", {}).get("manual", ())),
        rebuilt_for=tuple(custom["dependencies"]["paths"]) if custom else (),
    )


def _flags(command: str) -> Config:
    """Of a `docker build` in a shell's command."""
    words = shlex.split(command)
    flags = dict(itertools.pairwise(words))
    return {"dockerfile": flags["--file"]} | ({"target": flags["--target"]} if "--target" in flags else {})


def releases(*profiles: str) -> dict[str, Config]:
    """Helm releases of a run, by name."""
    found = [each for config in run(*profiles) for each in config.get("deploy", {}).get("helm", {}).get("releases", [])]
    return {each["name"]: each for each in found}


_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def sets(release: Config, images: Iterable[str], tag: str = "a1b2c3d", digest: str = "") -> list[str]:
    """What Skaffold gives to Helm as `--set`, when these images were built.

    Args:
        release: one of `releases`.
        images: names of what was built.
        tag: the tag of each.
        digest: the digest of each; empty where images were not pushed.

    Raises:
        KeyError: a template names an image that was not built.
    """
    known: dict[str, str] = {}
    for image in images:
        suffix = re.sub(r"[/-]", "_", image)
        known |= {f"IMAGE_REPO_{suffix}": image, f"IMAGE_TAG_{suffix}": tag, f"IMAGE_DIGEST_{suffix}": digest}
    found = [f"{key}={value}" for key, value in release.get("setValues", {}).items()]
    for key, template in release.get("setValueTemplates", {}).items():
        value = _VARIABLE.sub(lambda match: known[match[1]], template).removesuffix("@")
        found.append(f"{key}={value}")
    return found
