# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false
"""What Docker knows of an image, and what stands in one. All calls block."""

import contextlib
from collections.abc import Mapping

import msgspec
from testcontainers.core.docker_client import DockerClient

from integration_tests.cluster.leftovers import labels

_MB = 1e6


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image as it lies in the engine."""

    name: str
    size: int
    """bytes, with the layers that it shares with others"""
    labels: Mapping[str, str]
    user: str
    """`uid:gid` as which it runs unless told otherwise"""
    healthcheck: tuple[str, ...]
    """Command of it; empty for none."""

    def above(self, base: "Image") -> float:
        """MB more than another."""
        return (self.size - base.size) / _MB


def inspect(name: str) -> Image:
    """Raises ImageNotFound: the engine has none of this name."""
    client = DockerClient().client
    with contextlib.closing(client):
        found = client.images.get(name).attrs
    config = found["Config"]
    return Image(
        name=name,
        size=found["Size"],
        labels=config.get("Labels") or {},
        user=config.get("User", ""),
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test", ())),
    )


def run_in(name: str, script: str) -> str:
    """What a shell script prints in a new container of the image: its own user, a root that can be written, no network.

    Raises:
        ContainerError: the script failed.
    """
    client = DockerClient().client
    with contextlib.closing(client):
        output = client.containers.run(
            name, entrypoint=["sh", "-c", script], remove=True, network_disabled=True, labels=labels()
        )
    return bytes(output).decode(errors="replace")


def table(images: Mapping[str, Image], base: Image, most: Mapping[str, float]) -> list[str]:
    """Lines for people: each image's size above the base, and what it may be."""
    rows = [f"{'image':<28}{'MB':>8}{'above base':>12}{'at most':>9}", f"{base.name:<28}{base.size / _MB:>8.0f}"]
    for name, image in images.items():
        bar = f"{most[name]:.0f}" if name in most else ""
        rows.append(f"{image.name:<28}{image.size / _MB:>8.0f}{image.above(base):>12.0f}{bar:>9}")
    return rows
