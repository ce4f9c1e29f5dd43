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
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network as AnyNetwork

from integration_tests.cluster.leftovers import labels

_ATTEMPTS = 10
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
            self._range = IPv4Network(found.attrs["IPAM"]["Config"][0]["Subnet"])
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
    """One container with a fixed address in one network, and in more by `Network.connect`."""

    def __init__(
        self,
        image: str,
        *,
        name: str,
        network: Network,
        address: str,
        command: list[str] | None = None,
        environ: Mapping[str, str] | None = None,
        files: Mapping[Path, str] | None = None,
        stop_signal: str = "SIGTERM",
    ) -> None:
        """`files`: file or folder of this machine -> where the container sees it, read-only."""
        self.name = name
        self.address = address
        options: dict[str, Any] = {
            "network": network.name,
            "networking_config": {
                network.name: EndpointConfig(version.__version__, aliases=[name], ipv4_address=address)
            },
            "hostname": name,
            "labels": labels(),
            "stop_signal": stop_signal,
        }
        self._container = DockerContainer(image).with_envs(**(environ or {})).with_kwargs(**options)
        if command is not None:
            self._container = self._container.with_command(command)
        for source, target in (files or {}).items():
            self._container = self._container.with_volume_mapping(str(source.absolute()), target, "ro")

    @property
    def id(self) -> str:
        return self._container.get_container_id()

    @property
    def running(self) -> bool:
        """Also while it is paused."""
        inner = self._inner
        inner.reload()
        return bool(inner.attrs["State"]["Running"])

    def start(self) -> None:
        """Create and start it, or start it again on the same files and address. A no-op if it runs."""
        if self._container._container is None:  # pyright: ignore[reportPrivateUsage]
            self._container.start()
        else:
            self._inner.start()

    def kill(self) -> None:
        """SIGKILL. A no-op if it does not run."""
        with contextlib.suppress(APIError):
            self._inner.kill()

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

    def log(self) -> bytes:
        """All that it has written since it was created."""
        return bytes(self._inner.logs())

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
