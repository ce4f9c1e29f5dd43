"""The Docker engine of this machine, by its command line."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PROBE_SECONDS = 8.0
"""How long a registry may take to say that it has an image, before it counts as out of reach."""
_START_SECONDS = 180.0
_STARTS = 3
"""Times that the engine is started: it gives up by itself when its own parts take long, as on a busy machine."""
_ENGINE_PACKAGES = ("docker.io", "iptables")
_ROOM = 6 << 30
"""bytes that images, streams and logs of a test run need at most"""


class EngineError(Exception):
    """Docker, or an image, is not to be had here; the message says what to do."""


def ensure_engine() -> None:
    """Install Docker where it is missing and start it where it does not run; both need root on a Debian system.

    Raises:
        EngineError: that failed.
    """
    if _answers():
        return
    if place := os.environ.get("DOCKER_HOST"):
        raise EngineError(f"DOCKER_HOST names the Docker engine {place}, which does not answer. Start it, or unset it.")
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        _install()
        # A package may have started it.
        if _answers():
            return
    if os.geteuid() != 0:
        raise EngineError("The Docker engine does not run, and only root can start it: `sudo systemctl start docker`.")
    log = Path(tempfile.gettempdir()) / "billow-dockerd.log"
    until = time.monotonic() + _START_SECONDS
    for _ in range(_STARTS):
        if _start(log, until):
            return
        if time.monotonic() > until:
            break
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise EngineError(f"The Docker engine does not start, and the integration tests need it. The end of {log}:\n{tail}")


def _start(log: Path, until: float) -> bool:
    """Start the daemon, and wait until it answers; False if it ends, or `until` (`time.monotonic`) passes."""
    with log.open("wb") as out:
        # It outlives us, as a service of the system would.
        daemon = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def check_engine(images: Iterable[str]) -> None:
    """Whether tests can be run.

    Raises:
        EngineError: Docker does not answer, lacks an image, or has no room.
    """
    if not _answers():
        raise EngineError("The Docker engine does not answer; `make test-integration` installs and starts it.")
    if missing := [image for image in images if not has_image(image)]:
        raise EngineError(f"Docker has no image {', '.join(missing)}; `make test-integration` sees to that.")
    check_room()


def check_room(folders: Iterable[Path] | None = None, least: int = _ROOM) -> None:
    """Whether a disk is full: here, where Docker stores, or in `folders`.

    Raises:
        EngineError: fewer than `least` bytes are free.
    """
    if folders is None:
        root = _run("docker", "info", "--format", "{{.DockerRootDir}}").stdout.decode().strip()
        folders = [Path(tempfile.gettempdir()), *([Path(root)] if root and Path(root).is_dir() else [])]
    for folder in folders:
        free = shutil.disk_usage(folder).free
        if free < least:
            raise EngineError(
                f"Only {free / (1 << 30):.1f} GiB are free in {folder}; the integration tests need "
                f"{least / (1 << 30):.1f} GiB. Make room: `docker system prune` frees what Docker no longer needs."
            )


def has_image(image: str) -> bool:
    """Whether the engine has it."""
    return _run("docker", "image", "inspect", image).returncode == 0


def registry_has(image: str) -> bool:
    """Whether a registry can be reached that has it."""
    try:
        return _run("docker", "manifest", "inspect", image, timeout=PROBE_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def pull(image: str) -> bool:
    """Whether that succeeded."""
    try:
        return _run("docker", "pull", "--quiet", image, timeout=300).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def import_image(image: str, root: Iterable[bytes], changes: Iterable[str]) -> None:
    """Make an image of one layer.

    Args:
        image: Name and tag.
        root: Bytes of a tar file with all of its files.
        changes: Dockerfile instructions such as `USER postgres`.

    Raises:
        EngineError: the engine refuses it.
    """
    command = ["docker", "import", *(part for change in changes for part in ("--change", change)), "-", image]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    # An engine that refuses does not read on; its reason is told below.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        for block in root:
            process.stdin.write(block)
    reason = process.stderr.read().decode(errors="replace")
    if process.wait() != 0:
        raise EngineError(f"Docker does not take the image {image}: {reason}")


def apt(*arguments: str, folder: Path | None = None) -> str:
    """Run apt-get in `folder`; returns what it prints.

    Raises:
        EngineError: it failed.
    """
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", "-qq", "-o", "Acquire::Retries=3", *arguments],
            env=environ,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as e:
        raise EngineError(
            "Here is neither an image registry nor apt-get. Install Docker, and pull or load the images, by hand."
        ) from e
    if done.returncode != 0:
        raise EngineError(f"apt-get {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def blocks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """The content of a file."""
    with path.open("rb") as file:
        while block := file.read(size):
            yield block


def _answers() -> bool:
    return shutil.which("docker") is not None and _run("docker", "version").returncode == 0


def _install() -> None:
    if os.geteuid() != 0:
        raise EngineError("Docker is not installed. Install it, or run this as root on a Debian system.")
    apt("update")
    apt("install", "-y", "--no-install-recommends", *_ENGINE_PACKAGES)


def _run(*command: str, timeout: float | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL)
