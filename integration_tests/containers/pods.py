"""Pods of the chart as containers: Docker runs what `integration_tests.containers.manifests` reads. All calls block.

They differ from pods of Kubernetes in that each container has an address of its own, and nobody starts one again that
ended.
"""

import contextlib
import http.client
import os
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integration_tests.cluster.docker import Container, Network
from integration_tests.containers.manifests import ContainerSpec, PodSpec

_FIRST_SECONDS = 600.0
"""for an init container or a Job; the weights come through the package index"""
_LOOK_SECONDS = 0.2
_TAIL = 4000
"""characters of a log that are shown"""
_MAKING = threading.Lock()
"""held while a volume is made; pods that start at once may share one of the machine"""


class PodError(AssertionError):
    """A pod did not become ready, or a Job failed; the message has the end of its log."""


class Pod:
    """One pod. `start` it, `wait_ready`, in the end `remove` it."""

    def __init__(
        self,
        spec: PodSpec,
        network: Network,
        folder: Path,
        *,
        image: str = "",
        environ: Mapping[str, str] | None = None,
        files: Mapping[Path, str] | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            spec: What the chart says of it.
            network: Where it is.
            folder: Takes its volumes; need not exist.
            image: Instead of the chart's, for the next version of it.
            environ: Over the chart's.
            files: Of this machine -> where its main container sees them, read-only; such as models of a test.
        """
        self.spec = spec
        self.name = f"{spec.component}-{secrets.token_hex(3)}"
        self.image = image or spec.main.image
        self._network = network
        self._folder = folder / self.name
        self._environ = dict(environ or {})
        self._files = dict(files or {})
        self._first: list[Container] = []
        self._main: Container | None = None
        self._last_words: str | None = None

    def start(self) -> None:
        """Run the init containers to their end, then start the main one; returns before it is ready.

        Raises:
            PodError: an init container failed.
        """
        for spec in self.spec.first:
            container = self._make(spec, spec.image, f"{self.name}-{spec.name}", {}, {})
            self._first.append(container)
            _run(container)
        self._main = self._make(self.spec.main, self.image, self.name, self._environ, self._files)
        self._main.start()

    def run_to_end(self) -> str:
        """Start it, as a Job, and wait until it has done its work; returns its log.

        Raises:
            PodError: it failed.
        """
        self._main = self._make(self.spec.main, self.image, self.name, self._environ, self._files)
        _run(self._main)
        return self.log()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until its readiness probe succeeds, for as long as its startup probe would.

        Raises:
            PodError: it ended, or the time passed.
        """
        seconds = self.spec.startup if timeout is None else timeout
        until = time.monotonic() + seconds
        while not self.ready:
            if not self.running:
                raise PodError(f"{self.name} ended before it was ready:\n{self.log()[-_TAIL:]}")
            if time.monotonic() > until:
                raise PodError(f"{self.name} is not ready after {seconds:g} s:\n{self.log()[-_TAIL:]}")
            time.sleep(_LOOK_SECONDS)

    @property
    def ready(self) -> bool:
        """Whether its readiness probe succeeds."""
        return self.container.execute(*self.spec.main.ready)[0] == 0

    @property
    def live(self) -> bool:
        """Whether its liveness probe succeeds."""
        main = self.spec.main
        connection = http.client.HTTPConnection(self.container.address, main.live_port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", main.live_path)
            return connection.getresponse().status == 200
        return False

    @property
    def started(self) -> bool:
        """Whether its main container was started, ever."""
        return self._main is not None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.container.running

    @property
    def container(self) -> Container:
        """The main one. Raises PodError: it was not started."""
        if self._main is None:
            raise PodError(f"{self.name} was not started")
        return self._main

    def terminate(self) -> int:
        """SIGTERM, and SIGKILL after the grace of the chart; returns the exit code, 137 of one that was killed."""
        self.container.stop(timeout=self.spec.grace)
        return self.container.wait(self.spec.grace)

    def kill(self) -> None:
        """SIGKILL."""
        self.container.kill()

    def execute(self, *command: str) -> tuple[int, str]:
        """Run a command in its main container as its user; returns the exit code and what was printed."""
        return self.container.execute(*command)

    def log(self) -> str:
        """All that its containers have written, also after `remove`."""
        if self._last_words is not None:
            return self._last_words
        every = [*self._first, *([self._main] if self._main is not None else [])]
        return "".join(container.log().decode(errors="replace") for container in every)

    def remove(self) -> None:
        """Kill and remove its containers. Its folder stays, with what it wrote. A no-op if it is not there."""
        if self._last_words is None:
            self._last_words = self.log()
        for container in (*self._first, *([self._main] if self._main is not None else [])):
            container.remove()

    def _make(
        self, spec: ContainerSpec, image: str, name: str, environ: Mapping[str, str], files: Mapping[Path, str]
    ) -> Container:
        memory: dict[str, str] = {}
        files, folders = dict(files), dict[Path, str]()
        for mount in spec.mounts:
            volume = self.spec.volumes[mount.volume]
            if volume.in_memory:
                memory[mount.path] = f"rw,size={volume.size},mode=2777,uid={self.spec.user},gid={self.spec.group}"
            else:
                (files if mount.read_only else folders)[self._folder_of(mount.volume)] = mount.path
        more: dict[str, Any] = {
            "user": f"{self.spec.user}:{self.spec.group}",
            "group_add": [self.spec.group],
            "read_only": spec.read_only,
            "cap_drop": list(spec.dropped),
            "security_opt": [] if spec.escalates else ["no-new-privileges:true"],
            "mem_limit": spec.memory,
            "memswap_limit": spec.memory,
            # Docker refuses more than the machine has.
            "nano_cpus": int(min(spec.cpus, os.cpu_count() or 1) * 1e9),
        }
        if spec.command:
            more["entrypoint"] = list(spec.command)
        return Container(
            image,
            name=name,
            network=self._network,
            environ={**spec.environ, **environ},
            files=files,
            folders=folders,
            memory=memory,
            more=more,
        )

    def _folder_of(self, name: str) -> Path:
        """Folder of this machine that is the volume."""
        volume = self.spec.volumes[name]
        folder = Path(volume.host_path) if volume.host_path else self._folder / name
        make_volume(folder, volume.files, self.spec.group)
        return folder


def make_volume(folder: Path, files: Mapping[str, str] | None, group: int) -> None:
    """Make a volume that the group may read, or write to where it has no files. A no-op if it is there."""
    with _MAKING:
        if folder.is_dir():
            return
        folder.mkdir(parents=True)
        for file, content in (files or {}).items():
            (folder / file).write_text(content)
        # As Kubernetes does for `fsGroup`, and for users of Docker who are not root.
        mode = 0o2777 if files is None else 0o755
        if os.geteuid() == 0:
            os.chown(folder, -1, group)
        # Last, since a change of the group takes a bit away.
        folder.chmod(mode)


def _run(container: Container) -> None:
    """Start it and wait until it has ended well."""
    container.start()
    code = container.wait(_FIRST_SECONDS)
    if code != 0:
        raise PodError(f"{container.name} ended with {code}:\n{container.log().decode(errors='replace')[-_TAIL:]}")
