"""A hub as in production, three nats-servers with JetStream, and a workstation's server that dials it as a leaf node.

```
Hub.url ──▶ hub-0 ── hub-1 ── hub-2      domain `hub`, R3
                 ▲ leaf listener, user `workstation` with few rights
                 │ Link, which can be cut
Hub.leaf_url ─▶ leaf                     no JetStream
```
"""

import asyncio
import contextlib
import http.client
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats
import nats.errors
import nats.js.errors
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.embedded import HOST, EmbeddedServer
from billow.bus.provision import provision
from billow.runtime.errors import StackUnreachableError, TransientError
from billow.testkit.consuming import until
from billow.testkit.link import Link
from billow.testkit.ports import free_ports
from billow.testkit.workstation import DOMAIN, Workstation

NODES = 3
BACKEND = ("backend", "backend-secret")
WORKSTATION = ("workstation", "workstation-secret")
_STARTS = 3
_STOP_SECONDS = 60.0
"""Three at once on a busy machine take their time; one that is killed instead says nothing in its log."""


async def provision_hub(bus: Bus) -> None:
    """Make the topology with three copies. While new streams choose their leaders nobody answers for them."""

    async def made() -> bool:
        with contextlib.suppress(TransientError):
            await provision(bus, replicas=NODES)
            return True
        return False

    await until(made, 120)


class Node(EmbeddedServer):
    """One nats-server with a configuration of ours. `restart` starts it too."""

    def __init__(self, name: str, folder: Path, logs: Path, port: int, more: dict[str, Any]) -> None:
        super().__init__(folder / name, port, logs / f"{name}.log", None, "10s")
        self._name = name
        self._more = more

    def _config(self) -> dict[str, Any]:
        base = super()._config()
        base.pop("jetstream")
        return {**base, "server_name": self._name, **self._more}

    async def _jetstream_answers(self, timeout: float) -> bool:
        # It listens, that is enough: JetStream answers when the others are there too.
        return True


