"""Our own images, built from the checkout: what skaffold.yaml names as artifacts is what is built here."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import yaml

from integration_tests.images.engine import EngineError

CHECKOUT = Path(__file__).parents[2]
TAG = "test"
CPU = ("billow/ocr", "billow/layout", "billow/receipt", "billow/worker-cpu", "billow/cli")
GPU = ("billow/worker-onnx-gpu", "billow/worker-tensorflow-gpu")
_BUILD_SECONDS = 1800


class _Docker(msgspec.Struct, rename="camel"):
    dockerfile: str
    build_args: dict[str, str] = {}


class _Artifact(msgspec.Struct):
    image: str
    docker: _Docker
    context: str = "."


class _Build(msgspec.Struct):
    artifacts: list[_Artifact] = []


class _Module(msgspec.Struct):
    build: _Build = msgspec.field(default_factory=_Build)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How one image is built."""

    image: str
    context: Path
    dockerfile: Path
    arguments: dict[str, str]


def recipes(skaffold: Path = CHECKOUT / "skaffold.yaml") -> dict[str, Recipe]:
    """The artifacts of every module, by image."""
    modules = msgspec.convert(list(yaml.safe_load_all(skaffold.read_text())), list[_Module])
    found: dict[str, Recipe] = {}
    for artifact in (artifact for module in modules for artifact in module.build.artifacts):
        context = skaffold.parent / artifact.context
        # A template is filled in by skaffold only.
        arguments = {name: value for name, value in artifact.docker.build_args.items() if "{{" not in value}
        found[artifact.image] = Recipe(
            image=artifact.image, context=context, dockerfile=context / artifact.docker.dockerfile, arguments=arguments
        )
    return found


def build(names: Iterable[str] = CPU, *, tag: str = TAG, target: str | None = None, version: str = "") -> list[str]:
    """Build images; layers that did not change are taken as they are, so a second time takes seconds.

    Args:
        names: As in skaffold.yaml.
        tag: Of every image.
        target: Stage to stop at, such as `dev`; the last one if not given.
        version: Label of the images, the tag if not given; another one makes another image of the same content.

    Returns:
        The images with their tag, as they are started.

    Raises:
        EngineError: skaffold.yaml knows no such image, or the engine could not build it; the message holds the end of
            what the build said.
    """
    known = recipes()
    images: list[str] = []
    for name in names:
        if name not in known:
            raise EngineError(f"skaffold.yaml has no artifact {name}; it has {', '.join(sorted(known))}.")
        started = time.monotonic()
        image = f"{name}:{tag}"
        _build(known[name], image, target, {"VERSION": version or tag, "REVISION": revision()})
        sys.stderr.write(f"{image} built in {time.monotonic() - started:.1f} s\n")
        images.append(image)
    return images


def revision() -> str:
    """The checkout's commit, as the images' label; empty where this is no checkout of git."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def size(image: str) -> int:
    """Bytes of all its layers.

    Raises:
        EngineError: there is no such image.
    """
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EngineError(f"Docker has no image {image}; `python -m integration_tests.images --ours` builds ours.")
    return int(done.stdout)


def _build(recipe: Recipe, image: str, target: str | None, labels: dict[str, str]) -> None:
    command = ["docker", "build", "--tag", image, "--file", str(recipe.dockerfile)]
    for name, value in (recipe.arguments | labels).items():
        command += ["--build-arg", f"{name}={value}"]
    if target:
        command += ["--target", target]
    # Debian's docker has no BuildKit; the recipes do without it, and shall go on doing so.
    environ = os.environ | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        [*command, str(recipe.context)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
        env=environ,
    )
    if done.returncode != 0:
        end = "\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-10:]])
        raise EngineError(f"{image} cannot be built:\n{end}")
