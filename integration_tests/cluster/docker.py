# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportMissingModuleSource=false
# pyright: reportUnknownParameterType=false
"""Networks and containers with addresses that stay, by testcontainers. All calls block."""

import contextlib
import os
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

# No image of the reaper can be had everywhere; who starts containers here removes them.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from docker import version
from docker.errors import APIError, NotFound
from docker.types import EndpointConfig, IPAMConfig, IPAMPool
from requests import exceptions
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network as AnyNetwork

from integration_tests.cluster.leftovers import labels

_ATTEMPTS = 10
_END_SECONDS = 60.0
_FIRST_HOST = 10
"""Of the hosts of a network, the first that is given out; the engine takes the low ones itself."""


class Network:
    """A bridge network whose range is known, so that containers keep their addresses when they start again."""

    def __init__(self) -> None:
        """Create it."""
        for attempt in range(_ATTEMPTS):
            # The engine finds a free range, but gives addresses on demand only in a range that it was told.
            finder = AnyNetwork(docker_network_kw={"labels": labels()}).create()
            found = finder._unwrap_network  # pyright: ignore[reportPrivateUsage]
            found.reload()
            # An engine that is told so gives each network a range of IPv6 too.
            ranges = [each["Subnet"] for each in found.attrs["IPAM"]["Config"]]
            self._range = IPv4Network(next(each for each in ranges if ":" not in each))
            finder.remove()
            pools = IPAMConfig(pool_configs=[IPAMPool(subnet=str(self._range))])
            try:
                self._network = AnyNetwork(docker_network_kw={"ipam": pools, "labels": labels()}).create()
            except APIError:
                # Somebody else took the range in between.
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            finally:
                _close(finder)
            break

    @property
    def name(self) -> str:
        return self._network.name

    def address(self, index: int) -> str:
        """The address of the container with this index."""
        return str(self._range[_FIRST_HOST + index])

    def connect(self, container: str, address: str, aliases: list[str]) -> None:
        """Attach a running container."""
        self._network._unwrap_network.connect(  # pyright: ignore[reportPrivateUsage]
            container, ipv4_address=address, aliases=aliases
        )

    def disconnect(self, container: str) -> None:
        """Take a container off; its connections fall silent, as when a cable is pulled."""
        self._network._unwrap_network.disconnect(container, force=True)  # pyright: ignore[reportPrivateUsage]

    def remove(self) -> None:
        """Remove it; nothing may be attached any more."""
        with contextlib.suppress(NotFound):
            self._network.remove()
        _close(self._network)


class Container:
    """One container in one network, and in more by `Network.connect`."""

    def __init__(
        self,
        image: str,
        *,
        name: str,
        network: Network,
        address: str = "",
        command: list[str] | None = None,
        environ: Mapping[str, str] | None = None,
        files: Mapping[Path, str] | None = None,
        folders: Mapping[Path, str] | None = None,
        memory: Mapping[str, str] | None = None,
        stop_signal: str = "SIGTERM",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it with `start`.

        Args:
            image: What is run.
            name: Its host name, by which others of the network find it.
            network: Where it is.
            address: One that stays over restarts; else the engine gives it one.
            command: Instead of the image's.
            environ: Its variables.
            files: File or folder of this machine -> where the container sees it, read-only.
            folders: The same, writable.
            memory: Folder in memory -> options of its mount.
            stop_signal: Sent by `stop`.
            more: Further options as the Docker SDK has them.
        """
        self.name = name
        self._address = address
        self._network = network
        options: dict[str, Any] = {
            "network": network.name,
            "networking_config": {
                network.name: EndpointConfig(version.__version__, aliases=[name], ipv4_address=address or None)
            },
            "hostname": name,
            "labels": labels(),
            "stop_signal": stop_signal,
            **(more or {}),
        }
        self._container = DockerContainer(image).with_envs(**(environ or {})).with_kwargs(**options)
        if command is not None:
            self._container = self._container.with_command(command)
        for source, target in (files or {}).items():
            self._container = self._container.with_volume_mapping(str(source.absolute()), target, "ro")
        for source, target in (folders or {}).items():
            self._container = self._container.with_volume_mapping(str(source.absolute()), target, "rw")
        for target, mount in (memory or {}).items():
            self._container = self._container.with_tmpfs_mount(target, mount)

    @property
    def id(self) -> str:
        return self._container.get_container_id()

    @property
    def address(self) -> str:
        """In its network; of one that was given none, empty while it does not run."""
        if self._address:
            return self._address
        inner = self._inner
        inner.reload()
        return str(inner.attrs["NetworkSettings"]["Networks"][self._network.name]["IPAddress"])

    @property
    def running(self) -> bool:
        """Also while it is paused; not once it is removed."""
        inner = self._inner
        try:
            inner.reload()
        except NotFound:
            return False
        return bool(inner.attrs["State"]["Running"])

    def start(self) -> None:
        """Create and start it, or start it again on the same files and address. A no-op if it runs."""
        if self._container._container is None:  # pyright: ignore[reportPrivateUsage]
            self._container.start()
        else:
            self._inner.start()

    def kill(self) -> None:
        """SIGKILL, and wait until it has ended, so that `start` finds none that runs. A no-op if it does not run."""
        with contextlib.suppress(APIError):
            self._inner.kill()
            self.wait(_END_SECONDS)

    def stop(self, timeout: int = 20) -> None:
        """As for maintenance. A no-op if it does not run."""
        self._inner.stop(timeout=timeout)

    def pause(self) -> None:
        """Freeze all of its processes."""
        self._inner.pause()

    def unpause(self) -> None:
        """Let them go on. A no-op if it is not paused."""
        with contextlib.suppress(APIError):
            self._inner.unpause()

    def wait(self, timeout: float) -> int:
        """Wait until it has ended; returns its exit code. Raises TimeoutError: it has not in `timeout` seconds."""
        try:
            return int(self._inner.wait(timeout=timeout)["StatusCode"])
        except (exceptions.ReadTimeout, exceptions.ConnectionError) as e:
            raise TimeoutError(f"{self.name} still runs after {timeout:g} s") from e

    def execute(self, *command: str) -> tuple[int, str]:
        """Run a command in it as its user; returns the exit code, -1 if it does not run, and what was printed."""
        try:
            code, output = self._inner.exec_run(list(command))
        except APIError as e:
            return -1, str(e)
        # The container ended in between: nobody knows.
        return -1 if code is None else int(code), bytes(output or b"").decode(errors="replace")

    def log(self) -> bytes:
        """All that it has written since it was created; nothing if it could not be."""
        return b"" if self._container._container is None else bytes(self._inner.logs())  # pyright: ignore[reportPrivateUsage]

    def remove(self) -> None:
        """Kill it and remove it with its volumes. A no-op if it was never started."""
        if self._container._container is not None:  # pyright: ignore[reportPrivateUsage]
            with contextlib.suppress(NotFound):
                self._inner.remove(force=True, v=True)
        self._container.get_docker_client().client.close()

    @property
    def _inner(self) -> Any:
        return self._container.get_wrapped_container()


def _close(network: AnyNetwork) -> None:
    network._docker.client.close()  # pyright: ignore[reportPrivateUsage]
