"""Our own images, built from the checkout: what skaffold.yaml names as artifacts is what is built here."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from helm.tests import skaffold
from integration_tests.images.engine import EngineError

CHECKOUT = Path(__file__).parents[2]
TAG = "test"
CPU = ("billow/ocr", "billow/layout", "billow/receipt", "billow/worker-cpu", "billow/cli")
GPU = ("billow/worker-onnx-gpu", "billow/worker-tensorflow-gpu")
_BUILD_SECONDS = 1800


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
    known = {artifact.image: artifact for artifact in skaffold.artifacts()}
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


def _build(artifact: skaffold.Artifact, image: str, target: str | None, labels: dict[str, str]) -> None:
    command = ["docker", "build", "--tag", image, "--file", str(artifact.dockerfile)]
    for name, value in (artifact.build_args | labels).items():
        command += ["--build-arg", f"{name}={value}"]
    if target:
        command += ["--target", target]
    # Debian's docker has no BuildKit; the recipes do without it, and shall go on doing so.
    environ = os.environ | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        [*command, str(artifact.context)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
        env=environ,
    )
    if done.returncode != 0:
        end = "\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-10:]])
        raise EngineError(f"{image} cannot be built:\n{end}")