class Hub:
    """Three servers, a leaf and the link between them; all on this machine, on free ports."""

    def __init__(self, folder: Path, logs: Path, workstation: Workstation) -> None:
        """Use `start`; this alone starts nothing."""
        self.workstation = workstation
        self._monitor, self._leaf_port, *ports = free_ports(2 + 3 * NODES)
        clients, routes, leaves = ports[:NODES], ports[NODES:-NODES], ports[-NODES:]
        self.nodes = [
            Node(f"hub-{i}", folder, logs, clients[i], _hub_config(folder / f"hub-{i}", i, routes, leaves, workstation))
            for i in range(NODES)
        ]
        self._link = Link([(HOST, port) for port in leaves])
        self._folder = folder
        self._logs = logs
        self._leaf: Node | None = None

    @classmethod
    async def start(
        cls, folder: Path, *, logs: Path | None = None, workstation: Workstation | None = None, timeout: float = 120.0
    ) -> Self:
        """Start all servers and wait until streams with three copies can be made and the leaf is joined.

        Args:
            folder: For what the servers store.
            logs: `<server>.log` of each; `folder` if not given.
            workstation: Whose rights the leaf has.
            timeout: seconds

        Raises:
            StackUnreachableError: a server cannot start; nothing is left running.
            TimeoutError: not ready in time; nothing is left running.
        """
        for attempt in range(_STARTS):
            hub = cls(folder / f"start-{attempt}", logs or folder, workstation or Workstation())
            try:
                await hub._start(timeout)
            except BaseException as e:
                await hub.stop()
                # Between finding a free port and its use another program may have taken it.
                if isinstance(e, StackUnreachableError) and attempt < _STARTS - 1:
                    continue
                raise
            return hub
        raise AssertionError("unreachable")

    @property
    def url(self) -> str:
        """Of all nodes, with the user of the backend, who may do everything."""
        user, password = BACKEND
        return ",".join(f"nats://{user}:{password}@{HOST}:{node.port}" for node in self.nodes)

    @property
    def leaf_url(self) -> str:
        return f"nats://{HOST}:{self._leaf_port}"

    @property
    def pids(self) -> list[int]:
        """Of all servers, the leaf last."""
        return [server.pid for server in (*self.nodes, *([self._leaf] if self._leaf else []))]

    @property
    def linked_node(self) -> int:
        """Index of the node that the leaf's link leads to."""
        return self._link.target

    def node(self, name: str) -> int:
        """Index of a node by the name that it has in a stream's `cluster.leader`."""
        return int(name.removeprefix("hub-"))

    async def kill_node(self, index: int) -> None:
        """SIGKILL, as a crash would."""
        await self.nodes[index].kill()

    async def stop_node(self, index: int) -> None:
        """As for maintenance."""
        await self.nodes[index].stop()

    async def restart_node(self, index: int) -> None:
        """On the same ports and store."""
        await self.nodes[index].restart()

    async def cut_leaf(self) -> None:
        """Cut the link between leaf and hub, and wait until the leaf has noticed; its own clients stay connected."""
        await self._link.cut()
        await self._until_linked(0)

    async def join_leaf(self) -> None:
        """Mend the link and wait until the leaf is on the hub again."""
        await self._link.open()
        await self._until_linked(1)

    async def stop(self) -> None:
        """Stop every server."""
        servers = [*self.nodes, *([self._leaf] if self._leaf else [])]
        await self._link.cut()
        await asyncio.gather(*(server.stop(_STOP_SECONDS) for server in servers))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self, timeout: float) -> None:
        async with asyncio.timeout(timeout):
            started = await asyncio.gather(*(node.restart() for node in self.nodes), return_exceptions=True)
            for error in started:
                if error is not None:
                    raise error
            await self._until_streams_can_be_made()
            await self._link.open()
            self._leaf = Node("leaf", self._folder, self._logs, self._leaf_port, self._leaf_config())
            await self._leaf.restart()
            await self._until_linked(1)

    def _leaf_config(self) -> dict[str, Any]:
        user, password = WORKSTATION
        remote = {"url": f"nats-leaf://{user}:{password}@{HOST}:{self._link.port}"}
        return {"leafnodes": {"reconnect": "250ms", "remotes": [remote]}, "http": f"{HOST}:{self._monitor}"}

    async def _until_streams_can_be_made(self) -> None:
        client = await nats.connect(self.url.split(","))  # pyright: ignore[reportUnknownMemberType]
        async with client:
            js = client.jetstream(timeout=2)  # pyright: ignore[reportUnknownMemberType]
            probe = api.StreamConfig(
                name="READY", subjects=["ready"], num_replicas=NODES, storage=api.StorageType.MEMORY
            )
            while True:
                with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
                    await js.add_stream(probe)  # pyright: ignore[reportUnknownMemberType]
                    await js.delete_stream("READY")
                    return
                if not all(node.running for node in self.nodes):
                    raise StackUnreachableError("A server of the hub ended while it started; its log says why.")
                await asyncio.sleep(0.05)

    async def _until_linked(self, links: int) -> None:
        until = time.monotonic() + 60
        while await asyncio.to_thread(self._links) != links:
            if time.monotonic() > until:
                raise TimeoutError(f"the leaf has not {links} links to the hub")
            await asyncio.sleep(0.05)

    def _links(self) -> int:
        connection = http.client.HTTPConnection(HOST, self._monitor, timeout=5)
        try:
            connection.request("GET", "/leafz")
            return int(json.loads(connection.getresponse().read())["leafnodes"])
        except (OSError, ValueError, http.client.HTTPException):
            return -1
        finally:
            connection.close()


def _hub_config(
    store: Path, index: int, routes: list[int], leaves: list[int], workstation: Workstation
) -> dict[str, Any]:
    backend, desk = ({"user": user, "password": password} for user, password in (BACKEND, WORKSTATION))
    return {
        "jetstream": {
            "store_dir": str(store.absolute()),
            "domain": DOMAIN,
            "max_memory_store": 256 * 1024 * 1024,
            "max_file_store": 1024**4,
        },
        "cluster": {
            "name": DOMAIN,
            "host": HOST,
            "port": routes[index],
            "routes": [f"nats-route://{HOST}:{port}" for port in routes],
        },
        # Else the leaf learns of the other nodes and passes the link by.
        "leafnodes": {"host": HOST, "port": leaves[index], "no_advertise": True},
        "authorization": {"users": [backend, {**desk, "permissions": workstation.permissions()}]},
    }
