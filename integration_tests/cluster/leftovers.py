# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false
"""What a test run that was killed has left in the Docker engine, found by a label that names its process."""

import contextlib
import os
import platform
from pathlib import Path

from docker.errors import APIError
from testcontainers.core.docker_client import DockerClient

LABEL = "billow.integration-tests"
_STARTED = 19
"""Index of a process's start among the fields of /proc/<pid>/stat after its name."""


def labels() -> dict[str, str]:
    """For everything that is made in the engine: who will remove it."""
    return {LABEL: f"{platform.node()}/{os.getpid()}/{_started(os.getpid())}"}


def remove_leftovers() -> list[str]:
    """Remove containers and networks of runs on this machine that have ended; returns their names.

    What another run needs now stays.
    """
    client = DockerClient().client
    removed: list[str] = []
    try:
        for found in client.containers.list(all=True, filters={"label": LABEL}):
            if _is_over(found.labels[LABEL]):
                with contextlib.suppress(APIError):
                    found.remove(force=True, v=True)
                    removed.append(str(found.name))
        for found in client.networks.list(filters={"label": LABEL}):
            if _is_over(found.attrs["Labels"][LABEL]):
                with contextlib.suppress(APIError):
                    found.remove()
                    removed.append(str(found.name))
    finally:
        client.close()
    return removed


def _is_over(owner: str) -> bool:
    machine, pid, started = owner.rsplit("/", 2)
    return machine == platform.node() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process began, in ticks of the kernel: two of one number never began at once. Empty: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[_STARTED]
