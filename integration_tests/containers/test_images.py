"""What our images hold: no more than they need, nothing to build with, and nothing that their user may change."""

import re
from pathlib import Path

import pytest

from integration_tests.cluster.containers import at_once
from integration_tests.containers.images import Image, inspect, run_in, table
from integration_tests.images import PYTHON, ours

pytestmark = pytest.mark.timeout(300)

MOST = {"billow/ocr": 300.0, "billow/layout": 100.0, "billow/receipt": 100.0, "billow/worker-cpu": 550.0}
"""MB above the base image"""
BUILDERS = ("gcc", "cc", "g++", "clang", "ld", "make", "uv", "cargo", "git")
USER = "10001:10001"
ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def inspect_all(names: dict[str, str]) -> dict[str, Image]:
    return {name: inspect(image) for name, image in names.items()}


def test_the_images_are_no_bigger_than_the_docs_say(our_images: dict[str, str], summary: list[str]) -> None:
    images, base = inspect_all(our_images), inspect(PYTHON)
    summary += table(images, base, MOST)
    too_big = {name: images[name].above(base) for name, most in MOST.items() if images[name].above(base) >= most}
    assert too_big == {}
    rows = re.findall(r"^\| `(billow/[a-z-]+)` \|[^|]*\| ([0-9,]+) \|$", ARCHITECTURE.read_text(), re.M)
    told = {name: int(megabytes.replace(",", "")) for name, megabytes in rows}
    assert set(told) == {*ours.CPU, *ours.GPU}
    for name, image in images.items():
        assert abs(image.above(base) - told[name]) <= max(3, 0.1 * told[name]), f"{ARCHITECTURE} says {told[name]}"


def test_an_image_says_what_it_is_and_who_runs_it(our_images: dict[str, str]) -> None:
    for name, image in inspect_all(our_images).items():
        said = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
        assert said["title"] == name
        assert said["licenses"] == "Apache-2.0", name
        assert said["version"] == ours.TAG and said["description"], name
        assert said["revision"] == ours.revision(), f"{name} is of another commit: `make images` builds it anew"
        assert image.user == USER, name
        # The command is no service; of the others an orchestrator without probes, such as compose, sees the readiness.
        assert ("/run/billow/ready" in image.healthcheck) == (name != "billow/cli"), name


def test_nothing_in_an_image_builds_and_its_user_may_change_nothing_of_it(our_images: dict[str, str]) -> None:
    script = "\n".join(
        (
            'echo "user $(id -u):$(id -g)"',
            *(f'echo "builder $(command -v {name} || echo none)"' for name in BUILDERS),
            # Of files that anybody may write, only devices and the folders for it are left.
            'find / -xdev -writable ! -type l ! -path "/proc/*" ! -path "/dev/*" 2>/dev/null | sed "s/^/writable /"',
            'touch /opt/billow/probe 2>/dev/null && echo "changed /opt/billow" || true',
        )
    )
    said = at_once([lambda image=image: run_in(image, script) for image in our_images.values()])
    free = {"/tmp", "/var/tmp", "/run/lock", "/run/billow", "/var/cache/billow", "/var/cache/billow/models"}
    for name, output in zip(our_images, said, strict=True):
        facts = [line.partition(" ")[::2] for line in output.splitlines()]
        assert {value for what, value in facts if what == "user"} == {USER}, name
        assert {value for what, value in facts if what == "builder"} == {"none"}, name
        writable = {value for what, value in facts if what == "writable"}
        assert "/tmp" in writable, output
        assert writable <= free, name
        assert not [value for what, value in facts if what == "changed"], name
